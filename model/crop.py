"""Parts of a picture: boxes, crops to look closer, and tiles that keep detail in little memory.

At 384 px an object a tenth of the picture wide is 38 px: its border is a guess. Encoded from its
own crop it fills the network's input. Crops are snapped to a coarse grid, so the next click on the
same object finds its crop in the cache. All of it is a *choice*; the numbers were chosen on
validation pictures.

A 6-megapixel picture takes 18 MB as pixels and 1 to 2 MB as JPEG tiles, and a crop needs only the
tiles it touches. JPEG's losses at this quality do not change the network's answers (*choice*).
"""

from __future__ import annotations

import io
import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Margin on each side, in the object's size, since the object may be larger than the known part.
MARGIN = 0.3
# Largest useful crop as a share of the picture's longest side; larger ones gain too little.
LARGEST = 0.85
# Smallest crop in pixels; below, there is no more detail.
SMALLEST = 96
# Margin of a detail on each side, in the detail's size, and its least side in pixels.
DETAIL_MARGIN = 0.9
DETAIL_SMALLEST = 48
# Edges are on a grid of this part of the crop's longest side.
GRID = 0.5
# A part that is longer than this, in its shorter side, keeps too little of it in the network's
# input: 64 of 384 pixels.
LONGEST = 6
# Parts of such a picture in which a phrase looks for what it means, one by one, which takes time.
MOST_STRETCHES = 16


class Box(NamedTuple):
    """Pixels left <= x < right, top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    def union(self, other: Box) -> Box:
        """The smallest box that contains both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def intersection(self, other: Box) -> Box | None:
        """The intersection of both boxes, or None."""
        box = Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )
        return box if box.width > 0 and box.height > 0 else None

    def moved(self, right: int, down: int) -> Box:
        """The box, moved."""
        return Box(self.left + right, self.top + down, self.right + right, self.bottom + down)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array H,W."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def includes(self, other: Box) -> bool:
        """Whether all of the other box is in this one."""
        return self.union(other) == self

    def holds(self, x: float, y: float) -> bool:
        """Whether the point is in the box."""
        return self.left <= x < self.right and self.top <= y < self.bottom


