"""What the rest of the project asks for masks: a picture once, then prompts as often as they come.

A predictor holds no state that one call leaves to another but the cache of encoded pictures, and
what is cached is a function of its key. So threads share one predictor freely, and an answer
depends on its arguments alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model import checkpoint as checkpoints
from model import checkpoint_files as files
from model import crop
from model.config import ModelConfig
from model.crop import Box
from model.embedding_cache import EmbeddingCache
from model.errors import PromptError
from model.image_tiles import ImageTiles
from model.inference_queue import InferenceQueue, Priority
from model.mask_upsampling import Grid, MaskLayers, sigmoid
from model.network.click_maps import ClickBatch
from model.network.phrase_encoder import WordBatch
from model.network.phraseclick import Features
from model.tokenizer import Tokenizer, Tokens

STRIDE = 32  # the network's input is a multiple of it
# Room for about fifty pictures with a crop each.
CACHE_BYTES = 320 * 2**20
# What the network is overruled to next to a click, so that a clicked pixel obeys the click.
CERTAIN = 2.0

# Width and height: cameras and phones upright and turned, square, film.
USUAL_SHAPES = ((4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (9, 16), (1, 1))


@dataclass(frozen=True)
class Click:
    """A click in pixels of the upright picture, fractions welcome.

    The pixel in column c covers c <= x < c + 1. Points beyond the rim count as on it.
    """

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, eq=False)
class Embedding:
    """An encoded picture: what ``predict`` needs of it. Opaque but for key, width and height.

    It belongs to the version that encoded it.
    """

    version: str
    key: str
    width: int
    height: int
    features: Features
    tiles: ImageTiles

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.features.nbytes + self.tiles.nbytes


@dataclass(frozen=True, eq=False)
class Prediction:
    """A mask, how sure the network is of it, and how the phrase was read.

    confidence: 0 to 1, the IoU to be expected if the probabilities are true; 0 for an empty mask.
    """

    confidence: float
    tokens: Tokens
    field: MaskLayers

    def probability(self) -> NDArray[np.float32]:
        """H,W in [0, 1] at the picture's size."""
        return self.field.probability()

    def mask(self) -> NDArray[np.bool_]:
        """H,W bool, ``probability() > 0.5``; takes time only where the mask is."""
        return self.field.mask()


