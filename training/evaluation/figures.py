"""From trajectories to figures: means with intervals, by group, and paired comparisons of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from training.errors import DataError
from training.evaluation.cases import size_of
from training.evaluation.measurement import Measurement, Result, Run
from training.evaluation.protocol import Mode, Trajectory
from training.evaluation.statistics import Estimate, estimates

THRESHOLDS = (0.80, 0.85, 0.90)
COUNTS = (1, 2, 3, 5, 10)
MEASURES: Mapping[str, Callable[[Trajectory], float]] = {
    "noc85": lambda trajectory: trajectory.needed(0.85),
    "noc90": lambda trajectory: trajectory.needed(0.90),
    **{f"iou{count}": partial(Trajectory.iou, interactions=count) for count in COUNTS},
}
"""Measures of runs that are compared."""
SEEN, UNSEEN, UNNAMED = "seen", "unseen", "unnamed"
ORDER = {name: n for n, name in enumerate(("small", "medium", "large", SEEN, UNSEEN, UNNAMED))}
"""The order of parts that are not in alphabetical order."""


def summary(results: Sequence[Result], mode: Mode) -> dict[str, Any]:
    """The figures of some results, each mean with its bootstrap 95 % interval.

    IoU after more interactions than a case had is its last one. Raises DataError without results.
    """
    if not results:
        raise DataError("There is no object to evaluate: check the sources, the mode and the data.")
    trajectories = [result.trajectory for result in results]
    names = [_percent(t) for t in THRESHOLDS] + [str(k) for k in COUNTS]
    columns = [[float(c.needed(t)) for c in trajectories] for t in THRESHOLDS]
    columns += [[c.iou(k) for c in trajectories] for k in COUNTS]
    means = estimates(np.array(columns, float).T, [result.case.index for result in results])
    named = list(zip(names, means, strict=True))
    noc, iou = dict(named[: len(THRESHOLDS)]), dict(named[len(THRESHOLDS) :])
    return {
        "mode": mode,
        "cases": len(results),
        "noc": {name: value.mean for name, value in noc.items()},
        "noc_interval": {name: value.interval for name, value in noc.items()},
        "iou": {name: value.mean for name, value in iou.items()},
        "iou_interval": {name: value.interval for name, value in iou.items()},
        "failures": {_percent(t): sum(c.failed(t) for c in trajectories) for t in THRESHOLDS},
        "ms_per_click": float(np.median([ms for c in trajectories for ms in c.milliseconds])),
    }


def report(
    results: Sequence[Result],
    mode: Mode,
    *,
    trained_on: frozenset[str] | None = None,
    at_least: int = 10,
) -> dict[str, Any]:
    """The summary of all results; by source, size, category, seen in training; and every case."""
    groups: dict[str, Callable[[Result], str]] = {
        "by_source": lambda result: result.case.source,
        "by_size": lambda result: size_of(result.area),
        "by_category": lambda result: result.case.category or f"({UNNAMED})",
    }
    if trained_on is not None:
        groups["by_seen"] = lambda result: _seen(result, trained_on)
    return {
        **summary(results, mode),
        "curve": _curve(results, 1 if mode == "phrase" else at_least),
        **{
            name: {key: summary(part, mode) for key, part in _parts(results, key_of).items()}
            for name, key_of in groups.items()
        },
        "per_case": [_row(result) for result in results],
    }


def comparisons(measurement: Measurement) -> list[dict[str, Any]]:
    """Every run against the first one: of those asked alike, and of the same method.

    Paired: only cases with the same target, so a phrase alone, which asks for all of a kind, is
    compared where there is one of the kind. A difference is "of" minus "against", over all and by
    source.
    """
    rows: list[dict[str, Any]] = []
    for run in measurement.runs:
        for against in _opponents(run, measurement.runs):
            alone = "phrase" in (run.mode, against.mode)
            names = ["iou1"] if alone else list(MEASURES)
            parts: defaultdict[str, list[tuple[Result, Result]]] = defaultdict(list)
            for pair in _pairs(measurement.results[run], measurement.results[against]):
                parts["all"].append(pair)
                parts[pair[0].case.source].append(pair)
            for source, part in parts.items():
                one, other = (
                    [[MEASURES[name](pair[side].trajectory) for name in names] for pair in part]
                    for side in (0, 1)
                )
                apart = np.array(one, float) - np.array(other, float)
                means = estimates(apart, [result.case.index for result, _ in part])
                rows.extend(
                    {
                        "of": run.label,
                        "against": against.label,
                        "source": source,
                        "measure": name,
                        **shown(mean),
                    }
                    for name, mean in zip(names, means, strict=True)
                )
    return rows


def shown(value: Estimate) -> dict[str, Any]:
    """An estimate as in a report."""
    return {"mean": value.mean, "n": value.n, "interval": value.interval}


def _curve(results: Sequence[Result], most: int) -> list[dict[str, Any]]:
    """Mean IoU after 1 to ``most`` interactions.

    Only as far as all cases went; beyond that, easy cases would not change.
    """
    ious = np.array([[r.trajectory.iou(k) for k in range(1, most + 1)] for r in results])
    return [shown(point) for point in estimates(ious, [r.case.index for r in results])]


def _parts(results: Sequence[Result], key_of: Callable[[Result], str]) -> dict[str, list[Result]]:
    parts: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        parts[key_of(result)].append(result)
    return dict(sorted(parts.items(), key=lambda part: (ORDER.get(part[0], -1), part[0])))


def _seen(result: Result, trained_on: frozenset[str]) -> str:
    if result.case.category is None:
        return UNNAMED
    return SEEN if result.case.category in trained_on else UNSEEN


def _opponents(run: Run, runs: Sequence[Run]) -> list[Run]:
    asked_alike = next(other for other in runs if other.way == run.way)
    of_method = next(other for other in runs if other.method is run.method)
    return [other for other in dict.fromkeys((asked_alike, of_method)) if other is not run]


def _pairs(results: Sequence[Result], others: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Pairs of results for the same target; several phrases pair with one result by clicks."""
    by_words = {(r.case.index, r.case.ids, r.case.phrase): r for r in others}
    by_target: dict[tuple[int, tuple[int, ...]], Result] = {}
    for other in others:
        by_target.setdefault((other.case.index, other.case.ids), other)
    pairs = []
    for result in results:
        case = result.case
        same = by_words.get((case.index, case.ids, case.phrase))
        same = same or by_target.get((case.index, case.ids))
        if same is not None:
            pairs.append((result, same))
    return pairs


def _percent(threshold: float) -> str:
    return str(round(100 * threshold))


def _row(result: Result) -> dict[str, Any]:
    trajectory, case = result.trajectory, result.case
    return {
        "key": result.key,
        "objects": list(case.ids),
        "source": case.source,
        "category": case.category,
        "size": size_of(result.area),
        "area": round(result.area, 5),
        "phrase": case.phrase,
        **{f"noc{_percent(t)}": trajectory.needed(t) for t in THRESHOLDS},
        "ious": [round(value, 4) for value in trajectory.ious],
        "milliseconds": [round(value, 1) for value in trajectory.milliseconds],
        "clicks": [[x, y, int(positive)] for x, y, positive in trajectory.clicks],
    }
