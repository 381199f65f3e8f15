"""Every strategy's points obey its rule; the correcting click equals a slow, plain search."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from training.prompts import clicks

Mask = NDArray[np.bool_]


def disc(size: int = 160, x: float = 70, y: float = 80, radius: float = 35) -> Mask:
    rows, columns = np.mgrid[:size, :size] + 0.5
    mask: Mask = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    return mask


def at(mask: Mask, points: NDArray[np.float32]) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = mask[points[:, 1].astype(int), points[:, 0].astype(int)]
    return values


def distances(points: NDArray[np.float32]) -> NDArray[np.float64]:
    apart: NDArray[np.float64] = np.sqrt(((points[:, None] - points[None]) ** 2).sum(2))
    return apart[~np.eye(len(points), dtype=bool)]


def to_border(mask: Mask, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distance of each point to the nearest pixel of the other kind, the slow way."""
    result = []
    for x, y in points:
        inside = mask[int(y), int(x)]
        rows, columns = np.nonzero(mask != inside)
        result.append(np.sqrt((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2).min())
    return np.array(result)


@pytest.mark.parametrize("seed", range(5))
def test_positive_points_lie_inside_off_the_border_and_apart(seed: int) -> None:
    mask = disc()
    points = clicks.sample_positive(mask, 5, np.random.default_rng(seed))
    assert len(points) == 5
    assert at(mask, points).all()
    assert to_border(mask, points).min() > clicks.MARGIN
    assert distances(points).min() >= clicks.STEP


@pytest.mark.parametrize("seed", range(5))
def test_first_strategy_stays_in_the_band(seed: int) -> None:
    mask, free = disc(), np.ones((160, 160), bool)
    free[:, 100:] = False
    points = clicks.negative_in_band(mask, free, 10, np.random.default_rng(seed))
    away = to_border(mask, points)
    assert len(points) == 10
    assert not at(mask, points).any()
    assert at(free, points).all()
    assert away.min() >= clicks.MARGIN
    assert away.max() <= clicks.BAND
    assert distances(points).min() >= clicks.STEP


def test_second_strategy_puts_points_into_each_other_object() -> None:
    others = [disc(x=30, y=30, radius=22), disc(x=130, y=120, radius=20)]
    points = clicks.negative_in_others(others, 3, np.random.default_rng(1))
    for other in others:
        inside = points[at(other, points)]
        assert len(inside) == 3
        assert to_border(other, inside).min() > clicks.MARGIN
        assert distances(inside).min() >= clicks.STEP


def test_third_strategy_spreads_each_point_farthest_from_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a small object, so that every pixel of the band is a candidate
    mask = disc(size=60, x=30, y=30, radius=6)
    free = np.ones_like(mask)
    monkeypatch.setattr(clicks, "BAND", 12.0)
    # when
    points = clicks.negative_spread(mask, free, 6, np.random.default_rng(2))
    # then
    rows, columns = np.nonzero(~mask)
    candidates = np.stack([columns, rows], 1) + 0.5
    away = to_border(mask, candidates.astype(np.float32))
    candidates = candidates[(away >= clicks.MARGIN) & (away <= 12)]
    assert len(points) == 6
    for count in range(1, 6):
        nearest = np.sqrt(((candidates[:, None] - points[None, :count]) ** 2).sum(2)).min(1)
        taken = np.sqrt(((points[count] - points[:count]) ** 2).sum(1)).min()
        assert taken == pytest.approx(nearest.max(), abs=1e-4)
        assert taken >= clicks.STEP


def slow_correction(target: Mask, prediction: Mask, void: Mask, jitter: float) -> Mask | None:
    """Where the largest error is deep enough: every pixel against every pixel of the picture."""
    best: NDArray[np.float64] | None = None
    for error in (target & ~prediction & ~void, ~target & prediction & ~void):
        rows, columns = np.nonzero(~error)
        depth = np.zeros(error.shape)
        for row, column in np.argwhere(error):
            depth[row, column] = np.hypot(rows - row, columns - column).min(initial=1e3)
        if depth.any() and (best is None or depth.max() > best.max() + 1e-4):
            best = depth
    return None if best is None else (best > 0) & (best >= (1 - jitter) * best.max() - 1e-4)


def blotches(rng: np.random.Generator, count: int, height: int, width: int) -> torch.Tensor:
    noise = rng.standard_normal((count, height, width))
    return torch.from_numpy(ndimage.gaussian_filter(noise, (0, 2, 2)) > 0.02)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.9), st.integers(1, 2))
