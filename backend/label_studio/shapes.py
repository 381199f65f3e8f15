"""Brush strokes, images and polygons as masks, and masks as images and polygons.

A draft keeps strokes beside the mask, in ``value.touches``; the page burns them into the mask when
the annotation is submitted, and here they are drawn in the same way. Its canvas has the picture's
own size, with round caps and joins, so a pixel is inside a stroke where its centre is at most half
the stroke's width from the line. (The page's soft edge is half opaque just there, which is where a
mask begins.)

Projects with ``<PolygonLabels>`` need polygons, which have no holes and one part. So a mask becomes
one polygon for each connected part, and its holes are filled. Vertices lie on the borders between
pixels, simplified (Douglas and Peucker, 1973) by at most a tolerance in pixels.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

from backend.errors import RequestError

Mask = NDArray[np.bool_]

# Nobody draws this much in one region; more only costs time.
_MAX_STROKES = 2_000
_MAX_STROKE_POINTS = 50_000  # of all strokes together
# Rows of pixels that the pieces of all strokes of a region cover together, and its polygons' edges.
# Those computed at once take some 200 bytes each.
_MAX_ROWS = 10_000_000
_ROWS_AT_ONCE = 500_000
_MAX_CROSSED = 1_000_000
# In pixels: a centre on the border is inside.
_ROUNDING = 1e-9
# A PNG of this many pixels takes 256 MB while it is read. Larger ones are left out.
_MAX_IMAGE_PIXELS = 1 << 26
_PNG = "data:image/png;base64,"
_MAX_IMAGE_CHARACTERS = 16 << 20
# Percent of the picture; nothing is drawn further away.
_FAR = 1e6
_SQUARE = np.ones((3, 3), np.bool_)


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
    left = _MAX_ROWS
    for adds, points, radius in _read(strokes, width, height):
        left -= _fill(drawn, points, radius, adds, left)
    return drawn


def image_of(mask: Mask) -> str:
    """A mask (H,W bool) as the data URL of a PNG, white inside and transparent outside."""
    image = Image.fromarray(mask.astype(np.uint8), "P")
    image.putpalette([255] * 6)
    file = io.BytesIO()
    image.save(file, "PNG", bits=1, transparency=b"\x00\xff", compress_level=4)
    return _PNG + base64.b64encode(file.getvalue()).decode()


def mask_in_image(url: str, width: int, height: int) -> Mask:
    """The mask (H,W bool) in the data URL of a PNG of the picture's size: its opaque half.

    Raises RequestError.
    """
    large = width * height > _MAX_IMAGE_PIXELS or len(url) > _MAX_IMAGE_CHARACTERS
    if large or not url.startswith(_PNG):
        raise RequestError("A mask's image cannot be read: it is no PNG, or too large.")
    try:
        data = base64.b64decode(url.removeprefix(_PNG), validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.size == (width, height):
                return np.asarray(image.convert("RGBA").getchannel("A")) >= 128
            found = image.size
    except Exception as error:  # the decoder raises all kinds of errors on damaged files
        raise RequestError(f"A mask's image cannot be read: {error}.") from error
    raise RequestError(
        f"A mask's image is {found[0]}x{found[1]}, but its picture is {width}x{height}."
    )


def _read(
    strokes: Sequence[Any], width: int, height: int
) -> Iterator[tuple[bool, NDArray[np.float64], float]]:
    """Whether a stroke adds, its points N,2 and half its width, in pixels."""
    left = _MAX_STROKE_POINTS
    for stroke in strokes[:_MAX_STROKES]:
        if not isinstance(stroke, Mapping):
            continue
        points = _numbers(stroke.get("relativePoints"), 1)
        thick = _numbers([stroke.get("relativeStrokeWidth")], 1)
        if points is None or thick is None or len(points) < 2:
            continue
        path = points[: len(points) // 2 * 2].reshape(-1, 2)[:left] * (width / 100, height / 100)
        left -= len(path)
        radius = float(thick[0]) * width / 200
        if len(path) and radius > 0:
            yield stroke.get("type") == "add", path, radius


def _numbers(raw: object, dimensions: int) -> NDArray[np.float64] | None:
    """A list (of lists) of finite numbers as an array; None for anything else."""
    if not isinstance(raw, list):
        return None
    try:
        numbers = np.asarray(raw, np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    sensible = numbers.ndim == dimensions and np.isfinite(numbers).all()
    return numbers if sensible and np.abs(numbers).max(initial=0) < _FAR else None


def _fill(mask: Mask, points: NDArray[np.float64], radius: float, value: bool, most: int) -> int:
    """Set all pixels within ``radius`` of the line through ``points``, as far as its pieces lie on
    at most ``most`` rows together; returns how many rows those are."""
    starts, ends = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    tops = np.ceil(np.minimum(starts, ends)[:, 1] - radius - 0.5).clip(0)
    bottoms = np.floor(np.maximum(starts, ends)[:, 1] + radius - 0.5).clip(max=len(mask) - 1)
    rows = (bottoms - tops + 1).clip(0).astype(np.int64)
    total = np.cumsum(rows)
    kept = np.flatnonzero(total <= most)
    for some in np.split(kept, np.flatnonzero(np.diff(total[kept] // _ROWS_AT_ONCE)) + 1):
        piece = np.repeat(some, rows[some])
        row = _counted(tops[some], rows[some])
        left, right = _spans(starts[piece], ends[piece], row + 0.5, radius)
        _fill_spans(mask, row, left - 0.5, right - 0.5, value)
    return int(rows[kept].sum())


def _counted(first: NDArray[np.float64], number: NDArray[np.int64]) -> NDArray[np.float64]:
    """So many numbers from each first one on, one after the other."""
    skipped = np.cumsum(number) - number
    counted: NDArray[np.float64] = np.arange(number.sum()) + np.repeat(first - skipped, number)
    return counted


def _fill_spans(
    mask: Mask,
    row: NDArray[np.float64],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    value: bool,
) -> None:
    """Set the pixels with centres between ``left`` and ``right``, in columns, of each row."""
    width = mask.shape[1]
    first = np.ceil(left - _ROUNDING).clip(0, width)
    after = (np.floor(right + _ROUNDING) + 1).clip(0, width)
    seen = after > first
    starts = (row * width + first)[seen].astype(np.int64)
    order = np.argsort(starts, kind="stable")
    starts = starts[order]
    ends = np.maximum.accumulate((row * width + after)[seen].astype(np.int64)[order])
    apart = np.flatnonzero(starts[1:] > ends[:-1]) + 1
    pixels = mask.reshape(-1)
    if len(starts):
        begins, stops = starts[np.append(0, apart)], ends[np.append(apart - 1, -1)]
        for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True):
            pixels[begin:stop] = value


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
    a morphological opening. (That of scipy.ndimage takes four times as long, and a click waits.)
    """
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    thick = np.zeros_like(changed)
    if len(rows):
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        thick[part] = _neighbours(_neighbours(changed[part], np.logical_and), np.logical_or)
    return thick


