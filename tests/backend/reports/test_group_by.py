"""Means and intervals, compared with a bootstrap over tasks."""

import numpy as np
import pytest

from backend.reports.group_by import around, histogram_of, mean_of, spread_of
from training.evaluation.statistics import estimate


def grouped(seed: int, tasks: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Values that are alike within a task."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, tasks)
    place = np.repeat(np.arange(tasks), sizes)
    return rng.gamma(3.0, 1.0, tasks)[place] + rng.exponential(1.0, len(place)), place


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_is_that_of_a_bootstrap_over_tasks(seed):
    values, tasks = grouped(seed)
    mine, other = mean_of(values, tasks), estimate(values, tasks.tolist())

    assert mine.mean == pytest.approx(other.mean)
    assert mine.high - mine.low == pytest.approx(other.high - other.low, rel=0.12)


def test_objects_of_one_task_tell_less_than_as_many_tasks():
    values, tasks = grouped(1)
    together, alone = mean_of(values, tasks), mean_of(values, np.arange(len(values)))
    assert together.high - together.low > alone.high - alone.low


def test_the_interval_holds_the_truth_nineteen_times_in_twenty():
    held = 0
    for seed in range(400):
        values, tasks = grouped(seed, tasks=20)
        mean = mean_of(values, tasks)
        held += mean.low <= 4.0 <= mean.high
    assert 360 <= held <= 396


@pytest.mark.parametrize("tasks", [1, 4])
def test_fewer_than_five_tasks_have_a_mean_and_no_interval(tasks):
    mean = mean_of(np.array([1.0, 3.0] * tasks), np.arange(2 * tasks) % tasks)

    assert (mean.mean, mean.low, mean.high, mean.n) == (2.0, None, None, 2 * tasks)


def test_an_interval_ends_where_values_end():
    values, tasks = np.array([0.0, 0.0, 0.0, 0.0, 1.0]), np.arange(5)

    assert mean_of(values, tasks).low == 0.0
    assert mean_of(1 - values, tasks, 1.0).high == 1.0
    assert mean_of(values, tasks, least=-np.inf).low < 0.0, "a difference"


def test_of_nothing_there_is_nothing():
    assert mean_of(np.array([]), np.array([], np.int64)) is None
    assert spread_of(np.array([]), np.array([], np.int64)) is None


def test_equal_values_leave_no_doubt():
    mean = around(2.0, np.zeros(5), np.arange(5), 5)
    assert (mean.low, mean.high) == (2.0, 2.0)


def test_a_distribution_ends_in_a_bin_for_the_rest():
    assert histogram_of([0, 1, 1, 3, 9], 3) == (1, 2, 0, 2)