def test_a_correction_is_deep_inside_the_largest_error(
    seed: int, jitter: float, stride: int
) -> None:
    # given errors that touch each other and the border of the picture, and one answer without any
    rng = np.random.default_rng(seed)
    target, prediction, void = (blotches(rng, 3, 16, 22) for _ in range(3))
    prediction[0] = target[0] | void[0]
    # when
    found = clicks.corrections(
        target,
        prediction,
        void,
        torch.full((3,), jitter),
        torch.from_numpy(rng.random(3)),
        stride=stride,
    )
    # then
    for row, (x, y, sign) in enumerate(found.tolist()):
        view = (row, slice(stride // 2, None, stride), slice(stride // 2, None, stride))
        expected = slow_correction(*(m[view].numpy() for m in (target, prediction, void)), jitter)
        if expected is None:
            assert sign == 0
            continue
        assert (x % 1, y % 1) == (0.5, 0.5)
        assert expected[int(y) // stride, int(x) // stride]
        assert bool(target[row, int(y), int(x)]) == (sign > 0)
        assert bool(prediction[row, int(y), int(x)]) != (sign > 0)
        assert not void[row, int(y), int(x)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24))
def test_depths_are_distances_to_the_nearest_pixel_outside(
    seed: int, height: int, width: int
) -> None:
    mask = blotches(np.random.default_rng(seed), 3, height, width)
    for one, measured in zip(mask.numpy(), clicks.depths(mask).numpy(), strict=True):
        if one.all():
            assert (measured == height + width).all()
        else:
            expected = ndimage.distance_transform_edt(one)
            np.testing.assert_allclose(measured, expected, atol=1e-4)


def test_every_point_that_is_deep_enough_is_as_likely() -> None:
    # given one square of 5 x 5, of which the middle 3 x 3 are at least two deep
    target = torch.zeros(9000, 9, 9, dtype=torch.bool)
    target[:, 2:7, 2:7] = True
    nothing = torch.zeros_like(target)
    place = torch.from_numpy(np.random.default_rng(0).random(len(target)))
    # when
    found = clicks.corrections(
        target, nothing, nothing, torch.full((len(target),), 0.34), place, stride=1
    )
    # then
    places, times = np.unique(found[:, :2].numpy(), axis=0, return_counts=True)
    assert len(places) == 9
    assert places.min() == 3.5
    assert places.max() == 5.5
    assert times == pytest.approx(1000, rel=0.15)


def test_the_same_chances_click_the_same_pixels() -> None:
    rng = np.random.default_rng(0)
    target, prediction, void = (blotches(rng, 4, 40, 40) for _ in range(3))
    chances = torch.tensor([0.3] * 4), torch.tensor([0.1, 0.5, 0.9, 0.99])
    one = clicks.corrections(target, prediction, void, *chances)
    # the others in the batch change nothing
    same = clicks.corrections(
        target[1:3], prediction[1:3], void[1:3], *(chance[1:3] for chance in chances)
    )
    assert torch.equal(one[1:3], same)


@pytest.mark.parametrize("seed", range(10))
def test_many_clicks_are_right_and_begin_with_a_positive_one(seed: int) -> None:
    mask, free = disc(), np.ones((160, 160), bool)
    made = clicks.many_clicks(mask, free, 20, np.random.default_rng(seed))
    assert 10 <= len(made) <= 20
    assert made[0][2] > 0
    for x, y, sign in made:
        assert mask[int(y), int(x)] == (sign > 0)


def test_poor_clicks_lie_inside_and_often_near_the_border() -> None:
    mask = disc()
    points = np.concatenate(
        [clicks.poor_click(mask, np.random.default_rng(seed)) for seed in range(60)]
    )
    assert at(mask, points).all()
    assert (to_border(mask, points) < 12).sum() > 20
    assert (to_border(mask, points) > 20).sum() > 2
