"""From a sample to a network input: a box of the picture, flipped and tinted at random.

Boxes are whole pictures, parts of pictures, close views of one object, and details of an object
that the view cuts off, since the predictor uses all four. A box is stretched to the input as in the
predictor, without padding. Left and right stay true because phrases are made, or mirrored, after
the flip; colours because they are measured after the tint.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from model.crop import mask_box
from training.data.masks import thin_parts
from training.data.sample import Sample, SampleObject, pick

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the sample
Kind = Literal["whole", "close", "detail", "part"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Pixel = TypeVar("Pixel", bound=np.generic)

# A detail is this share of its object's size, at least `SMALLEST_DETAIL` pixels of the picture.
DETAIL = (0.3, 1.0)
SMALLEST_DETAIL = 72.0
# How often a detail is around a thin part instead of anywhere on the border.
AT_THIN_PART = 0.5

# A coarse view has the detail of one that is smaller by this factor, with this many pixels at least
# along the object.
COARSER = (1.5, 6.0)
FEWEST_PIXELS = 10


class ViewShares(NamedTuple):
    """Shares of whole pictures, close views of an object and details; the rest are parts.

    coarse: of close views and details, the share that is blurred as an enlarged tiny object is.
    """

    whole: float
    close: float
    detail: float = 0.0
    coarse: float = 0.0


@dataclass(frozen=True)
class View:
    """One input: image H,W,3 uint8, instance map H,W int16, and how it was cut from the sample.

    box: in pixels of the sample. about: the id of the object of a close view or a detail.
    """

    sample: Sample
    image: NDArray[np.uint8]
    instances: NDArray[np.int16]
    box: Box
    mirrored: bool
    kind: Kind
    about: int | None = None
    _soft: dict[tuple[int, ...], NDArray[np.float32]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """Pixels in view by id + 1; index 0 is `VOID`."""
        most = max((about.id for about in self.sample.objects), default=0)
        labels = self.instances.ravel().astype(np.intp) + 1
        return np.bincount(labels, minlength=most + 2)

    def soft_mask(self, ids: tuple[int, ...]) -> NDArray[np.float32]:
        """H,W in [0, 1]: the union of these objects, with a smooth border if enlarged.

        Resized as one mask, since the instance map would give stairs. Read-only, since it is kept
        for the next prompt about the same objects.
        """
        if ids not in self._soft:
            height, width = self.instances.shape
            whole = Image.fromarray(self.sample.mask(*ids).astype(np.uint8) * 255)
            mask = whole.resize((width, height), Image.Resampling.BILINEAR, box=self.box)
            soft = np.asarray(mask, np.float32) / 255.0
            self._soft[ids] = soft[:, ::-1].copy() if self.mirrored else soft
            self._soft[ids].setflags(write=False)
        return self._soft[ids]

    def shows(self, x: float, y: float) -> bool:
        """Whether a point (x, y) of the sample is in this view."""
        left, top, right, bottom = self.box
        return left <= x < right and top <= y < bottom

    def place(self, x: float, y: float) -> tuple[float, float]:
        """The position in this view, or beside it, of a point (x, y) of the sample, in pixels."""
        height, width = self.instances.shape
        left, top, right, bottom = self.box
        across = (x - left) * width / (right - left)
        return width - across if self.mirrored else across, (y - top) * height / (bottom - top)


def random_view(
    sample: Sample, height: int, width: int, rng: np.random.Generator, shares: ViewShares
) -> View:
    """A random view of H,W pixels."""
    kind = KINDS[int(np.searchsorted(np.cumsum(shares[:3]), rng.random(), side="right"))]
    aspect = width / height * float(np.exp(rng.normal(0.0, 0.06)))
    focus = _focus(sample, rng) if kind != "whole" else None
    about: int | None = None
    if focus is None:
        box, kind = _whole(sample, aspect, rng), "whole"
    elif kind == "part":
        box = _part(sample, focus.box, aspect, rng)
    else:
        about = focus.about.id
        way = _close if kind == "close" else _detail
        box = way(sample, focus, aspect, rng)
    mirrored = bool(rng.random() < 0.5) and not _sided(sample)
    view = cut(sample, box, height, width, mirrored=mirrored, kind=kind, about=about)
    if focus is None or about is None or not (shares.coarse and rng.random() < shares.coarse):
        return view
    factor = float(np.exp(rng.uniform(*np.log(COARSER))))
    # The longer side of the object's box in pixels of the view.
    left, top, right, bottom = focus.box
    across, down = box[2] - box[0], box[3] - box[1]
    length = float(max((right - left) * width / across, (bottom - top) * height / down))
    return replace(view, image=coarse(view.image, min(factor, length / FEWEST_PIXELS)))


def _sided(sample: Sample) -> bool:
    """Whether a category has a side in its name ("left mirror"), which a flip would make wrong."""
    words = {word for about in sample.objects if about.category for word in about.category.split()}
    return not words.isdisjoint(("left", "right"))


def cut(
    sample: Sample,
    box: Box,
    height: int,
    width: int,
    *,
    mirrored: bool,
    kind: Kind,
    about: int | None = None,
) -> View:
    """A view of this box of the sample at height x width pixels."""
    image = np.asarray(
        Image.fromarray(sample.image).resize(
            (width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0
        )
    )
    instances = nearest(sample.instances, box, (width, height))
    if mirrored:
        image, instances = np.ascontiguousarray(image[:, ::-1]), instances[:, ::-1].copy()
    return View(sample, image, instances, box, mirrored, kind, about)


def coarse(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """H,W,3 uint8 of the same size, with the detail of one that is smaller by this factor."""
    height, width = image.shape[:2]
    if factor <= 1:
        return image
    size = max(round(width / factor), 1), max(round(height / factor), 1)
    small = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def nearest(array: NDArray[Pixel], box: Box, size: tuple[int, int]) -> NDArray[Pixel]:
    """H,W: this box at another size (width, height); each pixel takes the value at its centre."""
    (left, top, right, bottom), (width, height) = box, size
    rows = (top + (np.arange(height) + 0.5) * (bottom - top) / height).astype(np.int64)
    columns = (left + (np.arange(width) + 0.5) * (right - left) / width).astype(np.int64)
    most = array.shape[0] - 1, array.shape[1] - 1
    part: NDArray[Pixel] = array[np.ix_(rows.clip(0, most[0]), columns.clip(0, most[1]))]
    return part


def whole_view(sample: Sample) -> View:
    """The view of a picture that was made at the view's size."""
    height, width = sample.instances.shape
    box = (0.0, 0.0, float(width), float(height))
    return View(sample, sample.image, sample.instances, box, mirrored=False, kind="whole")


