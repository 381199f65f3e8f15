"""The model's interface: encode a picture once, then ask for masks as often as needed.

The only state between calls is the cache of encoded pictures, whose values are functions of their
keys. So threads can share a predictor, and an answer depends on its arguments only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model import checkpoint as checkpoints
from model import checkpoint_files as files
from model.confidence import Calibration, implied_score
from model.config import ModelConfig
from model.crop import Box, ImageTiles
from model.embedding import Embedding, EmbeddingCache
from model.errors import PromptError
from model.in_flight import finishes_before_exit
from model.inference import (
    STRIDE,
    Answer,
    Inference,
    InferenceQueue,
    Priority,
    coverage,
    device_named,
    input_size,
    own_array,
    passes_for,
)
from model.instances import LIMITS, Instance, each_once
from model.mask_upsampling import MaskLayers
from model.network.phraseclick import Features
from model.phrase_search import Instances, PhraseSearch
from model.prompt import Click, Prompt
from model.refinement import DecodePass, Session
from model.tokenizer import Tokenizer
from model.tokens import Tokens

__all__ = [
    "USUAL_SHAPES",
    "Click",
    "Embedding",
    "Instance",
    "Instances",
    "Prediction",
    "Predictor",
]

# A phrase's own score says more about its mask than that of the clicks that it led to: clicks are
# confident on the wrong object, too (training/RUNS.md).
PHRASE_WEIGHT = 2 / 3
# Room for about fifty pictures with a crop each.
CACHE_BYTES = 320 * 2**20

# Width and height: cameras and phones upright and turned, square, film.
USUAL_SHAPES = ((4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (9, 16), (1, 1))


@dataclass(frozen=True, eq=False)
class Prediction:
    """A mask, its confidence, and how the phrase was read.

    confidence: 0 to 1, the IoU to expect; 0 for an empty mask. score: the same in logit space,
    before calibration (see `model.confidence`); -inf for an empty mask.
    """

    confidence: float
    tokens: Tokens
    layers: MaskLayers
    score: float

    @finishes_before_exit
    def probability(self) -> NDArray[np.float32]:
        """H,W in [0, 1] at the picture's size."""
        return self.layers.probability()

    @finishes_before_exit
    def mask(self) -> NDArray[np.bool_]:
        """H,W bool, ``probability() > 0.5``; takes time only where the mask is."""
        return self.layers.mask()


