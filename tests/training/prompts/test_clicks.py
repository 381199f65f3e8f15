"""Every strategy's points obey its rule; the correcting click equals a slow, plain search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.prompts import clicks
from training.prompts.clicks import ClickRecipe

RECIPE = ClickRecipe()
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
    assert to_border(mask, points).min() > RECIPE.margin
    assert distances(points).min() >= RECIPE.step


def test_a_thin_object_still_gets_its_positive_point() -> None:
    mask = np.zeros((80, 80), bool)
    mask[10:70, 40:43] = True
    points = clicks.sample_positive(mask, 3, np.random.default_rng(0))
    assert len(points) == 3
    assert at(mask, points).all()


@pytest.mark.parametrize("seed", range(5))
def test_first_strategy_stays_in_the_band(seed: int) -> None:
    mask, free = disc(), np.ones((160, 160), bool)
    free[:, 100:] = False
    points = clicks.negative_in_band(mask, free, 10, np.random.default_rng(seed))
    away = to_border(mask, points)
    assert len(points) == 10
    assert not at(mask, points).any()
    assert at(free, points).all()
    assert away.min() >= RECIPE.margin
    assert away.max() <= RECIPE.band
    assert distances(points).min() >= RECIPE.step


def test_second_strategy_puts_points_into_each_other_object() -> None:
    others = [disc(x=30, y=30, radius=22), disc(x=130, y=120, radius=20)]
    points = clicks.negative_in_others(others, 3, np.random.default_rng(1))
    for other in others:
        inside = points[at(other, points)]
        assert len(inside) == 3
        assert to_border(other, inside).min() > RECIPE.margin
        assert distances(inside).min() >= RECIPE.step


def test_third_strategy_spreads_each_point_farthest_from_those_before() -> None:
    # given a small object, so that every pixel of the band is a candidate
    mask = disc(size=60, x=30, y=30, radius=6)
    free = np.ones_like(mask)
    recipe = ClickRecipe(band=12)
    # when
    points = clicks.negative_spread(mask, free, 6, np.random.default_rng(2), recipe)
    # then
    rows, columns = np.nonzero(~mask)
    candidates = np.stack([columns, rows], 1) + 0.5
    away = to_border(mask, candidates.astype(np.float32))
    candidates = candidates[(away >= recipe.margin) & (away <= recipe.band)]
    assert len(points) == 6
    for count in range(1, 6):
        nearest = np.sqrt(((candidates[:, None] - points[None, :count]) ** 2).sum(2)).min(1)
        taken = np.sqrt(((points[count] - points[:count]) ** 2).sum(1)).min()
        assert taken == pytest.approx(nearest.max(), abs=1e-4)
        assert taken >= recipe.step


def test_the_same_seed_clicks_the_same_pixels() -> None:
    mask, free = disc(), np.ones((160, 160), bool)
    for strategy in (clicks.negative_in_band, clicks.negative_spread):
        one = strategy(mask, free, 8, np.random.default_rng(7))
        same = strategy(mask, free, 8, np.random.default_rng(7))
        other = strategy(mask, free, 8, np.random.default_rng(8))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


def slow_correction(
    target: Mask, prediction: Mask, void: Mask
) -> tuple[float, NDArray[np.bool_]] | None:
    """Depth and places of the deepest error: every pixel against every pixel of the picture."""
    best, where = 0.0, np.zeros_like(target)
    for error in (target & ~prediction & ~void, ~target & prediction & ~void):
        rows, columns = np.nonzero(~error)
        for row, column in np.argwhere(error):
            depth = np.sqrt((rows - row) ** 2 + (columns - column) ** 2).min(initial=1e3)
            if depth > best + 1e-9:
                best, where = depth, np.zeros_like(target)
            if depth >= best - 1e-9:
                where[row, column] = True
    return (best, where) if best else None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 18), st.integers(4, 18))
def test_correction_is_the_deepest_point_of_the_largest_error(
    seed: int, height: int, width: int
) -> None:
    # given blotches, so that errors touch each other and the border of the picture
    rng = np.random.default_rng(seed)
    target, prediction, void = (
        np.kron(rng.random((height // 2 + 1, width // 2 + 1)) < share, np.ones((2, 2))) > 0
        for share in (0.5, 0.4, 0.1)
    )
    # when
    spot = clicks.correction(target, prediction, void, rng)
    expected = slow_correction(target, prediction, void)
    # then
    if expected is None:
        assert spot is None
        return
    assert spot is not None
    x, y, positive = spot
    row, column = int(y), int(x)
    assert (x, y) == (column + 0.5, row + 0.5)
    assert expected[1][row, column]
    assert target[row, column] == positive
    assert prediction[row, column] != positive
    assert not void[row, column]


def test_jitter_stays_in_the_error_and_as_deep_as_it_says() -> None:
    target = disc()
    nothing = np.zeros_like(target)
    rng = np.random.default_rng(3)
    spots = [
        clicks.correction(target, nothing, nothing, rng, jitter=0.4, stride=2) for _ in range(40)
    ]
    points = np.array([spot[:2] for spot in spots if spot is not None], np.float32)
    assert len(points) == 40
    assert len(np.unique(points, axis=0)) > 20
    assert at(target, points).all()
    assert to_border(target, points).min() > 35 * 0.6 - 3


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