@dataclass(frozen=True)
class Tint:
    """A change of brightness, contrast and saturation; not of hue, so that "red" stays true.

    levels: 256 new levels of a channel. saturation: 1 unchanged, 0 grey.
    """

    levels: NDArray[np.uint8]
    saturation: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Tint:
        """A random tint, in the range of lighting and cameras."""
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
        changed = Image.fromarray(image).point(np.tile(self.levels, 3).tolist())
        if self.saturation != 1.0:
            grey = changed.convert("L", (1 / 3, 1 / 3, 1 / 3, 0)).convert("RGB")
            changed = Image.blend(grey, changed, self.saturation)
        return np.array(changed)


class _Focus(NamedTuple):
    """A random object of a sample: its H,W mask and bounding box (left, top, right, bottom)."""

    about: SampleObject
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]


def _focus(sample: Sample, rng: np.random.Generator) -> _Focus | None:
    for _ in range(4):
        if not sample.objects:
            return None
        chosen = pick(sample.objects, rng)
        mask = sample.mask(chosen.id)
        box = mask_box(mask)
        if box is not None and (box[2] - box[0]) * (box[3] - box[1]) >= 64:
            return _Focus(chosen, mask, box)
    return None


def _whole(sample: Sample, aspect: float, rng: np.random.Generator) -> Box:
    """The picture; its longer side is trimmed if it would be stretched by more than a sixth."""
    height, width = sample.instances.shape
    most = 1.17
    wide, high = float(width), float(height)
    if wide / high > aspect * most:
        wide = high * aspect * most
    elif wide / high * most < aspect:
        high = wide / aspect * most
    scale = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.88, 1.0))
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    return placed(wide * scale, high * scale, x, y, sample)


def _part(
    sample: Sample, focus: tuple[int, int, int, int], aspect: float, rng: np.random.Generator
) -> Box:
    """45 to 90 % of the picture, containing a random place of the object."""
    height, width = sample.instances.shape
    high = min(float(height), width / aspect) * float(rng.uniform(0.45, 0.9))
    x, y = rng.uniform(focus[0], focus[2]), rng.uniform(focus[1], focus[3])
    x += rng.normal(0, 0.15) * high * aspect
    y += rng.normal(0, 0.15) * high
    return placed(high * aspect, high, x, y, sample)


def _detail(sample: Sample, focus: _Focus, aspect: float, rng: np.random.Generator) -> Box:
    """A crop, smaller than the object, around a random place of its border or a thin part.

    The predictor encodes such crops around the newest click for full detail.
    """
    left, top, right, bottom = focus.box
    shape = focus.mask.shape
    cells = np.zeros(0, np.intp)
    if rng.random() < AT_THIN_PART:
        cells = np.flatnonzero(thin_parts(focus.mask, float(rng.uniform(0.3, 0.6))))
    if not len(cells):
        inner = focus.mask[top:bottom, left:right]
        edge = np.zeros(shape, bool)
        edge[top:bottom, left:right] = inner ^ ndimage.binary_erosion(inner)
        cells = np.flatnonzero(edge)
    y, x = divmod(int(cells[int(rng.integers(len(cells)))]), shape[1])
    size = float(max(right - left, bottom - top)) * float(rng.uniform(*DETAIL))
    size = max(size, SMALLEST_DETAIL)
    # This is the size of the view's longer side.
    high = size / max(aspect, 1.0)
    wide = high * aspect
    x, y = x + rng.normal(0, 0.12) * wide, y + rng.normal(0, 0.12) * high
    return placed(wide, high, x, y, sample)


def _close(sample: Sample, focus: _Focus, aspect: float, rng: np.random.Generator) -> Box:
    """The object with a margin, enlarged about threefold at most."""
    left, top, right, bottom = focus.box
    height, width = sample.instances.shape
    margin = float(np.exp(rng.uniform(np.log(1.15), np.log(2.4))))
    high = max((bottom - top) * margin, (right - left) * margin / aspect, 80.0)
    high = min(high, float(height), width / aspect)
    wide = high * aspect
    x = (left + right) / 2 + rng.normal(0, 0.08) * wide
    y = (top + bottom) / 2 + rng.normal(0, 0.08) * high
    return placed(wide, high, x, y, sample)


def placed(wide: float, high: float, x: float, y: float, sample: Sample) -> Box:
    """A box of this size centred on (x, y), moved into the picture."""
    height, width = sample.instances.shape
    wide, high = min(wide, float(width)), min(high, float(height))
    left = float(np.clip(x - wide / 2, 0, width - wide))
    top = float(np.clip(y - high / 2, 0, height - high))
    return left, top, left + wide, top + high