class Predictor:
    """A checkpoint, ready to answer. Thread-safe."""

    def __init__(
        self,
        checkpoint: Path | str = files.SHIPPED,
        *,
        device: str = "auto",
        cache_bytes: int = CACHE_BYTES,
        threads: int = 0,
        beside: Predictor | None = None,
    ) -> None:
        """Load a checkpoint; raises CheckpointError.

        device: "cpu", "cuda", "cuda:1", or "auto" for a GPU where there is one. cache_bytes:
        memory for encoded pictures. threads: CPU threads of a forward pass, for the whole
        process; 0 leaves torch's choice, which is one per core. beside: another predictor of this
        process, whose device, thread and cache this one then shares, so that several versions
        take no more memory than their weights and never compete for the cores.
        """
        if threads > 0:
            torch.set_num_threads(threads)
        loaded = checkpoints.load(checkpoint)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.version: str = loaded.version
        self.config: ModelConfig = loaded.config
        self.tokenizer: Tokenizer = loaded.tokenizer()
        self._device: torch.device = beside._device if beside else torch.device(device)
        self._network = loaded.network().to(self._device).for_serving()
        self._queue: InferenceQueue = beside._queue if beside else InferenceQueue()
        self._cache: EmbeddingCache[Embedding | Features] = (
            beside._cache if beside else EmbeddingCache(cache_bytes)
        )

    @property
    def nbytes(self) -> int:
        """Memory that the weights and the word vectors take."""
        tensors = self._network.state_dict().values()
        weights: int = sum(t.numel() * t.element_size() for t in tensors)
        return weights + self.tokenizer.vectors.nbytes

    @property
    def cached_bytes(self) -> int:
        """Memory that encoded pictures take, those of all predictors that share them."""
        return self._cache.nbytes

    def warm_up(self, shapes: Sequence[tuple[int, int]] = USUAL_SHAPES) -> None:
        """Answer once for pictures of these shapes, so that the first click is no slower.

        torch prepares its convolutions anew for each size of the network's input. Nothing is
        kept in the cache. Meant for a server's start; takes a second or two. A further version
        of the same form finds the process prepared: one shape is enough for it.
        """
        for width, height in shapes:
            embedding = self._embed(np.zeros((height, width, 3), np.uint8), "")
            whole = Box(0, 0, width, height)
            for words in ("", self.tokenizer.words[0]):
                prompt = _Prompt(embedding, [Click(1, 1)], self.tokenizer.read(words))
                self._pass(prompt, whole, np.zeros(self._size(whole), np.float32))

    def encode(self, image: NDArray[np.uint8], key: str | None = None) -> Embedding:
        """Encode a picture, or find it encoded.

        image: H,W,3 uint8 RGB, upright, any size from 1x1. key: names the picture's content, by
        default its hash; equal keys must mean equal pictures. Raises PromptError on another shape
        or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise PromptError(
                f"A picture must be H,W,3 uint8, but this is {image.shape} {image.dtype}."
            )
        name = key if key is not None else _content_key(image)
        found = self._cache.get_or_make(self._slot(name, None), lambda: self._embed(image, name))
        assert isinstance(found, Embedding)
        if (found.height, found.width) != image.shape[:2]:
            raise PromptError(
                f"The key '{name}' names a picture of {found.width}x{found.height} already, "
                f"but this one is {image.shape[1]}x{image.shape[0]}."
            )
        return found

    def cached(self, key: str) -> Embedding | None:
        """The encoded picture of this key, if it is still in memory."""
        found = self._cache.get(self._slot(key, None))
        return found if isinstance(found, Embedding) else None

    def predict(
        self,
        embedding: Embedding,
        clicks: Sequence[Click],
        phrase: str = "",
        previous_mask: NDArray[np.bool_] | NDArray[np.floating] | None = None,
    ) -> Prediction:
        """The mask that clicks and phrase ask for.

        clicks: in the order they were made; where two contradict each other on a spot, the later
        one holds. phrase: any text; unknown words are ignored, see the tokens. previous_mask:
        H,W at the picture's size, bool or float in [0, 1], the answer before this click. Without
        a click and a known word the mask is empty. Raises PromptError.
        """
        if embedding.version != self.version:
            raise PromptError(
                f"The picture was encoded by {embedding.version}, which {self.version} cannot read."
            )
        tokens = self.tokenizer.read(phrase)
        clicks = [_inside(click, embedding) for click in clicks]
        previous = None if previous_mask is None else _checked(previous_mask, embedding)
        if not clicks and not tokens.words:
            return Prediction(0.0, tokens, MaskLayers(embedding.width, embedding.height, ()))
        prompt = _Prompt(embedding, clicks, tokens)
        grids = self._grids(prompt, previous)
        field = MaskLayers(embedding.width, embedding.height, grids)
        return Prediction(confidence(grids[-1].logits), tokens, field)

    def descriptor(self, embedding: Embedding) -> NDArray[np.float32]:
        """D numbers, of length 1 together, that say what a picture shows as a whole.

        Pictures that look alike have alike ones: their product is near 1. Comparable within one
        version only. Raises PromptError.
        """
        if embedding.version != self.version:
            raise PromptError(
                f"The picture was encoded by {embedding.version}, which {self.version} cannot read."
            )
        # Late form: what is seen at stride 16. Early form: nothing but the picture's colours.
        first = embedding.features.maps[0][0].float()
        cells = 1 if self.config.form == "late" else 8
        pooled = torch.nn.functional.adaptive_avg_pool2d(first, cells).flatten()
        vector: NDArray[np.float32] = pooled.cpu().numpy()
        return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-9))

    def _grids(self, prompt: _Prompt, previous: NDArray[np.bool_] | None) -> tuple[Grid, ...]:
        """The whole picture, and a closer look where the object is small."""
        embedding = prompt.embedding
        width, height = embedding.width, embedding.height
        whole = Box(0, 0, width, height)
        known = crop.mask_box(previous) if previous is not None else None
        if previous is not None and known is not None and not prompt.tokens.words:
            # The object's place is known from the answer before: look there at once. A phrase is
            # read over the whole picture, "left" means nothing in a crop.
            box = crop.focus(prompt.around(known), width, height)
            if box is not None:
                grid = self._pass(prompt, box, _shrink(previous, box, self._size(box)))
                if not crop.reaches_edge(grid.logits > 0, box, width, height):
                    return (grid,)
        before = None if previous is None else _shrink(previous, whole, self._size(whole))
        coarse = self._pass(prompt, whole, before)
        box = crop.focus(prompt.around(_grid_box(coarse)), width, height)
        if box is None:
            return (coarse,)
        seen = coarse.sample(box, *self._size(box)) > 0
        return coarse, self._pass(prompt, box, seen.astype(np.float32))

    def _pass(self, prompt: _Prompt, box: Box, previous: NDArray[np.float32] | None) -> Grid:
        """One decoder pass over a box; ``previous``: h,w at the network's input size."""
        features = self._features(prompt.embedding, box)
        clicks = [
            Click(
                (click.x - box.left) * features.width / box.width,
                (click.y - box.top) * features.height / box.height,
                click.positive,
            )
            for click in prompt.clicks
            if box.holds(click.x, click.y)
        ]
        vectors = torch.from_numpy(prompt.tokens.vectors.copy())

        @torch.inference_mode()
        def decode() -> NDArray[np.float32]:
            output = self._network.decode(
                features,
                ClickBatch(
                    self._tensor([[(click.x, click.y) for click in clicks]]).view(1, -1, 2),
                    self._tensor([[1.0 if click.positive else -1.0 for click in clicks]]),
                ),
                WordBatch(
                    vectors[None].to(self._device),
                    torch.tensor([len(vectors)], device=self._device),
                ),
                None
                if previous is None
                else torch.from_numpy(previous)[None, None].to(self._device),
            )
            answer: NDArray[np.float32] = output.mask_logits[0, 0].float().cpu().numpy()
            return answer

        logits = self._queue.run(Priority.PROMPT, decode)
        _obey(logits, prompt.clicks, box)
        return Grid(logits, box)

    def _features(self, embedding: Embedding, box: Box) -> Features:
        if (box.width, box.height) == (embedding.width, embedding.height):
            return embedding.features

        def encode() -> Features:
            # Of a click that is being answered, so it need not wait behind new pictures.
            return self._encode(embedding.tiles.read(box), box, Priority.PROMPT)

        found = self._cache.get_or_make(self._slot(embedding.key, box), encode)
        assert isinstance(found, Features)
        return found

    def _embed(self, image: NDArray[np.uint8], key: str) -> Embedding:
        height, width = image.shape[:2]
        picture = Image.fromarray(np.ascontiguousarray(image))
        features = self._encode(picture, Box(0, 0, width, height), Priority.PICTURE)
        return Embedding(self.version, key, width, height, features, ImageTiles(image))

    def _encode(self, picture: Image.Image, box: Box, priority: Priority) -> Features:
        height, width = self._size(box)
        # The gap lets Pillow shrink by whole pixels first: four times quicker, nothing to see.
        small = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None]

        @torch.inference_mode()
        def encode() -> Features:
            return self._network.encode(pixels.to(self._device).float().div_(255.0))

        return self._queue.run(priority, encode)

    def _size(self, box: Box) -> tuple[int, int]:
        """Height and width of the network's input for a box.

        The picture is stretched to a multiple of 32 rather than padded: no rim for the network to
        learn, and a point is scaled by one factor in each direction.
        """
        scale = self.config.input_size / max(box.width, box.height)
        return (
            max(round(box.height * scale / STRIDE), 1) * STRIDE,
            max(round(box.width * scale / STRIDE), 1) * STRIDE,
        )

    def _slot(self, key: str, box: Box | None) -> Hashable:
        """The cache's name for a picture, or for a crop of it, as this version sees it."""
        return self.version, key, box

    def _tensor(self, values: list[list[float]] | list[list[tuple[float, float]]]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)


