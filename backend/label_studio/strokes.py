"""Strokes of brush and eraser, drawn over a mask as Label Studio's page draws them.

A draft keeps strokes beside the mask, in ``value.touches``; the page burns them into the mask when
the annotation is submitted. Its canvas has the picture's own size, with round caps and joins, so a
pixel is inside a stroke where its centre is at most half the stroke's width from the line. (The
page's soft edge is half opaque just there, which is where a mask begins.)
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

# Nobody draws this much in one region; more only costs time.
_MAX_STROKES = 2_000
_MAX_POINTS = 50_000  # of all strokes together
# Rows of pixels of all pieces of a stroke that are computed at once, which bounds memory.
_MAX_ROWS = 2_000_000


def drawn_over(mask: Mask, strokes: Sequence[Any]) -> Mask:
    """``mask`` (H,W bool) with the strokes, oldest first; strokes that make no sense are left out.

    Args:
        mask: is not changed.
        strokes: ``value.touches``: each has ``type`` ("add", or "eraser"), ``relativePoints``
            (x, y, x, y, … in percent of the picture) and ``relativeStrokeWidth`` (percent of the
            picture's width).
    """
    drawn = mask.copy()
    height, width = mask.shape
    for adds, points, radius in _read(strokes, width, height):
        _fill(drawn, points, radius, adds)
    return drawn


def _read(
    strokes: Sequence[Any], width: int, height: int
) -> Iterator[tuple[bool, NDArray[np.float64], float]]:
    """Whether a stroke adds, its points N,2 and half its width, in pixels."""
    left = _MAX_POINTS
    for stroke in strokes[:_MAX_STROKES]:
        if not isinstance(stroke, Mapping):
            continue
        points = _numbers(stroke.get("relativePoints"))
        thick = _numbers([stroke.get("relativeStrokeWidth")])
        if points is None or thick is None or len(points) < 2:
            continue
        path = points[: len(points) // 2 * 2].reshape(-1, 2)[:left] * (width / 100, height / 100)
        left -= len(path)
        radius = float(thick[0]) * width / 200
        if len(path) and radius > 0 and np.abs(path).max() < 1e7 and radius < 1e6:
            yield stroke.get("type") == "add", path, radius


def _numbers(raw: object) -> NDArray[np.float64] | None:
    if not isinstance(raw, list) or any(isinstance(number, bool) for number in raw):
        return None
    try:
        numbers = np.asarray(raw, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return numbers if numbers.ndim == 1 and np.isfinite(numbers).all() else None


def _fill(mask: Mask, points: NDArray[np.float64], radius: float, value: bool) -> None:
    """Set all pixels within ``radius`` of the line through ``points``."""
    starts, ends = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    moved = (starts != ends).any(axis=1)
    if moved.any():
        starts, ends = starts[moved], ends[moved]
    else:
        starts, ends = starts[:1], ends[:1]
    at_once = max(1, int(_MAX_ROWS / (min(2 * radius, mask.shape[0]) + 2)))
    for first in range(0, len(starts), at_once):
        _fill_pieces(
            mask, starts[first : first + at_once], ends[first : first + at_once], radius, value
        )


def _fill_pieces(
    mask: Mask,
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    radius: float,
    value: bool,
) -> None:
    """A piece of a stroke is convex, so it covers one span of each row of pixels."""
    height, width = mask.shape
    tops = np.maximum(np.ceil(np.minimum(starts, ends)[:, 1] - radius - 0.5), 0).astype(np.int64)
    bottoms = np.minimum(np.floor(np.maximum(starts, ends)[:, 1] + radius - 0.5), height - 1)
    rows = np.maximum(bottoms.astype(np.int64) - tops + 1, 0)
    total = int(rows.sum())
    if not total:
        return
    piece = np.repeat(np.arange(len(starts)), rows)
    row = np.arange(total) - np.repeat(np.cumsum(rows) - rows, rows) + tops[piece]
    left, right = _spans(starts[piece], ends[piece], row + 0.5, radius)
    first = np.clip(np.ceil(left - 0.5), 0, width).astype(np.int64)
    after = np.clip(np.floor(right - 0.5) + 1, 0, width).astype(np.int64)
    seen = after > first
    row, first, after = row[seen], first[seen], after[seen]
    if not len(row):
        return
    # Spans as +1 at their start and -1 after their end; their sum counts the spans over a pixel.
    top, bottom = int(row.min()), int(row.max()) + 1
    line = width + 1
    at = (row - top) * line
    cells = (bottom - top) * line
    counts = np.bincount(at + first, minlength=cells) - np.bincount(at + after, minlength=cells)
    covered = np.cumsum(counts.reshape(bottom - top, line), axis=1)[:, :width] > 0
    mask[top:bottom][covered] = value


def _spans(
    start: NDArray[np.float64], end: NDArray[np.float64], y: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where rows at ``y`` enter and leave pieces (N,2 to N,2): their outline is two circles and
    two straight sides."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)

    def include(x: NDArray[np.float64], where: NDArray[np.bool_]) -> None:
        left[where] = np.minimum(left[where], x[where])
        right[where] = np.maximum(right[where], x[where])

    for centre in (start, end):
        below = radius**2 - (y - centre[:, 1]) ** 2
        half = np.sqrt(np.maximum(below, 0))
        include(centre[:, 0] - half, below >= 0)
        include(centre[:, 0] + half, below >= 0)
    along = end - start
    length = np.hypot(along[:, 0], along[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        across = np.stack((-along[:, 1], along[:, 0]), 1) * (radius / length)[:, None]
        for side in (across, -across):
            part = (y - start[:, 1] - side[:, 1]) / along[:, 1]
            x = start[:, 0] + side[:, 0] + part * along[:, 0]
            include(x, (part >= 0) & (part <= 1))
    return left, right


def thick(changed: Mask) -> Mask:
    """What of a difference between two masks a person drew.

    The page re-encodes a mask when it saves, which may move single pixels along its border, while a
    stroke is several pixels thick. So parts that no square of three pixels fits into are left out:
    a morphological opening by reconstruction of one step. (scipy.ndimage has it, but is slow to
    import.)
    """
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    thick = np.zeros_like(changed)
    if len(rows):
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        box = changed[part]
        thick[part] = _neighbours(_neighbours(box, np.logical_and), np.logical_or) & box
    return thick


def _neighbours(mask: Mask, join: np.ufunc) -> Mask:
    """Each pixel joined with its eight neighbours; the outside is False."""
    padded = np.pad(mask, 1)
    lines = join(join(padded[:-2], padded[1:-1]), padded[2:])
    return np.asarray(join(join(lines[:, :-2], lines[:, 1:-1]), lines[:, 2:]), bool)