def _neighbours(mask: Mask, join: np.ufunc) -> Mask:
    """Each pixel joined with its eight neighbours; the outside is False."""
    padded = np.pad(mask, 1)
    lines = join(join(padded[:-2], padded[1:-1]), padded[2:])
    return np.asarray(join(join(lines[:, :-2], lines[:, 1:-1]), lines[:, 2:]), bool)


# Corners of a polygon, x and y in percent of the picture.
Points = list[list[float]]

# Between the id of an object and the number of a further polygon of its mask.
PART = "~"
# Parts of one mask; smaller ones than these are left out.
MAX_PARTS = 20
# A part of fewer pixels is a speck, unless it is all there is. *choice*
_SPECK = 9
_DIGITS = 4  # of a percent: a hundredth of a pixel at 10,000 pixels
_MAX_VERTICES = 100_000


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
    labels, count = ndimage.label(mask, _SQUARE)
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
    left = _MAX_CROSSED
    for points in parts:
        if not isinstance(points, list) or not 3 <= len(points) <= _MAX_VERTICES:
            continue
        corners = _numbers(points, 2)
        if corners is not None and corners.shape[1] == 2:
            left -= _fill_polygon(mask, corners * (width / 100, height / 100) - 0.5, left)
    return mask


def _fill_polygon(mask: Mask, corners: NDArray[np.float64], most: int) -> int:
    """Set the pixels inside a polygon and on its border, unless its edges cross more than ``most``
    rows; returns how many rows they cross. What it goes around twice is inside, as on the page."""
    (x, y), (x2, y2) = corners.T, np.roll(corners, -1, 0).T
    upper, lower = np.minimum(y, y2), np.maximum(y, y2)
    crossed = 0
    # A row through a corner counts to the edge below it, and then to the one above it: each may
    # have pixels of the polygon on that row.
    for above in (False, True):
        tops, ends = _row(upper, above).clip(0, len(mask)), _row(lower, above).clip(0, len(mask))
        rows = (ends - tops).astype(np.int64)
        crossed += int(rows.sum())
        if crossed > most:
            break
        edge, row = np.repeat(np.arange(len(rows)), rows), _counted(tops, rows)
        along = ((row - y[edge]) / (y2 - y)[edge]).clip(0, 1)
        column = x[edge] + along * (x2 - x)[edge]
        order = np.lexsort((column, row))
        down = np.where(y2 > y, 1, -1)[edge][order]
        turns = np.cumsum(down)  # 0 outside, and after each row
        begins, stops = order[turns == down], order[turns == 0]
        _fill_spans(mask, row[begins], column[begins], column[stops], True)
    return crossed


def _row(end: NDArray[np.float64], above: bool) -> NDArray[np.float64]:
    """The first row below the end of an edge, or on it unless that row is above's."""
    return np.floor(end + _ROUNDING) + 1 if above else np.ceil(end - _ROUNDING)


def _area(ring: NDArray[np.float64]) -> float:
    y, x = ring[:, 0], ring[:, 1]
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])))
