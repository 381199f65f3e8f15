"""A simulated team that labels objects which the model has never seen: sealing rings on a bench.

The pictures are drawn on textures of scikit-image's package; the same number gives the same
picture, and no two rings are alike. A ring has two colours, is often half covered by another, and
is labeled with its hole. The shipped model needs several clicks for one, so what it learns from a
few dozen labels shows at once. The team sends what Label Studio's page would send, clicks where the
evaluation protocol does (``training.evaluation.protocol``), and paints what is still wrong.
"""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from backend.demo.scenes import Annotator, Point
from backend.errors import DemoError
from backend.label_studio import rle
from backend.label_studio.client import LabelStudio
from backend.label_studio.controls import ImageControls
from backend.label_studio.host import Json
from training.evaluation.protocol import ClickPoint, Target, follow, overlap

LABEL = "Ring"
SIZE = (320, 240)
_TEXTURES = ("gravel.png", "brick.png", "grass.png")
_MIN_VISIBLE = 400  # pixels of a ring that is worth a label
_GOOD_ENOUGH = 0.85  # IoU from which painting is quicker than clicking
_MAX_CLICKS = 6


@dataclass(frozen=True)
class RingPicture:
    """One picture: ``pixels`` H,W,3 uint8; ``masks`` H,W bool, the visible part of each ring."""

    name: str
    pixels: NDArray[np.uint8]
    masks: tuple[NDArray[np.bool_], ...]

    def content(self) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(self.pixels).save(stream, "PNG")
        return stream.getvalue()


def ring_picture(number: int) -> RingPicture:
    """Picture ``number``, always the same."""
    rng = np.random.default_rng([20, 26, number])
    width, height = SIZE
    canvas = _background(rng)
    owner = np.zeros((height, width), int)
    count = int(rng.integers(2, 4))
    for ring in range(1, count + 1):
        _draw_ring(canvas, owner, ring, rng)
    light = 1 + 0.25 * np.linspace(-1, 1, width) * rng.uniform(-1, 1)
    noisy = canvas * light[None, :, None] + rng.normal(0, 5, canvas.shape)
    pixels = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    blurred = np.asarray(pixels.filter(ImageFilter.GaussianBlur(0.7)))
    masks = [owner == ring for ring in range(1, count + 1)]
    visible = tuple(mask for mask in masks if mask.sum() >= _MIN_VISIBLE)
    return RingPicture(f"bench-{number:03}.png", blurred, visible)


@dataclass(frozen=True)
class LabeledByWord:
    """One picture labeled from one word. suggested: H,W bool masks of the answer.

    kept: suggested masks that were accepted as they were. interactions: the word, clicks on the
    other rings, and deleted regions.
    """

    picture: RingPicture
    suggested: tuple[NDArray[np.bool_], ...]
    kept: int
    interactions: int


class Team:
    def __init__(self, studio: LabelStudio, project: int, backend: int, image: ImageControls):
        self._studio = studio
        self._project = project
        self._backend = backend
        self._image = image

    def label(self, picture: RingPicture) -> list[int]:
        """Label every ring of a new picture and submit it; returns the clicks of each ring."""
        task, started = self._upload(picture), time.monotonic()
        made = [self._ring(task, mask) for mask in picture.masks]
        self._submit(task, [region for region, _ in made], started)
        return [clicks for _, clicks in made]

    def label_by_word(self, picture: RingPicture) -> LabeledByWord:
        """Type the label's name, accept what is right, click on the other rings, and submit."""
        task, started = self._upload(picture), time.monotonic()
        try:
            left = list(self._annotator(task).type(LABEL).regions)
        except DemoError:  # nothing was suggested
            left = []
        suggested = tuple(region.mask for region in left)
        results: list[Json] = []
        clicks = 0
        for mask in picture.masks:
            best = max(left, key=lambda region: overlap(region.mask, mask), default=None)
            if best is not None and overlap(best.mask, mask) >= _GOOD_ENOUGH:
                left.remove(best)
                results.append({**best.region, "origin": "manual"})
            else:
                region, count = self._ring(task, mask)
                results.append(region)
                clicks += count
        self._submit(task, results, started)
        kept = len(suggested) - len(left)
        return LabeledByWord(picture, suggested, kept, 1 + clicks + len(left))

    def _upload(self, picture: RingPicture) -> int:
        (task,) = self._studio.upload(self._project, picture.name, picture.content())
        return task

    def _annotator(self, task: int) -> Annotator:
        return Annotator(self._studio, self._backend, task, self._image, LABEL, SIZE)

    def _ring(self, task: int, mask: NDArray[np.bool_]) -> tuple[Json, int]:
        """Click until the mask is good enough, then paint the rest; region and number of clicks."""
        annotator = self._annotator(task)

        def answer(
            clicks: Sequence[ClickPoint], phrase: str, before: NDArray[np.bool_] | None
        ) -> NDArray[np.bool_]:
            x, y, positive = clicks[-1]
            return annotator.click(Point(int(x), int(y), positive=positive)).mask

        target = Target(mask, np.zeros_like(mask), "")
        follow(answer, target, "clicks", goal=_GOOD_ENOUGH, at_least=1, most=_MAX_CLICKS)
        region = annotator.shown.region
        value = {**region["value"], "rle": rle.encode(mask)}
        return {**region, "value": value, "origin": "manual"}, len(annotator.points)

    def _submit(self, task: int, results: list[Json], started: float) -> None:
        seconds = round(time.monotonic() - started, 3)
        self._studio.create_annotation(task, results, lead_time=seconds)


def _draw_ring(
    canvas: NDArray[np.float64], owner: NDArray[np.int_], ring: int, rng: np.random.Generator
) -> None:
    """Draw one more ring on top, with its shadow; mark its pixels in ``owner``."""
    height, width = owner.shape
    radius = rng.uniform(0.14, 0.27) * height
    x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
    stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
    rows, columns = np.mgrid[:height, :width]
    across = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    down = ((rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)) / stretch
    distance = np.hypot(across, down) / radius
    shadow = np.roll(distance < 1.04, (4, 5), (0, 1))
    canvas[shadow] *= 0.62
    # Outer ring, inner ring; the background is visible through the hole.
    outer, inner = rng.uniform(50, 220, 3), rng.uniform(50, 220, 3)
    middle, hole = rng.uniform(0.62, 0.8), rng.uniform(0.3, 0.48)
    shade = 1 + 0.3 * (across + down) / radius / 2
    for edge, colour in ((1.0, outer), (middle, inner)):
        part = (distance < edge) & (distance >= hole)
        canvas[part] = colour * shade[part][:, None]
    owner[distance < 1.0] = ring


def _background(rng: np.random.Generator) -> NDArray[np.float64]:
    """A random piece of a texture in a random tint."""
    width, height = SIZE
    texture = _texture(_TEXTURES[int(rng.integers(len(_TEXTURES)))])
    top = int(rng.integers(texture.shape[0] - height))
    left = int(rng.integers(texture.shape[1] - width))
    piece = texture[top : top + height, left : left + width].astype(float)
    return 0.8 * piece[..., None] * rng.uniform(0.85, 1.1, 3)


@cache
def _texture(name: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(Path(skimage.__file__).parent / "data" / name).convert("L"))
