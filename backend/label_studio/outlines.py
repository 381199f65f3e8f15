"""Masks as polygons, for projects that label with ``<PolygonLabels>``, and back.

A polygon has no holes and one part. So a mask becomes one polygon for each connected part, and its
holes are filled. Vertices lie on the borders between pixels, simplified (Douglas and Peucker, 1973)
by at most a tolerance in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon as pixels_of_polygon
from skimage.measure import approximate_polygon, find_contours

Mask = NDArray[np.bool_]
# Corners of a polygon, x and y in percent of the picture.
Points = list[list[float]]

# Between the id of an object and the number of a further polygon of its mask.
PART = "~"
# Parts of one mask; smaller ones than these are left out.
MAX_PARTS = 20
# A part of fewer pixels is a speck, unless it is all there is. *choice*
_SPECK = 9
_TOUCHING = np.ones((3, 3), np.bool_)
_DIGITS = 4  # of a percent: a hundredth of a pixel at 10,000 pixels
_MAX_POINTS = 100_000


@dataclass(frozen=True)
class Outline:
    """A mask as polygons, the largest first, and how many of its holes they cover."""

    parts: tuple[Points, ...]
    holes: int


def outline_of(mask: Mask, tolerance: float) -> Outline:
    """The polygons of a mask, H,W; no parts for an empty one.

    Args:
        mask: H,W bool.
        tolerance: pixels by which a vertex may be moved or left out.
    """
    height, width = mask.shape
    labels, count = ndimage.label(mask, _TOUCHING)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-areas, kind="stable")[:MAX_PARTS]
    boxes = ndimage.find_objects(labels)
    parts: list[Points] = []
    holes = 0
    for number in order.tolist():
        if parts and areas[number] < _SPECK:
            break
        rows, columns = boxes[number]
        part = np.pad(labels[rows, columns] == number + 1, 1)
        _, outside = ndimage.label(~part)
        holes += outside - 1
        ring = max(find_contours(ndimage.binary_fill_holes(part), 0.5), key=_area)
        kept = approximate_polygon(ring, tolerance)
        if len(kept) < 4:  # the first corner is there twice
            kept = ring
        # From pixel centres to borders, without the padding.
        y, x = kept[:-1, 0] - 0.5 + rows.start, kept[:-1, 1] - 0.5 + columns.start
        corners = np.stack((x * (100 / width), y * (100 / height)), 1)
        parts.append(np.round(corners.clip(0, 100), _DIGITS).tolist())
    return Outline(tuple(parts), holes)


def mask_of(parts: Sequence[Any], width: int, height: int) -> Mask:
    """The mask, H,W, of polygons as Label Studio writes them: lists of x and y in percent. Polygons
    that make no sense are left out."""
    mask = np.zeros((height, width), np.bool_)
    for points in parts:
        corners = _corners(points)
        if corners is None:
            continue
        x, y = corners[:, 0] * (width / 100) - 0.5, corners[:, 1] * (height / 100) - 0.5
        rows, columns = pixels_of_polygon(y, x, mask.shape)
        mask[rows, columns] = True
    return mask


def _corners(points: Any) -> NDArray[np.float64] | None:
    if not isinstance(points, list) or not 3 <= len(points) <= _MAX_POINTS:
        return None
    try:
        corners = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        return None
    sensible = corners.ndim == 2 and corners.shape[1] == 2 and np.isfinite(corners).all()
    return corners if sensible and np.abs(corners).max() < 1e6 else None


def _area(ring: NDArray[np.float64]) -> float:
    y, x = ring[:, 0], ring[:, 1]
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])))
