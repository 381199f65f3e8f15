"""A batch of clicks is the clicks of its objects, one by one, as the plain annotator makes them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from training.prompts.corrections import corrections, depths
from training.prompts.prompts import annotator


def blotches(rng: np.random.Generator, count: int, height: int, width: int) -> torch.Tensor:
    noise = rng.standard_normal((count, height, width))
    return torch.from_numpy(ndimage.gaussian_filter(noise, (0, 2, 2)) > 0.02)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24))
def test_depths_are_distances_to_the_nearest_pixel_outside(
    seed: int, height: int, width: int
) -> None:
    mask = blotches(np.random.default_rng(seed), 3, height, width)
    for each, found in zip(mask.numpy(), depths(mask).numpy(), strict=True):
        if each.all():
            assert (found == height + width).all()
        else:
            expected = ndimage.distance_transform_edt(each)
            np.testing.assert_allclose(found, expected, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.9), st.integers(1, 2))
def test_each_click_lies_as_deep_in_the_largest_error_as_the_annotators(
    seed: int, jitter: float, stride: int
) -> None:
    # given
    rng = np.random.default_rng(seed)
    target, prediction, void = (blotches(rng, 5, 30, 44) for _ in range(3))
    void &= blotches(rng, 5, 30, 44)
    prediction[0] = target[0] | void[0]
    # when
    clicks = corrections(
        target,
        prediction,
        void,
        torch.full((5,), jitter),
        torch.from_numpy(rng.random(5)),
        stride=stride,
    )
    # then
    assert clicks[0, 2] == 0
    for row, (x, y, sign) in enumerate(clicks.tolist()):
        one = [each[row].numpy() for each in (target, prediction, void)]
        spot = annotator.correction(*one, rng, stride=stride)
        if spot is None:
            assert sign == 0
            continue
        assert sign == (1 if spot[2] else -1)
        error = (one[0] & ~one[1] if spot[2] else ~one[0] & one[1]) & ~one[2]
        assert error[int(y), int(x)]
        seen = error[stride // 2 :: stride, stride // 2 :: stride]
        depth = ndimage.distance_transform_edt(seen)
        deepest = depth.max()
        own = depth[int(y) // stride, int(x) // stride]
        assert own >= (1 - jitter) * deepest - 1e-4
        assert (x % 1, y % 1) == (0.5, 0.5)


def test_every_point_that_is_deep_enough_is_as_likely() -> None:
    # given one square of 5 x 5, of which the middle 3 x 3 are at least two deep
    target = torch.zeros(9000, 9, 9, dtype=torch.bool)
    target[:, 2:7, 2:7] = True
    nothing = torch.zeros_like(target)
    place = torch.from_numpy(np.random.default_rng(0).random(len(target)))
    # when
    clicks = corrections(
        target, nothing, nothing, torch.full((len(target),), 0.34), place, stride=1
    )
    # then
    found, times = np.unique(clicks[:, :2].numpy(), axis=0, return_counts=True)
    assert len(found) == 9
    assert found.min() == 3.5
    assert found.max() == 5.5
    assert times == pytest.approx(1000, rel=0.15)


def test_the_same_chances_click_the_same_pixels() -> None:
    rng = np.random.default_rng(0)
    target, prediction, void = (blotches(rng, 4, 40, 40) for _ in range(3))
    chances = torch.tensor([0.3] * 4), torch.tensor([0.1, 0.5, 0.9, 0.99])
    one = corrections(target, prediction, void, *chances)
    # whoever else is in the batch
    same = corrections(target[1:3], prediction[1:3], void[1:3], *(each[1:3] for each in chances))
    assert torch.equal(one[1:3], same)
