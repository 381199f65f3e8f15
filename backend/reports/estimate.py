"""Means with 95 % intervals, quick enough for a web page.

Objects of one task share an image and an annotator's day, so they are not independent: the interval
is based on the tasks' sums (the cluster-robust sandwich estimate of a ratio, with Student's t for
few tasks). A bootstrap over tasks gives the same for many tasks and takes a thousand times as long.
Fewer than five tasks give no interval: it would span the whole scale, or be narrow by chance.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backend.reports.records import Interval, Spread

Numbers = NDArray[np.float64]

# *choice*
FEWEST_TASKS = 5


def mean_of(
    values: Numbers, tasks: NDArray[np.int64], most: float = np.inf, *, least: float = 0.0
) -> Interval | None:
    """Mean of N values, each of a task (N numbers); None if there are none.

    least, most: possible values; the interval ends there.
    """
    if not len(values):
        return None
    mean = float(values.mean())
    interval = around(mean, (values - mean) / len(values), tasks, len(values))
    if interval.low is None or interval.high is None:
        return interval
    return Interval(mean, max(interval.low, least), min(interval.high, most), interval.n)


def spread_of(values: Numbers, tasks: NDArray[np.int64]) -> Spread | None:
    """Median and mean of N values; None if there are none."""
    mean = mean_of(values, tasks)
    return None if mean is None else Spread(float(np.median(values)), mean)


def around(center: float, pulls: Numbers, tasks: NDArray[np.int64], n: int) -> Interval:
    """The interval of an estimate. pulls: the influence of each of its n values on it."""
    _, place = np.unique(tasks, return_inverse=True)
    sums = np.bincount(place, weights=pulls)
    count = len(sums)
    if count < FEWEST_TASKS:
        return Interval(center, None, None, n)
    error = float(np.sqrt(count / (count - 1) * np.square(sums).sum()))
    reach = _quantile(count - 1) * error
    return Interval(center, center - reach, center + reach, n)


def histogram_of(values: Sequence[int] | NDArray[np.int64], most: int) -> tuple[int, ...]:
    """How many values are 0, 1, … and ``most`` or more."""
    counts = np.bincount(np.minimum(np.asarray(values, np.int64), most), minlength=most + 1)
    return tuple(int(count) for count in counts)


def _quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, for at least four degrees of freedom.

    From the normal quantile by the Cornish-Fisher expansion, within 0.1 %. scipy has it, but
    importing scipy takes longer than a page.
    """
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, 1))
