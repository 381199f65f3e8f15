"""The drawn pictures of the demonstration are reproducible and all different."""

import hashlib
import io

import numpy as np
from PIL import Image

from backend.demo.team import SIZE, ring_picture


def test_a_number_is_always_the_same_picture() -> None:
    assert np.array_equal(ring_picture(3).pixels, ring_picture(3).pixels)
    assert ring_picture(3).content() == ring_picture(3).content()


def test_no_two_are_alike() -> None:
    contents = [ring_picture(number).content() for number in range(12)]

    assert len({hashlib.sha256(content).digest() for content in contents}) == 12
    assert {Image.open(io.BytesIO(content)).size for content in contents} == {SIZE}


def test_every_picture_shows_rings_and_no_pixel_is_two() -> None:
    for number in range(12):
        masks = ring_picture(number).masks
        assert 1 <= len(masks) <= 3
        assert np.sum(masks, 0).max() == 1
