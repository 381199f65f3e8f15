"""From a sample to a network input: a box of the picture, flipped and tinted at random.

Boxes are whole pictures, parts of pictures, and close views of one object, since the predictor
shows the network all three. The box is stretched to the input like the predictor stretches a
picture; nothing is padded. Left and right stay true because phrases are made, or mirrored, after
the flip; colours because they are measured after the tint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.sample import Sample

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the sample
Kind = Literal["whole", "part", "close"]


@dataclass(frozen=True)
class View:
    """One input: image H,W,3 uint8, instance map H,W int16, and how it came out of the sample."""

    sample: Sample
    image: NDArray[np.uint8]
    instances: NDArray[np.int16]
    box: Box
    mirrored: bool
    kind: Kind

    def soft_mask(self, ids: tuple[int, ...]) -> NDArray[np.float32]:
        """H,W in [0, 1]: the union of these objects, smooth where the sample was enlarged.

        Resized as one mask, not taken from the instance map, so that its border has no stairs.
        """
        height, width = self.instances.shape
        whole = Image.fromarray(self.sample.mask(*ids).astype(np.uint8) * 255)
        mask = whole.resize((width, height), Image.Resampling.BILINEAR, box=self.box)
        soft = np.asarray(mask, np.float32) / 255.0
        return soft[:, ::-1].copy() if self.mirrored else soft

    def place(self, x: float, y: float) -> tuple[float, float] | None:
        """Where a point (x, y) of the sample, in pixels, lies in this view; None outside it."""
        height, width = self.instances.shape
        left, top, right, bottom = self.box
        if not (left <= x < right and top <= y < bottom):
            return None
        across = (x - left) * width / (right - left)
        return width - across if self.mirrored else across, (y - top) * height / (bottom - top)


def random_view(
    sample: Sample, height: int, width: int, rng: np.random.Generator, shares: tuple[float, float]
) -> View:
    """A random view of H,W pixels. shares: how often it is the whole picture, and a close one."""
    whole, close = shares
    chance = rng.random()
    kind: Kind = "whole" if chance < whole else "close" if chance < whole + close else "part"
    aspect = width / height * float(np.exp(rng.normal(0.0, 0.06)))
    focus = _focus(sample, rng) if kind != "whole" else None
    if focus is None:
        box, kind = _whole(sample, aspect, rng), "whole"
    elif kind == "close":
        box = _close(sample, focus, aspect, rng)
    else:
        box = _part(sample, focus, aspect, rng)
    return cut(sample, box, height, width, mirrored=bool(rng.random() < 0.5), kind=kind)


def cut(sample: Sample, box: Box, height: int, width: int, *, mirrored: bool, kind: Kind) -> View:
    """This box of the sample at H,W pixels."""
    image = np.asarray(
        Image.fromarray(sample.image).resize(
            (width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0
        )
    )
    left, top, right, bottom = box
    rows = (top + (np.arange(height) + 0.5) * (bottom - top) / height).astype(np.int64)
    columns = (left + (np.arange(width) + 0.5) * (right - left) / width).astype(np.int64)
    instances = sample.instances[
        np.ix_(
            rows.clip(0, sample.instances.shape[0] - 1),
            columns.clip(0, sample.instances.shape[1] - 1),
        )
    ]
    if mirrored:
        image, instances = image[:, ::-1], instances[:, ::-1]
    return View(
        sample,
        np.ascontiguousarray(image),
        np.ascontiguousarray(instances),
        box,
        mirrored,
        kind,
    )


@dataclass(frozen=True)
class Tint:
    """Brightness, contrast and saturation a little off; never the hue, or "red" would lie.

    levels: 256, what each level of a channel becomes. saturation: 1 as it was, 0 grey.
    """

    levels: NDArray[np.uint8]
    saturation: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Tint:
        """A random tint, as lighting and cameras make them."""
        table = np.arange(256, dtype=np.float32)
        contrast, brightness = np.exp(rng.normal(0.0, 0.15)), rng.normal(0.0, 14.0)
        gamma = np.exp(rng.normal(0.0, 0.12))
        table = 255.0 * (table / 255.0) ** gamma
        table = ((table - 128.0) * contrast + 128.0 + brightness).clip(0, 255)
        chance = rng.random()
        saturation = 0.0 if chance < 0.03 else rng.uniform(0.7, 1.25) if chance < 0.5 else 1.0
        return cls(table.astype(np.uint8), float(saturation))

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """H,W,3 uint8 to the same."""
        changed: NDArray[np.uint8] = self.levels[image]
        if self.saturation == 1.0:
            return changed
        grey = changed.mean(2, dtype=np.float32, keepdims=True)
        mixed = grey + (changed - grey) * np.float32(self.saturation)
        tinted: NDArray[np.uint8] = mixed.clip(0, 255).astype(np.uint8)
        return tinted


def _focus(sample: Sample, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
    """The bounding box of a random object: left, top, right, bottom."""
    for _ in range(4):
        if not sample.objects:
            return None
        chosen = sample.objects[int(rng.integers(len(sample.objects)))]
        mask = sample.mask(chosen.id)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows) * len(columns) >= 64:
            return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return None


def _whole(sample: Sample, aspect: float, rng: np.random.Generator) -> Box:
    """The picture, its longer side trimmed only where the stretch would exceed a sixth."""
    height, width = sample.instances.shape
    most = 1.17
    wide, high = float(width), float(height)
    if wide / high > aspect * most:
        wide = high * aspect * most
    elif wide / high * most < aspect:
        high = wide / aspect * most
    scale = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.88, 1.0))
    return _placed(
        wide * scale, high * scale, rng.uniform(0, width), rng.uniform(0, height), sample
    )


def _part(
    sample: Sample, focus: tuple[int, int, int, int], aspect: float, rng: np.random.Generator
) -> Box:
    """45 to 90 % of the picture, with a random place of the object in it."""
    height, width = sample.instances.shape
    high = min(float(height), width / aspect) * float(rng.uniform(0.45, 0.9))
    x, y = rng.uniform(focus[0], focus[2]), rng.uniform(focus[1], focus[3])
    x += rng.normal(0, 0.15) * high * aspect
    y += rng.normal(0, 0.15) * high
    return _placed(high * aspect, high, x, y, sample)


def _close(
    sample: Sample, focus: tuple[int, int, int, int], aspect: float, rng: np.random.Generator
) -> Box:
    """The object with a margin; never enlarged more than about threefold."""
    left, top, right, bottom = focus
    height, width = sample.instances.shape
    margin = float(np.exp(rng.uniform(np.log(1.15), np.log(2.4))))
    high = max((bottom - top) * margin, (right - left) * margin / aspect, 80.0)
    high = min(high, float(height), width / aspect)
    wide = high * aspect
    x = (left + right) / 2 + rng.normal(0, 0.08) * wide
    y = (top + bottom) / 2 + rng.normal(0, 0.08) * high
    return _placed(wide, high, x, y, sample)


def _placed(wide: float, high: float, x: float, y: float, sample: Sample) -> Box:
    """A box of this size centred on (x, y), moved into the picture."""
    height, width = sample.instances.shape
    wide, high = min(wide, float(width)), min(high, float(height))
    left = float(np.clip(x - wide / 2, 0, width - wide))
    top = float(np.clip(y - high / 2, 0, height - high))
    return left, top, left + wide, top + high
