"""Crops of a picture, and its tiles."""

from __future__ import annotations

import numpy as np
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from model import crop
from model.crop import TILE, Box, ImageTiles


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Box, int, int]:
    """An object's box in a picture of some size."""
    width, height = draw(st.integers(1, 4000)), draw(st.integers(1, 4000))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right = draw(st.integers(left + 1, min(width, left + 900)))
    bottom = draw(st.integers(top + 1, min(height, top + 900)))
    return Box(left, top, right, bottom), width, height


@given(scene=scenes())
def test_a_crop_holds_the_object_with_a_margin_inside_the_picture(
    scene: tuple[Box, int, int],
) -> None:
    around, width, height = scene

    box = crop.focus(around, width, height)

    if box is not None:
        margin = max(around.width, around.height) * crop.MARGIN
        assert box.left <= max(around.left - margin, 0)
        assert box.top <= max(around.top - margin, 0)
        assert box.right >= min(around.right + margin, width)
        assert box.bottom >= min(around.bottom + margin, height)
        assert 0 <= box.left < box.right <= width
        assert 0 <= box.top < box.bottom <= height
        assert max(box.width, box.height) <= crop.LARGEST * max(width, height)


@given(scene=scenes())
def test_a_small_object_in_a_large_picture_is_looked_at(scene: tuple[Box, int, int]) -> None:
    around, _, _ = scene

    assert crop.focus(around, 6000, 6000) is not None


@given(scene=scenes())
def test_a_large_object_is_not(scene: tuple[Box, int, int]) -> None:
    around, _, _ = scene

    width, height = around.right, around.bottom
    whole = Box(0, 0, width, height)
    assert crop.focus(whole, width, height) is None


def test_nothing_known_is_nowhere_to_look() -> None:
    assert crop.focus(None, 100, 100) is None


