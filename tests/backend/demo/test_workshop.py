"""The drawn pictures of the demonstration: the same every time, none like another."""

import hashlib
import io

import numpy as np
from PIL import Image

from backend.demo.workshop import SIZE, bench


def test_a_number_is_always_the_same_picture() -> None:
    assert np.array_equal(bench(3).pixels, bench(3).pixels)
    assert bench(3).content() == bench(3).content()


def test_no_two_are_alike() -> None:
    contents = [bench(number).content() for number in range(12)]

    assert len({hashlib.sha256(each).digest() for each in contents}) == 12
    assert {Image.open(io.BytesIO(each)).size for each in contents} == {SIZE}


def test_every_picture_shows_rings_and_no_pixel_is_two() -> None:
    for number in range(12):
        masks = bench(number).masks
        assert 1 <= len(masks) <= 3
        assert np.sum(masks, 0).max() == 1