@dataclass(frozen=True, eq=False)
class _Prompt:
    embedding: Embedding
    clicks: list[Click]
    tokens: Tokens

    def around(self, known: Box | None) -> Box | None:
        """What is known of the object: where its mask is, and its positive clicks."""
        clicked = crop.points_box([(c.x, c.y) for c in self.clicks if c.positive])
        if known is None or clicked is None:
            return known or clicked
        return known.union(clicked)


def confidence(logits: NDArray[np.float32]) -> float:
    """The IoU to expect of the mask logits > 0: sum of p inside over size + sum of p outside."""
    inside = logits > 0
    probability = sigmoid(logits)
    hit = float(probability[inside].sum())
    if not hit:
        return 0.0
    return hit / (float(inside.sum()) + float(probability[~inside].sum()))


def _obey(logits: NDArray[np.float32], clicks: Sequence[Click], box: Box) -> None:
    """Overrule, in place, the four cells around the centre of each clicked pixel of the box.

    Bilinear logits there then have the click's sign, whatever the network says.
    """
    height, width = logits.shape
    for click in clicks:
        if not box.holds(click.x, click.y):
            continue
        column = math.floor((math.floor(click.x) + 0.5 - box.left) * width / box.width - 0.5)
        row = math.floor((math.floor(click.y) + 0.5 - box.top) * height / box.height - 0.5)
        cells = logits[max(row, 0) : row + 2, max(column, 0) : column + 2]
        if click.positive:
            np.maximum(cells, CERTAIN, out=cells)
        else:
            np.minimum(cells, -CERTAIN, out=cells)


