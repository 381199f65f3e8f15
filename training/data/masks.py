"""Masks: COCO's encodings, overlapping ones in one instance map, and distances inside a region.

COCO writes a mask as polygons, run lengths or compressed run lengths. A pixel belongs to a polygon
if its centre (x + 0.5, y + 0.5) is inside by the even-odd rule. Run lengths go down the columns and
start with background. The compressed ones hold 5 bits a character from "0" on: 0x20 marks that more
follows, the last character has a sign, and from the third run on the number is the difference to
the run two before (https://github.com/cocodataset/cocoapi, common/maskApi.c).

A distance transform of a whole mask costs milliseconds, and a batch needs dozens. Prompts only need
a place where a region is about deepest, so `depths_inside` measures large regions on every second,
third or fourth pixel. Sampled pixels are pixels of the mask, so a click on one is always inside.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.crop import mask_box

Mask = NDArray[np.bool_]
Number = TypeVar("Number", bound=np.floating)


@dataclass(frozen=True, slots=True)
class Outline:
    """Polygons, each N,2 float32 (x, y) in pixels; the mask is their union."""

    polygons: tuple[NDArray[np.float32], ...]

    def draw(self, height: int, width: int) -> Mask:
        mask = np.zeros((height, width), bool)
        for polygon in self.polygons:
            _fill(mask, polygon)
        return mask


@dataclass(frozen=True, slots=True)
class Runs:
    """Run lengths as uint32 numbers, or as compressed text, which takes less memory."""

    counts: NDArray[np.uint32] | bytes

    def draw(self, height: int, width: int) -> Mask:
        """H,W bool. Raises ValueError if the runs do not fill height x width exactly."""
        counts = decompressed(self.counts) if isinstance(self.counts, bytes) else self.counts
        if int(counts.sum(dtype=np.int64)) != height * width:
            raise ValueError(f"the runs do not fill {width}x{height} pixels")
        flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        return np.ascontiguousarray(flat.reshape(width, height).T)


Segmentation = Outline | Runs


def read_segmentation(raw: Any, height: int, width: int) -> Segmentation:
    """An annotation's "segmentation" in compact form. Raises ValueError that says what is wrong.

    height, width: of the picture; 0 if unknown.
    """
    if isinstance(raw, Mapping):
        size, counts = raw.get("size"), raw.get("counts")
        if size is not None and height and list(size) != [height, width]:
            raise ValueError(f"the mask measures {size[1]}x{size[0]}, not {width}x{height}")
        if isinstance(counts, str | bytes):
            return Runs(counts.encode("ascii") if isinstance(counts, str) else counts)
        if not isinstance(counts, Sequence) or not all(isinstance(n, int) for n in counts):
            raise ValueError("run lengths without counts")
        if min(counts, default=0) < 0:
            raise ValueError("a run length is negative")
        return Runs(np.array(counts, np.uint32))
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise ValueError("no segmentation")
    # Some tools write one polygon as flat numbers instead of a list of lists.
    listed = [raw] if raw and isinstance(raw[0], int | float) else raw
    polygons = tuple(np.array(corners, np.float32).reshape(-1, 2) for corners in listed)
    polygons = tuple(
        polygon for polygon in polygons if len(polygon) >= 3 and np.isfinite(polygon).all()
    )
    if not polygons:
        raise ValueError("no polygon of three corners or more")
    return Outline(polygons)


def _fill(mask: Mask, polygon: NDArray[np.float32]) -> None:
    """Set the pixels of the H,W mask whose centres lie inside the N,2 (x, y) polygon.

    A tenth of the time of `skimage.draw.polygon2mask`, which tests every pixel.
    """
    height, width = mask.shape
    # With centres at whole numbers, an edge crosses the rows from its upper end (included) on.
    start = polygon.astype(np.float64) - 0.5
    end = np.roll(start, -1, axis=0)
    upper = np.where((start[:, 1] <= end[:, 1])[:, None], start, end)
    lower = np.where((start[:, 1] <= end[:, 1])[:, None], end, start)
    first = np.ceil(upper[:, 1]).clip(0, height).astype(np.int64)
    last = np.ceil(lower[:, 1]).clip(0, height).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (lower[edge, 0] - upper[edge, 0]) / (lower[edge, 1] - upper[edge, 1])
    x = upper[edge, 0] + (row - upper[edge, 1]) * slope
    column = np.ceil(x).clip(0, width).astype(np.int64)
    if not len(row):
        return
    # Inside and outside swap right of each crossing. Crossings beyond the picture were moved to the
    # column after its last one, which is cut off.
    top, bottom, left, right = row.min(), row.max() + 1, column.min(), column.max() + 1
    flat = (row - top) * (right - left) + column - left
    crossings = np.bincount(flat, minlength=(bottom - top) * (right - left))
    inside = crossings.reshape(bottom - top, right - left).cumsum(1) % 2 == 1
    mask[top:bottom, left:right] |= inside[:, : min(right, width) - left]


def decompressed(text: bytes) -> NDArray[np.uint32]:
    """The run lengths in compressed text. Raises ValueError for invalid text."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = character - 48
        if not 0 <= bits < 64:
            raise ValueError("characters that are not run lengths")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift or min(counts, default=-1) < 0:
        raise ValueError("run lengths that end too early")
    return np.array(counts, np.uint32)


