"""Strokes of brush and eraser are drawn as the page's canvas draws them."""

import base64
import io
import itertools
import json
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage.draw import polygon

from backend.errors import RequestError
from backend.label_studio.regions import parse_result
from backend.label_studio.shapes import (
    drawn_over,
    image_of,
    mask_in_image,
    mask_of,
    outline_of,
    thick,
)

PAYLOADS = Path(__file__).parents[2] / "payloads"

Mask = NDArray[np.bool_]


def stroke(points: list[float], width: float, kind: str = "add") -> dict[str, Any]:
    return {"type": kind, "relativePoints": points, "relativeStrokeWidth": width}


def within(shape: tuple[int, int], points: list[float], thickness: float) -> Mask:
    """Pixels whose centre is within half the thickness (pixels) of the line: the definition."""
    height, width = shape
    y, x = np.mgrid[:height, :width] + 0.5
    path = np.asarray(points).reshape(-1, 2) * (width / 100, height / 100)
    pieces = itertools.pairwise(path) if len(path) > 1 else [(path[0], path[0])]
    near = np.full(shape, np.inf)
    for (x1, y1), (x2, y2) in pieces:
        length = (x2 - x1) ** 2 + (y2 - y1) ** 2
        along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length if length else 0.0
        part = np.clip(along, 0, 1)
        near = np.minimum(near, np.hypot(x - x1 - part * (x2 - x1), y - y1 - part * (y2 - y1)))
    return np.asarray(near <= thickness / 2)


percent = st.floats(-20, 120, allow_nan=False).map(lambda value: round(value, 2))
# The middle of a picture of 53x37 is the centre of a pixel.
within_cells = percent.filter(lambda value: value != 50)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(percent, percent), min_size=1, max_size=6), st.floats(1, 60).map(round))
def test_a_stroke_holds_the_pixels_near_its_line(
    corners: list[tuple[float, float]], width: float
) -> None:
    # given a line with any corners, on the picture or beside it
    points = [number for corner in corners for number in corner]
    # when it is drawn
    mask = drawn_over(np.zeros((37, 53), bool), [stroke(points, width)])
    # then it holds what is within half its width, but for rounding at exactly that distance
    thickness = width / 100 * 53
    assert not (mask & ~within((37, 53), points, thickness + 1e-6)).any()
    assert not (~mask & within((37, 53), points, thickness - 1e-6)).any()


def test_strokes_are_drawn_in_order_over_the_mask() -> None:
    # given a mask, and an eraser between two brush strokes at the same place
    mask = np.ones((40, 40), bool)
    strokes = [stroke([50, 50], 90), stroke([50, 50], 60, "eraser"), stroke([50, 50], 20)]
    # when they are drawn
    drawn = drawn_over(mask, strokes)
    # then the later one decides, and the mask itself is unchanged
    assert drawn[20, 20]
    assert not drawn[20, 11]
    assert drawn[0, 0]
    assert mask.all()


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        {},
        {"type": "add", "relativePoints": [1], "relativeStrokeWidth": 3},
        {"type": "add", "relativePoints": "12", "relativeStrokeWidth": 3},
        {"type": "add", "relativePoints": [1, None], "relativeStrokeWidth": 3},
        {"type": "add", "relativePoints": [1, 1], "relativeStrokeWidth": float("inf")},
        {"type": "add", "relativePoints": [1, 1], "relativeStrokeWidth": 0},
        {"type": "add", "relativePoints": [1e300, 1], "relativeStrokeWidth": 3},
    ],
)
def test_a_stroke_that_makes_no_sense_is_left_out(nonsense: Any) -> None:
    drawn = drawn_over(np.zeros((10, 10), bool), [nonsense, stroke([50, 50], 40)])
    assert drawn.sum() == 12


