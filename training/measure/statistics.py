"""Means with bootstrap 95 % intervals, and differences of what was measured on the same cases.

Objects of one picture share its light and its clutter, so pictures are drawn anew, with all their
objects, not objects one by one: intervals of single objects would be too narrow.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.errors import DataError

RESAMPLES = 2000
# Of the resamples: so many at a time, which bounds memory on data sets of many thousand pictures.
AT_ONCE = 250


@dataclass(frozen=True)
class Estimate:
    """A mean of ``n`` values and its bootstrap 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        return self.low, self.high


def estimates(
    values: ArrayLike, groups: Sequence[Hashable] | None = None, seed: int = 0
) -> list[Estimate]:
    """One estimate for each column of N,M values. groups: N, what each row is drawn with.

    Without groups every row is drawn on its own. All columns see the same resamples.
    """
    table = np.asarray(values, float)
    if table.ndim != 2 or not len(table):
        raise DataError("There is nothing to estimate: no values were measured.")
    number: dict[Hashable, int] = {}
    names = range(len(table)) if groups is None else groups
    places = np.array([number.setdefault(name, len(number)) for name in names])
    sums = np.zeros((len(number), table.shape[1]))
    np.add.at(sums, places, table)
    counts = np.bincount(places, minlength=len(number)).astype(float)
    means = _resampled(sums, counts, seed)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return [
        Estimate(float(mean), float(low[i]), float(high[i]), len(table))
        for i, mean in enumerate(table.mean(0))
    ]


def estimate(
    values: ArrayLike, groups: Sequence[Hashable] | None = None, seed: int = 0
) -> Estimate:
    """Mean and 95 % interval of N values."""
    return estimates(np.asarray(values, float)[:, None], groups, seed)[0]


def paired_difference(
    one: Sequence[float],
    other: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Estimate:
    """The mean of one - other with its 95 % interval; both measured on the same cases, in order.

    What makes a case hard is hard for both and falls out, so the interval is far narrower than
    those of the two means. Where it holds 0, the two may be equally good.
    """
    if len(one) != len(other):
        raise DataError(f"{len(one)} and {len(other)} values are no pairs.")
    return estimate(np.asarray(one, float) - np.asarray(other, float), groups, seed)


def _resampled(
    sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """RESAMPLES,M means of as many groups as there are, drawn with replacement."""
    rng = np.random.default_rng(seed)
    even = np.full(len(counts), 1.0 / len(counts))
    parts = []
    for start in range(0, RESAMPLES, AT_ONCE):
        drawn = rng.multinomial(len(counts), even, size=min(AT_ONCE, RESAMPLES - start))
        parts.append((drawn @ sums) / (drawn @ counts)[:, None])
    return np.concatenate(parts)