def mask_box(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box around the true pixels of H,W, or None."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    return Box(int(columns[0]), top, int(columns[-1]) + 1, bottom)


def points_box(points: list[tuple[float, float]]) -> Box | None:
    """The smallest box around the pixels of these points, or None without points."""
    if not points:
        return None
    xs, ys = zip(*points, strict=True)
    return Box(
        math.floor(min(xs)), math.floor(min(ys)), math.floor(max(xs)) + 1, math.floor(max(ys)) + 1
    )


def focus(around: Box | None, width: int, height: int) -> Box | None:
    """The crop for an object, or None if the whole picture shows it well enough.

    around: the known part of the object, from its mask and its positive clicks. The crop contains
    it with MARGIN on every side, within the picture.
    """
    if around is None:
        return None
    longest = max(around.width, around.height)
    # The same margin on all sides, from the longer side: a thin object's surroundings matter too.
    margin = max(longest * MARGIN, (SMALLEST - longest) / 2)
    side = longest + 2 * margin
    # A power of two, so that a slightly larger mask mostly keeps the grid.
    step = 2 ** max(math.ceil(math.log2(side * GRID)), 0)
    box = Box(
        max(math.floor((around.left - margin) / step) * step, 0),
        max(math.floor((around.top - margin) / step) * step, 0),
        min(math.ceil((around.right + margin) / step) * step, width),
        min(math.ceil((around.bottom + margin) / step) * step, height),
    )
    if max(box.width, box.height) > LARGEST * max(width, height):
        return None
    return box


def window(part: Box, around: Box) -> Box:
    """Of a part of the picture with extreme sides (20,000 x 100 pixels) what shows ``around``, or
    its middle where it is too long; any other part as it is."""
    long = max(min(part.width, part.height) * LONGEST, SMALLEST)
    if max(part.width, part.height) <= long:
        return part
    step = max(long // 8, 1)
    wide = part.width > part.height
    low, high, start, end = (
        (around.left, around.right, part.left, part.right)
        if wide
        else (around.top, around.bottom, part.top, part.bottom)
    )
    first = start + round(((low + high - long) / 2 - start) / step) * step
    first = min(max(first, start), end - long)
    if wide:
        return Box(first, part.top, first + long, part.bottom)
    return Box(part.left, first, part.right, first + long)


def stretches(width: int, height: int) -> list[Box]:
    """The whole picture; one with extreme sides in parts that show its objects large enough."""
    whole = Box(0, 0, width, height)
    part, long = window(whole, whole), max(width, height)
    count = min(math.ceil(long / max(part.width, part.height)), MOST_STRETCHES)
    edges = [long * number // count for number in range(count + 1)]
    if width > height:
        return [Box(start, 0, end, height) for start, end in pairwise(edges)]
    return [Box(0, start, width, end) for start, end in pairwise(edges)]


# Each side is divided into this many tiles, which overlap by this share of a tile's side.
TILES = 2
OVERLAP = 0.125


def tiles(part: Box) -> list[Box]:
    """Overlapping tiles of a part; what is smaller than the overlap is whole in one of them."""
    step = 1.0 - OVERLAP
    longest = TILES - (TILES - 1) * OVERLAP
    width, height = part.width / longest, part.height / longest
    return [
        Box(
            part.left + round(column * step * width),
            part.top + round(row * step * height),
            part.left + round((column * step + 1) * width),
            part.top + round((row * step + 1) * height),
        )
        for row in range(TILES)
        for column in range(TILES)
    ]


def detail(around: Box, width: int, height: int) -> Box | None:
    """A square crop for a detail of an object, or None if the picture is smaller.

    Squares have one shape for the network. Sides are powers of two or one and a half times that,
    and positions are on a grid of an eighth of the side.
    """
    side = max(max(around.width, around.height) * (1 + 2 * DETAIL_MARGIN), DETAIL_SMALLEST)
    power = 2 ** math.floor(math.log2(side))
    rounded = next(size for size in (power, power * 3 // 2, power * 2) if size >= side)
    if rounded > min(width, height):
        return None
    step = rounded // 8
    left, top = (
        min(max(round((low + high - rounded) / 2 / step) * step, 0), size - rounded)
        for low, high, size in (
            (around.left, around.right, width),
            (around.top, around.bottom, height),
        )
    )
    return Box(left, top, left + rounded, top + rounded)


def reaches_edge(mask: NDArray[np.bool_], box: Box, width: int, height: int) -> bool:
    """Whether a crop's mask (on any grid over the box) continues beyond the crop's inner edges."""
    return bool(
        (box.left > 0 and mask[:, 0].any())
        or (box.top > 0 and mask[0].any())
        or (box.right < width and mask[:, -1].any())
        or (box.bottom < height and mask[-1].any())
    )


TILE = 512
QUALITY = 92


class ImageTiles:
    """An H,W,3 picture in tiles; immutable."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.height, self.width = image.shape[:2]
        self._tiles = {
            (row, column): _encode(image[row : row + TILE, column : column + TILE])
            for row in range(0, self.height, TILE)
            for column in range(0, self.width, TILE)
        }

    @property
    def nbytes(self) -> int:
        """Memory of the tiles."""
        return sum(len(tile) for tile in self._tiles.values())

    def read(self, box: Box) -> Image.Image:
        """The pixels of a box inside the picture, RGB."""
        canvas = Image.new("RGB", (box.width, box.height))
        for row in range(box.top // TILE * TILE, box.bottom, TILE):
            for column in range(box.left // TILE * TILE, box.right, TILE):
                tile = Image.open(io.BytesIO(self._tiles[row, column]), formats=["JPEG"])
                canvas.paste(tile, (column - box.left, row - box.top))
        return canvas


def _encode(tile: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
