"""Intervals are held against what is known of means of random numbers."""

import numpy as np
import pytest

from training.errors import DataError
from training.evaluation.statistics import estimate, estimates, paired_difference


def test_an_interval_narrows_with_more_values_and_holds_the_mean() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.random(20), rng.random(2000)
    wide, narrow = estimate(few), estimate(many)
    assert wide.low < few.mean() < wide.high
    assert narrow.low < many.mean() < narrow.high
    # the mean of n uniform numbers strays by about 0.29 / sqrt(n)
    assert narrow.high - narrow.low == pytest.approx(4 * 0.2887 / 2000**0.5, rel=0.15)
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert narrow.n == 2000


def test_about_95_of_100_intervals_hold_the_true_mean() -> None:
    rng = np.random.default_rng(1)
    holding = 0
    for _ in range(200):
        interval = estimate(rng.normal(size=60))
        holding += interval.low <= 0.0 <= interval.high
    assert 178 <= holding <= 199


def test_values_that_go_together_are_drawn_together() -> None:
    # given forty pictures of ten objects each that are all as hard as one another
    rng = np.random.default_rng(2)
    values = np.repeat(rng.random(40), 10)
    pictures = np.repeat(np.arange(40), 10)
    # when
    together, apart = estimate(values, list(pictures)), estimate(values)
    # then they tell no more than forty values do
    assert together.mean == apart.mean
    width = together.high - together.low
    assert width > 2.5 * (apart.high - apart.low)
    assert width == pytest.approx(4 * 0.2887 / 40**0.5, rel=0.25)


def test_a_paired_difference_is_surer_than_two_means() -> None:
    # given a second method that is a little better wherever the first one is good or bad
    rng = np.random.default_rng(3)
    hardness = rng.random(100)
    one = hardness + rng.normal(0.03, 0.01, 100)
    # when
    difference = paired_difference(one, hardness)
    # then
    assert difference.mean == pytest.approx(0.03, abs=0.005)
    assert difference.low > 0.025
    assert difference.high < 0.035
    first, second = estimate(one), estimate(hardness)
    assert first.low < second.high, "the two means alone would not tell them apart"


def test_columns_are_estimated_as_they_are_alone() -> None:
    values = np.random.default_rng(4).random((50, 3))
    for together, column in zip(estimates(values), values.T, strict=True):
        alone = estimate(column)
        assert together.mean == pytest.approx(alone.mean)
        assert together.interval == pytest.approx(alone.interval)


def test_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to estimate"):
        estimates(np.zeros((0, 2)))