def layered(
    masks: Mapping[int, Mask], shape: tuple[int, int], beneath: Collection[int] = ()
) -> tuple[NDArray[np.int16], dict[int, Mask]]:
    """The H,W id map of overlapping H,W masks, and the full masks of partly covered objects.

    Masks are drawn from large to small, so that small objects stay clickable. beneath: ids that are
    drawn first regardless of size (regions of several objects).
    """
    areas = {number: int(mask.sum()) for number, mask in masks.items()}
    order = sorted(masks, key=lambda number: (number not in beneath, -areas[number], number))
    instances = np.zeros(shape, np.int16)
    for number in order:
        instances[masks[number]] = number
    shown = np.bincount(instances.ravel(), minlength=max(masks, default=0) + 1)
    return instances, {n: mask for n, mask in masks.items() if shown[n] < areas[n]}


# Regions are measured at about this many samples per side.
SAMPLES = 80
# The coarsest stride; distances are off by less than this many pixels.
LARGEST_STRIDE = 4


@dataclass(frozen=True)
class DistanceMap:
    """Distances on a lattice of pixels. values: h,w float32, in pixels, 0 outside the region.

    Cell (r, c) is the pixel (top + r * stride, left + c * stride). ``values`` are exact at stride
    1, otherwise a lower bound at straight borders.
    """

    values: NDArray[np.float32]
    top: int
    left: int
    stride: int

    @property
    def deepest(self) -> float:
        return float(self.values.max(initial=0.0))

    def points(self, cells: NDArray[np.intp]) -> NDArray[np.float32]:
        """N,2: x, y of the centres of these cells' pixels. cells: N flat indices."""
        rows, columns = np.divmod(cells, max(self.values.shape[1], 1))
        x = self.left + columns * self.stride + 0.5
        y = self.top + rows * self.stride + 0.5
        return np.stack([x, y], 1).astype(np.float32)


def depths_inside(mask: Mask) -> DistanceMap:
    """Distance of each pixel of the mask to the nearest one outside the mask or the picture."""
    box = mask_box(mask)
    if box is None:
        return DistanceMap(np.zeros((0, 0), np.float32), 0, 0, 1)
    left, top, right, bottom = box
    stride = min(max(max(right - left, bottom - top) // SAMPLES, 1), LARGEST_STRIDE)
    # A region thinner than the stride may fall between the samples; then it is measured in full.
    for step in (stride, 1):
        inside = mask[top:bottom:step, left:right:step]
        if inside.any():
            break
    cells = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    values = np.where(inside, (cells - 1.0) * step + 1.0, 0.0).astype(np.float32)
    return DistanceMap(values, top, left, step)


def spread(points: NDArray[Number], distance: float, most: int) -> NDArray[Number]:
    """Up to ``most`` of the N,2 points, in order, each at least ``distance`` from those before."""
    kept = np.empty((most, 2), points.dtype)
    count = 0
    for point in points:
        if count == most:
            break
        if not count or ((kept[:count] - point) ** 2).sum(1).min() >= distance * distance:
            kept[count] = point
            count += 1
    return kept[:count]


def thin_parts(mask: Mask, share: float) -> Mask:
    """H,W: the parts of a mask that a disc inside it does not reach: limbs, handles, tips, corners.

    share: the disc's radius as a share of the largest depth. This is the mask without its
    morphological opening, with a border that is coarse by up to `LARGEST_STRIDE` pixels.
    """
    thin = np.zeros_like(mask)
    box = mask_box(mask)
    if box is None:
        return thin
    left, top, right, bottom = box
    depth = depths_inside(mask)
    radius = max(share * depth.deepest, 1.0)
    core = depth.values >= radius
    reach = ndimage.distance_transform_edt(~np.pad(core, 1))[1:-1, 1:-1] * depth.stride
    far = np.kron(reach > radius, np.ones((depth.stride, depth.stride), bool))
    thin[top:bottom, left:right] = far[: bottom - top, : right - left]
    return thin & mask
