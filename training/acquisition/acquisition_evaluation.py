"""Compares the interactions that were expected of pictures with those that they took.

The protocol segments every annotated object of a picture. The mean number of interactions is
compared with what `training.acquisition.acquisition` expected without seeing the annotation. Tasks
are ordered by rank, so ranks are compared (Spearman's correlation), with bootstrap intervals over
pictures.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from model.predictor import Predictor
from training.acquisition.acquisition import GOAL, Budget, expected_clicks
from training.data import open_dataset
from training.data.sample import Dataset
from training.errors import DataError
from training.evaluation.cases import FEWEST_PIXELS, Case, cases_of, target_of, word_of
from training.evaluation.methods import answers
from training.evaluation.protocol import follow

RESAMPLES = 1000


@dataclass(frozen=True)
class Look:
    """One picture: interactions of each of its objects, and what was expected of it."""

    key: str
    source: str
    needed: tuple[int, ...]
    expected: float
    uncertainty: float
    seconds: float

    @property
    def truth(self) -> float:
        return float(np.mean(self.needed))


def main(
    checkpoint: Path | str,
    *,
    data: Sequence[Path | str],
    pictures: int = 60,
    named: bool = True,
    device: str = "auto",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure this many pictures, drawn at random, and return the figures.

    named: whether the network knows the most frequent labels of the picture's source, as it knows
    a project's labels; otherwise it clicks on a grid. Raises DataError.
    """
    dataset = open_dataset(list(data))
    predictor = Predictor(checkpoint, device=device, threads=1 if device == "cpu" else 0)
    labels = _labels(dataset, predictor, Budget().names) if named else {}
    cases: dict[int, list[Case]] = {}
    for case in cases_of(dataset, "clicks"):
        cases.setdefault(case.index, []).append(case)
    drawn = np.random.default_rng(seed).permutation(sorted(cases))[:pictures]
    looks = []
    for place, index in enumerate(drawn):
        if progress:
            progress(place, len(drawn))
        look = _look(dataset, int(index), cases[int(index)], predictor, labels)
        if look is not None:
            looks.append(look)
    if len(looks) < 3:
        raise DataError(f"Only {len(looks)} pictures have objects: too few to rank.")
    return {
        "version": predictor.version,
        "pictures": len(looks),
        "objects": sum(len(look.needed) for look in looks),
        "named": named,
        "seed": seed,
        **ranked(looks, seed),
        "seconds_per_picture": round(float(np.median([look.seconds for look in looks])), 3),
        "looks": [look.__dict__ | {"truth": look.truth} for look in looks],
    }


def ranked(looks: Sequence[Look], seed: int = 0) -> dict[str, Any]:
    """Rank correlations with the interactions taken, and their difference, with 95 % intervals."""
    truth = np.array([look.truth for look in looks])
    estimates = {
        "expected": np.array([look.expected for look in looks]),
        "uncertainty": np.array([look.uncertainty for look in looks]),
    }
    random = np.random.default_rng(seed)
    draws = random.integers(len(looks), size=(RESAMPLES, len(looks)))
    again = {
        name: np.array([_correlation(values[draw], truth[draw]) for draw in draws])
        for name, values in estimates.items()
    }
    figures: dict[str, Any] = {
        name: _estimate(_correlation(values, truth), again[name])
        for name, values in estimates.items()
    }
    difference = figures["expected"]["correlation"] - figures["uncertainty"]["correlation"]
    figures["difference"] = _estimate(difference, again["expected"] - again["uncertainty"])
    figures["mean_expected"] = round(float(estimates["expected"].mean()), 2)
    figures["mean_needed"] = round(float(truth.mean()), 2)
    return figures


def _look(
    dataset: Dataset,
    index: int,
    cases: Sequence[Case],
    predictor: Predictor,
    labels: dict[str, list[str]],
) -> Look | None:
    sample = dataset[index]
    answer = answers(predictor, predictor.encode(sample.image))
    targets = [target_of(sample, case) for case in cases]
    needed = tuple(
        follow(answer, target, "clicks", goal=GOAL, at_least=1).needed(GOAL)
        for target in targets
        if np.count_nonzero(target.mask & ~target.void) >= FEWEST_PIXELS
    )
    if not needed:
        return None
    started = time.perf_counter()
    expectation = expected_clicks(predictor, sample.image, names=labels.get(sample.source, ()))
    seconds = time.perf_counter() - started
    return Look(
        sample.key, sample.source, needed, expectation.clicks, expectation.uncertainty, seconds
    )


def _labels(dataset: Dataset, predictor: Predictor, most: int) -> dict[str, list[str]]:
    """By source, the most frequent labels that the network knows."""
    counts: dict[str, Counter[str]] = {}
    for index, source in enumerate(dataset.sources):
        words = (word_of(about.category) for about in dataset.objects(index) if about.category)
        counts.setdefault(source, Counter()).update(words)
    return {
        source: [word for word, _ in words.most_common() if predictor.tokenizer.knows(word)][:most]
        for source, words in counts.items()
    }


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; 0 if all values of one side are equal."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(stats.spearmanr(one, other).statistic)


def _estimate(value: float, resampled: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return {
        "correlation": round(value, 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
    }