@pytest.mark.parametrize(("name", "adds"), [("erased", False), ("painted", True)])
def test_a_recorded_draft_shows_its_strokes(name: str, adds: bool) -> None:
    # given a region of a draft that was edited by hand in the page
    item = json.loads((PAYLOADS / f"draft_region_{name}_touches.json").read_text())
    (region,) = parse_result([item])
    # when its mask is read
    before, mask = region.saved_mask(), region.mask()
    # then the stroke is in it, and nothing else has changed
    (touch,) = item["value"]["touches"]
    thickness = touch["relativeStrokeWidth"] / 100 * item["original_width"]
    line = within(mask.shape, touch["relativePoints"], thickness)
    assert (mask == (before | line if adds else before & ~line)).all()
    assert before.any() != adds


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (40, 64)])
def test_a_mask_survives_as_an_image(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(1).random(shape) < 0.5
    assert (mask_in_image(image_of(mask), *shape[::-1]) == mask).all()


def test_the_opaque_half_of_the_wands_image_is_its_mask() -> None:
    alpha = np.zeros((4, 6), np.uint8)
    alpha[1, 2:4] = 255, 127
    assert np.argwhere(mask_in_image(png(alpha), 6, 4)).tolist() == [[1, 2]]


def _with_empty_profile() -> str:
    """A mask's image at which the decoder itself fails."""
    data = base64.b64decode(image_of(np.ones((4, 6), bool)).partition(",")[2])
    block = bytes(4) + b"iCCP" + zlib.crc32(b"iCCP").to_bytes(4)
    return "data:image/png;base64," + base64.b64encode(data[:-12] + block + data[-12:]).decode()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://example.com/mask.png", "no PNG"),
        ("data:image/png;base64,%%", "cannot be read"),
        ("data:image/png;base64,iVBORw0KGgo=", "cannot be read"),
        ("data:image/jpeg;base64,", "no PNG"),
        (_with_empty_profile(), "index out of range"),
    ],
)
def test_an_image_that_is_no_mask_is_refused(url: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        mask_in_image(url, 6, 4)


def test_a_wands_image_of_another_size_is_refused() -> None:
    with pytest.raises(RequestError, match="6x4, but its picture is 4x6"):
        mask_in_image(png(np.zeros((4, 6), np.uint8)), 4, 6)


def test_what_a_person_drew_is_thicker_than_what_encoding_moves() -> None:
    changed = np.zeros((20, 20), bool)
    changed[3, 2:18] = True
    changed[10:13, 5:9] = True
    assert (np.argwhere(thick(changed)).min(0) == (10, 5)).all()
    assert not thick(np.zeros((4, 4), bool)).any()


@pytest.mark.timed
def test_an_outline_of_many_corners_is_filled_at_once() -> None:
    angles = np.linspace(0, 2 * np.pi, 5_000)
    radii = np.random.default_rng(1).uniform(40, 50, 5_000)
    corners = 50 + radii[:, None] * np.stack((np.cos(angles), np.sin(angles)), 1)
    started = time.perf_counter()
    mask_of([corners.tolist()], 3000, 2000)
    assert time.perf_counter() - started < 1.0


@pytest.mark.timed
def test_a_long_stroke_on_a_large_picture_is_drawn_at_once() -> None:
    points = np.random.default_rng(1).random(2_000) * 100
    strokes = [stroke(np.sort(points).tolist(), 2.0)]
    started = time.perf_counter()
    drawn_over(np.zeros((2000, 3000), bool), strokes)
    assert time.perf_counter() - started < 1.0


def test_no_line_takes_much_more_memory_than_its_picture() -> None:
    # given what no hand draws: each piece from the top to the bottom
    zigzag = [[i / 500, 100.0 * (i % 2)] for i in range(50_000)]
    mask = np.zeros((3000, 4000), bool)
    tracemalloc.start()
    # when it is drawn as a stroke, and as a polygon
    drawn_over(mask, [stroke(np.ravel(zigzag).tolist(), 0.1)])
    outline = mask_of([zigzag], 4000, 3000)
    # then memory and time are those of a few rows; of the polygon nothing is shown
    assert tracemalloc.get_traced_memory()[1] < 3 * mask.nbytes + (200 << 20)
    tracemalloc.stop()
    assert not outline.any()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(within_cells, within_cells), min_size=3, max_size=9, unique=True))
