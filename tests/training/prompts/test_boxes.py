"""Boxes lie around their object, a little off, and in the picture."""

import numpy as np
import pytest

from training.prompts.boxes import JITTER, LOOSEST, NARROWEST, TIGHTEST, jittered_box


@pytest.mark.parametrize("seed", range(200))
def test_each_side_is_off_by_no_more_than_its_share_of_the_box(seed: int) -> None:
    # given an object of 100 x 40 pixels
    mask = np.zeros((200, 300), bool)
    mask[80:120, 90:190] = True
    # when
    box = jittered_box(mask, np.random.default_rng(seed))
    # then
    assert box is not None
    outwards = np.array([90 - box[0], 80 - box[1], box[2] - 190, box[3] - 120])
    share = outwards / (100, 40, 100, 40)
    loose, tight = (share >= 0).all(), (share <= 0).all()
    assert share.max() <= (LOOSEST if loose else JITTER)
    assert share.min() >= (-TIGHTEST if tight else -JITTER)


def test_a_box_stays_in_the_picture_and_has_a_size() -> None:
    mask = np.zeros((60, 60), bool)
    mask[0, 58:] = True
    for seed in range(50):
        box = jittered_box(mask, np.random.default_rng(seed))
        assert box is not None
        left, top, right, bottom = box
        assert left >= 0
        assert left + NARROWEST <= right <= 60
        assert top >= 0
        assert top + NARROWEST <= bottom <= 60


def test_nothing_has_no_box() -> None:
    assert jittered_box(np.zeros((8, 8), bool), np.random.default_rng(0)) is None