def test_the_next_click_mostly_finds_the_same_crop() -> None:
    random = np.random.default_rng(0)
    kept = 0
    for _ in range(300):
        side = random.integers(60, 600, 2)
        corner = random.integers(0, 2000, 2)
        before = Box(corner[0], corner[1], corner[0] + side[0], corner[1] + side[1])
        # A click moves each border of the mask a little.
        moved = random.integers(-side.min() // 30 - 1, side.min() // 30 + 2, 4)
        after = Box(*(int(a + b) for a, b in zip(before, moved, strict=True)))
        kept += crop.focus(before, 3000, 3000) == crop.focus(after, 3000, 3000)

    assert kept > 150


def test_boxes_of_masks_and_points() -> None:
    mask = np.zeros((10, 20), bool)
    assert crop.mask_box(mask) is None
    mask[3:5, 7] = True
    mask[8, 12] = True
    assert crop.mask_box(mask) == Box(7, 3, 13, 9)
    assert crop.points_box([]) is None
    assert crop.points_box([(3.9, 2.0), (1.2, 5.5)]) == Box(1, 2, 4, 6)
    assert Box(1, 2, 4, 6).union(Box(0, 3, 2, 9)) == Box(0, 2, 4, 9)


def test_a_mask_reaches_an_inner_edge_only() -> None:
    mask = np.zeros((4, 4), bool)
    mask[0] = True  # the upper edge

    assert crop.reaches_edge(mask, Box(10, 10, 20, 20), 100, 100)
    assert not crop.reaches_edge(mask[:, 1:3], Box(0, 0, 100, 20), 100, 100)
    assert not crop.reaches_edge(np.zeros((4, 4), bool), Box(10, 10, 20, 20), 100, 100)
    assert crop.reaches_edge(mask.T, Box(10, 0, 100, 20), 100, 100)


@given(st.integers(0, 590), st.integers(0, 390), st.integers(1, 200), st.integers(1, 200))
def test_a_detail_is_a_square_around_it_in_the_picture(
    left: int, top: int, width: int, height: int
) -> None:
    around = Box(left, top, min(left + width, 600), min(top + height, 400))

    box = crop.detail(around, 600, 400)

    if box is None:
        assert max(around.width, around.height) * 2.2 > 256
        return
    assert box.width == box.height
    assert box.intersection(Box(0, 0, 600, 400)) == box
    assert box.union(around) == box


PHOTO = np.tile(skimage.data.astronaut(), (3, 2, 1))[: TILE * 2 + 100, : TILE + 300]
TILES = ImageTiles(PHOTO)
HEIGHT, WIDTH = PHOTO.shape[:2]


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_box_reads_as_the_picture_does(data: st.DataObject) -> None:
    left = data.draw(st.integers(0, WIDTH - 1))
    top = data.draw(st.integers(0, HEIGHT - 1))
    box = Box(
        left,
        top,
        data.draw(st.integers(left + 1, WIDTH)),
        data.draw(st.integers(top + 1, HEIGHT)),
    )

    read = np.asarray(TILES.read(box)).astype(int)

    expected = PHOTO[box.top : box.bottom, box.left : box.right].astype(int)
    assert read.shape == expected.shape
    whole = np.asarray(TILES.read(Box(0, 0, WIDTH, HEIGHT))).astype(int)
    assert np.array_equal(read, whole[box.top : box.bottom, box.left : box.right])


def test_the_loss_is_invisible_and_the_memory_small() -> None:
    whole = np.asarray(TILES.read(Box(0, 0, WIDTH, HEIGHT))).astype(float)

    error = np.sqrt(((whole - PHOTO) ** 2).mean())

    assert error < 4.0
    assert TILES.nbytes < PHOTO.nbytes / 5


def test_a_single_pixel() -> None:
    detail = ImageTiles(np.full((1, 1, 3), 200, np.uint8))

    assert abs(int(np.asarray(detail.read(Box(0, 0, 1, 1)))[0, 0, 0]) - 200) <= 2


@given(scene=scenes())
def test_a_window_of_a_long_picture_is_short_and_shows_what_fits(
    scene: tuple[Box, int, int],
) -> None:
    # given any picture
    around, width, height = scene
    whole = Box(0, 0, width, height)

    window = crop.window(whole, around)

    # then a window is inside it, spans its shorter side, and is not extreme itself
    assert whole.includes(window)
    assert min(window.width, window.height) == min(width, height)
    long = max(crop.LONGEST * min(width, height), crop.SMALLEST)
    assert max(window.width, window.height) == min(long, max(width, height))
    # and it shows what is shorter than most of it
    if max(around.width, around.height) <= 0.8 * long:
        assert window.includes(around)


@given(width=st.integers(1, 100_000), height=st.integers(1, 100_000))
def test_stretches_cover_a_picture_without_overlap(width: int, height: int) -> None:
    parts = crop.stretches(width, height)

    assert 1 <= len(parts) <= crop.MOST_STRETCHES
    assert sum(part.width * part.height for part in parts) == width * height
    assert all(part.width > 0 and part.height > 0 for part in parts)
    # one is enough where the picture has usual sides
    if max(width, height) <= crop.LONGEST * min(width, height):
        assert parts == [Box(0, 0, width, height)]


@given(width=st.integers(1, 5_000), height=st.integers(1, 5_000), left=st.integers(0, 500))
def test_tiles_cover_a_part_and_overlap(width: int, height: int, left: int) -> None:
    part = Box(left, 0, left + width, height)

    tiles = crop.tiles(part)

    for along in ("left", "right"), ("top", "bottom"):
        sides = sorted({tuple(getattr(tile, name) for name in along) for tile in tiles})
        assert sides[0][0] == getattr(part, along[0])
        assert sides[-1][1] == getattr(part, along[1])
        length = getattr(part, along[1]) - getattr(part, along[0])
        assert sides[0][1] - sides[-1][0] >= crop.OVERLAP * length / 2 - 1
    assert all(tile.width > 0 and tile.height > 0 for tile in tiles)
