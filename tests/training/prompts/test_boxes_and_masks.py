"""Boxes as people draw them, and earlier masks with errors."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.prompts import boxes_and_masks
from training.prompts.boxes_and_masks import (
    BEST,
    JITTER,
    LOOSEST,
    NARROWEST,
    TIGHTEST,
    WAYS,
    WORST,
    imperfect_mask,
    jittered_box,
)


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


Mask = NDArray[np.bool_]


def figure() -> Mask:
    """A disc with a long thin arm."""
    rows, columns = np.mgrid[:160, :200] + 0.5
    mask: Mask = (columns - 70) ** 2 + (rows - 80) ** 2 < 40**2
    mask[77:83, 100:180] = True
    return mask


@pytest.mark.parametrize("seed", range(60))
def test_an_imperfect_mask_has_errors_and_is_the_same_for_the_same_seed(seed: int) -> None:
    target = figure()
    other = np.zeros_like(target)
    other[130:155, 20:60] = True
    mask = imperfect_mask(target, [other], np.random.default_rng(seed))
    same = imperfect_mask(target, [other], np.random.default_rng(seed))
    assert mask is not None
    assert same is not None
    assert np.array_equal(mask, same)
    overlap = (mask & target).sum() / (mask | target).sum()
    assert WORST <= overlap <= BEST


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_making_one_mostly_leaves_an_error(way: boxes_and_masks.Way) -> None:
    target = figure()
    differing = [
        bool((way(target, [], 70.0, np.random.default_rng(seed)) ^ target).sum() > 20)
        for seed in range(20)
    ]
    assert sum(differing) >= 18


def test_a_lost_limb_is_a_thin_part() -> None:
    # given a figure whose only limb is its arm
    target = figure()
    lost = 0
    for seed in range(20):
        mask = boxes_and_masks._without_limb(target, [], 70.0, np.random.default_rng(seed))
        assert not (mask & ~target).any()
        missing = target & ~mask
        lost += bool(missing[80, 150])
        # then the body stays
        assert mask[80, 70]
    assert lost >= 15


def test_of_nothing_there_is_no_imperfect_mask() -> None:
    empty = np.zeros((64, 64), bool)
    assert imperfect_mask(empty, [], np.random.default_rng(0)) is None