def _grid_box(grid: Grid) -> Box | None:
    """The box of positive logits, in pixels of the picture."""
    cells = crop.mask_box(grid.logits > 0)
    if cells is None:
        return None
    height, width = grid.logits.shape
    across, down = grid.box.width / width, grid.box.height / height
    return Box(
        math.floor(cells.left * across),
        math.floor(cells.top * down),
        math.ceil(cells.right * across),
        math.ceil(cells.bottom * down),
    )


def _inside(click: Click, embedding: Embedding) -> Click:
    if not (math.isfinite(click.x) and math.isfinite(click.y)):
        raise PromptError(f"A click lies at ({click.x}, {click.y}), which is no place.")
    # The rim itself, x == width, belongs to no pixel.
    return Click(
        min(max(click.x, 0.0), embedding.width - 1e-3),
        min(max(click.y, 0.0), embedding.height - 1e-3),
        click.positive,
    )


def _checked(
    mask: NDArray[np.bool_] | NDArray[np.floating], embedding: Embedding
) -> NDArray[np.bool_]:
    if mask.shape != (embedding.height, embedding.width):
        raise PromptError(
            f"The previous mask is {mask.shape}, but the picture is "
            f"{(embedding.height, embedding.width)} (height, width)."
        )
    return np.asarray(mask if mask.dtype == np.bool_ else mask > 0.5, np.bool_)


def _shrink(mask: NDArray[np.bool_], box: Box, size: tuple[int, int]) -> NDArray[np.float32]:
    """Which part of each of height x width cells over the box is in the mask."""
    height, width = size
    part = np.ascontiguousarray(mask[box.top : box.bottom, box.left : box.right])
    pixels = Image.fromarray(part.view(np.uint8) * np.uint8(255))
    small = pixels.resize((width, height), Image.Resampling.BOX, reducing_gap=1.0)
    return np.asarray(small, np.float32) / np.float32(255.0)


def _content_key(image: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(image).data)
    digest.update(str(image.shape).encode())
    return digest.hexdigest()
