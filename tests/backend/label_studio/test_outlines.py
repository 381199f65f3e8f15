"""A mask as polygons is the same mask, but for its holes and what the tolerance allows."""

from typing import Any

import numpy as np
import pytest

from backend.label_studio.outlines import mask_of, outline_of
from backend.label_studio.strokes import thick


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
