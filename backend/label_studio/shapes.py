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
from skimage.draw import polygon as pixels_of_polygon
from skimage.measure import approximate_polygon, find_contours

from backend.errors import RequestError

Mask = NDArray[np.bool_]

# Nobody draws this much in one region; more only costs time.
_MAX_STROKES = 2_000
_MAX_STROKE_POINTS = 50_000  # of all strokes together
# Rows of pixels of all pieces of a stroke that are computed at once, which bounds memory.
_MAX_ROWS = 2_000_000
# A PNG of this many pixels takes 256 MB while it is read. Larger ones are left out.
_MAX_IMAGE_PIXELS = 1 << 26
_PNG = "data:image/png;base64,"
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
    for adds, points, radius in _read(strokes, width, height):
        _fill(drawn, points, radius, adds)
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
    if not url.startswith(_PNG) or width * height > _MAX_IMAGE_PIXELS:
        raise RequestError("A mask's image cannot be read: it is no PNG, or too large.")
    try:
        data = base64.b64decode(url.removeprefix(_PNG), validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.size == (width, height):
                return np.asarray(image.convert("RGBA").getchannel("A")) >= 128
            found = image.size
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
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


def _fill(mask: Mask, points: NDArray[np.float64], radius: float, value: bool) -> None:
    """Set all pixels within ``radius`` of the line through ``points``."""
    starts, ends = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    at_once = max(1, int(_MAX_ROWS / (min(2 * radius, mask.shape[0]) + 2)))
    for first in range(0, len(starts), at_once):
        some = np.s_[first : first + at_once]
        _fill_pieces(mask, starts[some], ends[some], radius, value)


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
    for points in parts:
        if not isinstance(points, list) or not 3 <= len(points) <= _MAX_VERTICES:
            continue
        corners = _numbers(points, 2)
        if corners is None or corners.shape[1] != 2:
            continue
        x, y = corners[:, 0] * (width / 100) - 0.5, corners[:, 1] * (height / 100) - 0.5
        rows, columns = pixels_of_polygon(y, x, mask.shape)
        mask[rows, columns] = True
    return mask


def _area(ring: NDArray[np.float64]) -> float:
    y, x = ring[:, 0], ring[:, 1]
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])))
