"""A picture in tiles reads back as itself, whichever part is asked for."""

import numpy as np
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from model.crop import Box
from model.image_tiles import TILE, ImageTiles

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