class Predictor:
    """A checkpoint, ready to answer. Thread-safe."""

    def __init__(
        self,
        checkpoint: Path | str = files.SHIPPED,
        *,
        device: str = "auto",
        cache_bytes: int = CACHE_BYTES,
        threads: int = 0,
        passes: int = 1,
        beside: Predictor | None = None,
    ) -> None:
        """Load a checkpoint; raises CheckpointError.

        device: "cpu", "cuda", "cuda:1", or "auto" for a GPU where there is one. cache_bytes:
        memory for encoded pictures. threads: CPU threads of a forward pass, for the whole
        process; 0 leaves torch's choice, which is one per core. passes: at the same time; 0: as
        many as the processor has room for. beside: another predictor of this
        process, whose device, queue and cache this one then shares, so that several versions
        take no more memory than their weights and never compete for the cores.
        """
        if threads > 0:
            torch.set_num_threads(threads)
        loaded = checkpoints.load(checkpoint)
        self.version: str = loaded.version
        self.config: ModelConfig = loaded.config
        self.tokenizer: Tokenizer = loaded.tokenizer()
        self.metrics: Mapping[str, Any] = loaded.metrics.get("metrics", {})
        self._device: torch.device = beside._device if beside else device_named(device)
        self._network = loaded.network().to(self._device).for_serving()
        self._queue: InferenceQueue = (
            beside._queue if beside else InferenceQueue(passes or passes_for(self._device))
        )
        self._calibration = Calibration.of(self.metrics, iou_head=self.config.iou_head)
        self._inference = Inference(self._network, self._device, self._queue)
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

    @finishes_before_exit
    def warm_up(self, shapes: Sequence[tuple[int, int]] = USUAL_SHAPES) -> None:
        """Answer once for pictures of these shapes, so that the first click is no slower.

        torch prepares its convolutions for each size of the network's input, details among them.
        Nothing is kept in the cache. Meant for a server's start; takes a second or two. A second
        version of the same form finds the process prepared: one shape is enough for it.
        """
        prompt = Prompt((Click(1, 1),), self.tokenizer.read(""))
        for width, height in shapes:
            embedding = self._embed(np.zeros((height, width, 3), np.uint8), "")
            whole = Box(0, 0, width, height)
            for words in ("", self.tokenizer.words[0]):
                worded = Prompt(prompt.clicks, self.tokenizer.read(words))
                self._looker(embedding)(worded, whole, np.zeros((height, width), np.bool_))
        square = Box(0, 0, STRIDE, STRIDE)
        size = self._size(square, detail=True)
        picture = Image.new("RGB", (square.width, square.height))
        features = self._inference.encode(picture, size, Priority.PICTURE)
        self._inference.decode(features, square, prompt, np.zeros(size, np.float32))

    @finishes_before_exit
    def encode(self, image: NDArray[np.uint8], key: str | None = None) -> Embedding:
        """Encode a picture, or take it from the cache.

        image: H,W,3 uint8 RGB, upright, any size from 1x1. key: identifies the picture's content,
        by default its hash; equal keys must mean equal pictures. Raises PromptError for another
        shape or type.
        """
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise PromptError(
                f"A picture must be H,W,3 uint8, but this is {image.shape} {image.dtype}."
            )
        name = key if key is not None else _content_key(image)
        embedding = self._cache.get_or_make(self._slot(name), lambda: self._embed(image, name))
        assert isinstance(embedding, Embedding)
        if (embedding.height, embedding.width) != image.shape[:2]:
            raise PromptError(
                f"The key '{name}' already names a picture of {embedding.width}x"
                f"{embedding.height}, but this one is {image.shape[1]}x{image.shape[0]}."
            )
        return embedding

    def cached(self, key: str) -> Embedding | None:
        """The encoded picture of this key if it is in the cache, or None."""
        cached = self._cache.get(self._slot(key))
        return cached if isinstance(cached, Embedding) else None

    @finishes_before_exit
    def predict(
        self,
        embedding: Embedding,
        clicks: Sequence[Click],
        phrase: str = "",
        previous_mask: NDArray[np.bool_] | NDArray[np.floating] | None = None,
        box: Sequence[float] | None = None,
        *,
        suggested: bool = False,
    ) -> Prediction:
        """The mask that clicks, phrase and box ask for.

        clicks: in the order they were made; where two contradict each other on a spot, the later
        one holds. phrase: any text; unknown words are ignored, see the tokens. previous_mask:
        H,W at the picture's size, bool or float in [0, 1]: the answer before the newest click, or
        a mask that a person made. It stays as it is outside of what the clicks change, except that
        the first few clicks may change all of an answer. box: (x1, y1, x2, y2) around the object,
        in pixels of the picture, any two opposite corners. suggested: the previous mask is an
        answer to words alone, of which no person clicked or drew anything. Without a positive
        click, a box and a known word the mask is empty, or the previous one without what negative
        clicks remove. Raises PromptError.
        """
        self._must_know(embedding)
        tokens = self.tokenizer.read(_text(phrase))
        prompt = Prompt.checked(clicks, tokens, box, embedding.width, embedding.height)
        previous = None if previous_mask is None else _checked(previous_mask, embedding)
        refines = bool(prompt.clicks) and previous is not None and bool(previous.any())
        if prompt.names_nothing and not refines:
            return Prediction(
                0.0, tokens, MaskLayers(embedding.width, embedding.height, ()), -math.inf
            )
        words: float | None = None  # how good the answer to the words alone is
        if not prompt.clicks and prompt.box is None:
            found = self._search.pointed_at(embedding, phrase)
            if found is not None:
                prompt, previous, words = found.prompt, None, found.score
        session = Session(
            embedding.width,
            embedding.height,
            prompt,
            self._looker(embedding),
            suggested=suggested,
            named=words is not None,
            box_prompts=self.config.box_prompts,
            details=self.config.fine_prompts,
        )
        result = session.answer(previous)
        score = result.answer.iou_logit
        if score is None or not (result.answer.grid.logits > 0).any():
            score = implied_score(result.answer.grid.logits)
        if words is not None and score > -math.inf:
            score += PHRASE_WEIGHT * (words - score)
        return Prediction(self._calibration.confidence(score), tokens, result.layers, score)

    @finishes_before_exit
    def instances(
        self, embedding: Embedding, phrase: str, least: float = LIMITS.confidence
    ) -> Instances:
        """One mask for each thing that a phrase means: "cups", "all nuclei", "Nucleus".

        phrase: in either number, any text. least: objects of less confidence are left out. See
        `model.instances` for how. Raises PromptError.
        """
        self._must_know(embedding)
        (found,) = self._search.instances(embedding, [_text(phrase)], least)
        return found

    @finishes_before_exit
    def instances_by_name(
        self,
        embedding: Embedding,
        names: Sequence[str],
        least: float = LIMITS.confidence,
    ) -> tuple[list[tuple[str, Instance]], list[float]]:
        """Every object that one of these names is about, the surest first, each once; and the
        confidence of each name (see `Instances`).

        As a batch prediction suggests them for a project's labels. Raises PromptError.
        """
        self._must_know(embedding)
        found = self._search.instances(embedding, names, least)
        named = [
            (name, instance)
            for name, instances in zip(names, found, strict=True)
            for instance in instances.objects
        ]
        kept = each_once(named, lambda one: one[1].confidence, lambda a, b: a[1].iou(b[1]))
        return kept, [instances.confidence for instances in found]

    @finishes_before_exit
    def descriptor(self, embedding: Embedding) -> NDArray[np.float32]:
        """A unit vector of D numbers that describes a whole picture.

        Similar pictures have a dot product near 1. Only comparable within one version. Raises
        PromptError.
        """
        self._must_know(embedding)
        # Late form: features at stride 16. Early form: only the picture's colours.
        cells = 1 if self.config.form == "late" else 8

        def pool() -> NDArray[np.float32]:
            first = embedding.features.maps[0][0].float()
            pooled = torch.nn.functional.adaptive_avg_pool2d(first, cells)
            return own_array(pooled.flatten())

        vector = self._queue.run(Priority.PROMPT, pool)
        return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-9))

    @property
    def _search(self) -> PhraseSearch:
        return PhraseSearch(
            self._inference,
            self.tokenizer,
            self._calibration.confidence,
            lambda embedding, box: self._features(embedding, box, self._size(box)),
            lambda embedding, box: self._encoded(embedding, box, self._size(box), Priority.PICTURE),
        )

    def _must_know(self, embedding: Embedding) -> None:
        if not isinstance(embedding, Embedding):
            raise PromptError("Encode the picture first: predict takes what encode returned.")
        if embedding.version != self.version:
            raise PromptError(
                f"The picture was encoded by {embedding.version}, which {self.version} cannot read."
            )

    def _looker(self, embedding: Embedding) -> DecodePass:
        def look(
            prompt: Prompt, box: Box, previous: NDArray[np.bool_] | None, *, detail: bool = False
        ) -> Answer:
            size = self._size(box, detail=detail)
            features = self._features(embedding, box, size)
            before = None if previous is None else coverage(previous, size)
            asked = prompt.without_words() if detail else prompt
            return self._inference.decode(features, box, asked, before)

        return look

    def _size(self, box: Box, *, detail: bool = False) -> tuple[int, int]:
        longest = self.config.input_size
        return input_size(box, max(longest * 2 // 3 // STRIDE, 1) * STRIDE if detail else longest)

    def _features(self, embedding: Embedding, box: Box, size: tuple[int, int]) -> Features:
        if (box.width, box.height) == (embedding.width, embedding.height):
            return embedding.features

        features = self._cache.get_or_make(
            self._slot(embedding.key, (box, size)),
            # Part of the answer to a prompt, so it need not wait behind new pictures.
            lambda: self._encoded(embedding, box, size, Priority.PROMPT),
        )
        assert isinstance(features, Features)
        return features

    def _encoded(
        self, embedding: Embedding, box: Box, size: tuple[int, int], priority: Priority
    ) -> Features:
        return self._inference.encode(embedding.tiles.read(box), size, priority)

    def _embed(self, image: NDArray[np.uint8], key: str) -> Embedding:
        height, width = image.shape[:2]
        picture = Image.fromarray(np.ascontiguousarray(image))
        features = self._inference.encode(
            picture, self._size(Box(0, 0, width, height)), Priority.PICTURE
        )
        return Embedding(self.version, key, width, height, features, ImageTiles(image))

    def _slot(self, key: str, crop: Hashable = None) -> Hashable:
        """The cache's key for a picture, or for a crop of it, as this version sees it."""
        return self.version, key, crop


def _checked(
    given: NDArray[np.bool_] | NDArray[np.floating], embedding: Embedding
) -> NDArray[np.bool_]:
    mask = np.asarray(given)
    if mask.dtype.kind not in "biuf":
        raise PromptError(f"A previous mask must hold numbers, not {mask.dtype}.")
    if mask.shape != (embedding.height, embedding.width):
        raise PromptError(
            f"The previous mask is {mask.shape}, but the picture is "
            f"{(embedding.height, embedding.width)} (height, width)."
        )
    # A copy, since the prediction keeps it and the caller may go on painting.
    return np.array(mask if mask.dtype == np.bool_ else mask > 0.5, np.bool_)


def _text(phrase: str) -> str:
    if not isinstance(phrase, str):
        raise PromptError(f"A phrase must be text, not {type(phrase).__name__}; '' is none.")
    return phrase


def _content_key(image: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(image).data)
    digest.update(str(image.shape).encode())
    return digest.hexdigest()