def test_a_polygon_holds_the_pixels_inside_it(corners: list[tuple[float, float]]) -> None:
    drawn = mask_of([[list(corner) for corner in corners]], 53, 37)
    # then it is what testing each pixel against each edge finds: those that the edges go around
    x, y = (np.asarray(corners) * (0.53, 0.37) - 0.5).T
    rows, columns = np.mgrid[:37, :53]
    around = np.zeros((37, 53), int)
    for x1, y1, x2, y2 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        right = (x2 - x1) * (rows - y1) - (columns - x1) * (y2 - y1) > 0
        around += (y1 <= rows) & (rows < y2) & right
        around -= (y2 <= rows) & (rows < y1) & ~right
    expected = around != 0
    expected[polygon(y, x, expected.shape)] = True
    assert (drawn == expected).all()


def test_a_polygon_that_goes_around_twice_is_filled() -> None:
    square = [[20, 20], [80, 20], [80, 80], [20, 80]]
    assert mask_of([square * 2], 10, 10).sum() == 36


def disc(height: int, width: int, x: float, y: float, radius: float) -> Any:
    rows, columns = np.mgrid[:height, :width] + 0.5
    return np.hypot(rows - y, columns - x) < radius


@pytest.mark.parametrize(("tolerance", "corners"), [(0.0, 600), (0.5, 100), (2.0, 40)])
def test_the_polygon_is_the_mask_within_its_tolerance(tolerance: float, corners: int) -> None:
    # given a large round mask
    mask = disc(200, 300, 140, 90, 70)
    # when it becomes a polygon and is filled again
    outline = outline_of(mask, tolerance)
    again = mask_of(outline.parts, 300, 200)
    # then few pixels of its border differ, and there are few corners
    assert len(outline.parts) == 1
    assert len(outline.parts[0]) <= corners
    wrong = np.count_nonzero(again ^ mask)
    assert wrong <= 440 * max(tolerance, 0.1)  # pixels along the border
    assert (again == mask).all() or tolerance


def test_each_part_is_a_polygon_and_holes_are_counted() -> None:
    # given a ring, a disc and a speck
    mask = disc(100, 100, 30, 30, 20) & ~disc(100, 100, 30, 30, 8)
    mask |= disc(100, 100, 75, 70, 12)
    mask[95, 5] = True
    # when it becomes polygons
    outline = outline_of(mask, 0.5)
    # then the two parts are there, the larger first, and the hole is filled
    assert len(outline.parts) == 2
    assert outline.holes == 1
    again = mask_of(outline.parts, 100, 100)
    assert again[30, 30]
    assert again[70, 75]
    assert not again[95, 5]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1)])
def test_the_smallest_mask_has_a_polygon(shape: tuple[int, int]) -> None:
    mask = np.ones(shape, np.bool_)
    outline = outline_of(mask, 0.5)
    assert len(outline.parts[0]) >= 3
    again = mask_of(outline.parts, shape[1], shape[0])
    assert again.any()
    assert not thick(again ^ mask).any()


def test_a_mask_at_the_pictures_edge_reaches_it() -> None:
    mask = np.zeros((50, 80), np.bool_)
    mask[:20, 60:] = True
    corners = np.array(outline_of(mask, 0.5).parts[0])
    assert corners.max(0).tolist() == [100, 40]
    assert not thick(mask_of([corners.tolist()], 80, 50) ^ mask).any()


def test_an_empty_mask_has_none() -> None:
    assert outline_of(np.zeros((5, 5), np.bool_), 0.5).parts == ()


@pytest.mark.parametrize(
    "points", [None, [], [[1, 2], [3, 4]], [[1, 2], [3, 4], [5]], [["a", 1]] * 3, [[1e9, 1]] * 3]
)
def test_points_that_make_no_polygon_are_left_out(points: Any) -> None:
    assert not mask_of([points], 10, 10).any()


def png(alpha: Any) -> str:
    """White with this opacity, as a browser's canvas writes it."""
    pixels = np.full((*alpha.shape, 4), 255, np.uint8)
    pixels[..., 3] = alpha
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
