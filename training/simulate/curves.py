"""What a simulation shows: curves with intervals, and each strategy held against chance.

All strategies of a seed are asked about the same objects, so differences are taken object by object
and the intervals are over pictures (`measure.statistics`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import DataError
from training.evaluation.statistics import Estimate, estimate, paired_difference
from training.simulate.simulate import STRATEGIES, Round

NAMES = {
    "clicks": "expected clicks",
    "saving": "clicks to save",
    "uncertainty": "uncertainty",
    "random": "at random",
}
COLOURS = {"clicks": "#1b6ca8", "saving": "#2f855a", "uncertainty": "#b8651b", "random": "#6b6b6b"}


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """Means and intervals of what the rounds measured, as JSON.

    curves: for each strategy, a point a round (0 is the start). saved: clicks an object fewer than
    the start after the last round. against_chance: clicks an object fewer than with pictures chosen
    at random, over all rounds after the start, also of each source alone, and after the last. Only
    seeds of which a strategy has every round are counted. Raises DataError where there are none.
    """
    whole = _whole(rounds)
    if not whole:
        raise DataError("No seed of the simulation is finished: let it go on.")
    last = max(number for _, number in whole)
    strategies = [name for name in STRATEGIES if (name, last) in whole]
    found: dict[str, Any] = {
        "seeds": sorted({each.seed for each in whole[strategies[0], last]}),
        "curves": {
            name: [_point(whole["start", 0]), *(_point(whole[name, n]) for n in range(1, last + 1))]
            for name in strategies
        },
        "saved": {
            name: _plain(_difference(whole["start", 0], whole[name, last])) for name in strategies
        },
        "saved_by_source": {name: _by_source(whole, name, last) for name in strategies},
        "chosen": {name: _chosen(whole, name, last) for name in strategies},
    }
    if "random" in strategies:
        found["against_chance"] = {
            name: {
                "all rounds": _plain(_over_rounds(whole, name, last)),
                "last round": _plain(_difference(whole["random", last], whole[name, last])),
                "by source": {
                    source: _plain(_over_rounds(whole, name, last, source))
                    for source in sorted({s for r in whole["start", 0] for s in r.tested})
                },
            }
            for name in strategies
            if name != "random"
        }
    return found


def draw(figures: dict[str, Any], path: Path) -> None:
    """Clicks an object, and IoU after the first click, against labels given."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes, measure, title in (
        (left, "clicks", "Clicks an object (to an IoU of 85 %)"),
        (right, "iou", "IoU after the first click"),
    ):
        for name, points in figures["curves"].items():
            labels = [point["labels"] for point in points]
            low, high = zip(*(point[measure]["interval"] for point in points), strict=True)
            means = [point[measure]["mean"] for point in points]
            axes.fill_between(labels, low, high, color=COLOURS[name], alpha=0.1, linewidth=0)
            axes.plot(labels, means, "o-", color=COLOURS[name], label=NAMES[name], markersize=4)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("Labels given")
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, title="Pictures chosen by", fontsize=9, title_fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A picture of the same figures has the same bytes: no date, no version in it.
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None}
    figure.savefig(path, dpi=110, metadata=metadata)


def write(figures: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def sentences(figures: dict[str, Any]) -> list[str]:
    """What came out, in words."""
    said = []
    for name, saved in figures["saved"].items():
        points = figures["curves"][name]
        before, after = points[0]["clicks"]["mean"], points[-1]["clicks"]["mean"]
        said.append(
            f"{NAMES[name].capitalize()}: {before:.2f} clicks an object before, {after:.2f} after "
            f"{points[-1]['labels']:.0f} labels; {_said(saved)} saved."
        )
    for name, against in figures.get("against_chance", {}).items():
        whole = against["all rounds"]
        verdict = (
            "better than chance" if whole["interval"][0] > 0
            else "worse than chance" if whole["interval"][1] < 0
            else "no clear difference to chance"
        )  # fmt: skip
        said.append(
            f"{NAMES[name].capitalize()} against chance: {_said(whole)} fewer over all rounds, "
            f"{_said(against['last round'])} after the last ({verdict})."
        )
    return said


def _whole(rounds: Sequence[Round]) -> dict[tuple[str, int], list[Round]]:
    """By strategy and number, the rounds of the seeds that every strategy has finished."""
    most = max((each.number for each in rounds), default=0)
    done: dict[int, set[tuple[str, int]]] = defaultdict(set)
    for each in rounds:
        done[each.seed].add((each.strategy, each.number))
    wanted = {(each.strategy, each.number) for each in rounds}
    seeds = {seed for seed, has in done.items() if has == wanted and most}
    found: dict[tuple[str, int], list[Round]] = defaultdict(list)
    for each in sorted(rounds, key=lambda it: it.seed):
        if each.seed in seeds:
            found[each.strategy, each.number].append(each)
    return dict(found)


def _point(rounds: Sequence[Round]) -> dict[str, Any]:
    groups = _groups(rounds)
    return {
        "labels": float(np.mean([each.labels for each in rounds])),
        "clicks": _plain(estimate([c for each in rounds for c in each.clicks], groups)),
        "iou": _plain(estimate([f for each in rounds for f in each.first], groups)),
        "spent": float(np.mean([float(s) for each in rounds for s in each.spent] or [0.0])),
    }


def _difference(before: Sequence[Round], after: Sequence[Round]) -> Estimate:
    """Clicks saved, object by object."""
    ours = [float(c) for each in before for c in each.clicks]
    theirs = [float(c) for each in after for c in each.clicks]
    return paired_difference(ours, theirs, _groups(before))


def _over_rounds(
    whole: dict[tuple[str, int], list[Round]], name: str, last: int, source: str | None = None
) -> Estimate:
    """Clicks fewer than with pictures at random, on the average of all rounds after the start.

    source: of objects of this source alone.
    """
    tested = [each for one in whole["random", 1] for each in one.tested]
    places = [i for i, each in enumerate(tested) if source is None or each == source]

    def means(strategy: str) -> list[float]:
        tables = [
            [c for each in whole[strategy, n] for c in each.clicks] for n in range(1, last + 1)
        ]
        return [float(value) for value in np.mean(tables, axis=0)[places]]

    groups = _groups(whole["random", 1])
    return paired_difference(means("random"), means(name), [groups[i] for i in places])


def _by_source(
    whole: dict[tuple[str, int], list[Round]], name: str, last: int
) -> dict[str, dict[str, Any]]:
    before, after = whole["start", 0], whole[name, last]
    sources = [source for each in before for source in each.tested]
    ours = [float(c) for each in before for c in each.clicks]
    theirs = [float(c) for each in after for c in each.clicks]
    groups = _groups(before)
    found = {}
    for source in sorted(set(sources)):
        here = [i for i, other in enumerate(sources) if other == source]
        one, other = [ours[i] for i in here], [theirs[i] for i in here]
        saved = _plain(paired_difference(one, other, [groups[i] for i in here]))
        found[source] = {"before": float(np.mean(one)), "after": float(np.mean(other)), **saved}
    return found


def _chosen(whole: dict[tuple[str, int], list[Round]], name: str, last: int) -> dict[str, int]:
    """How many pictures of each source were labeled."""
    counted: dict[str, int] = defaultdict(int)
    for number in range(1, last + 1):
        for each in whole[name, number]:
            for source in each.sources:
                counted[source] += 1
    return dict(sorted(counted.items()))


def _groups(rounds: Sequence[Round]) -> list[str]:
    """A picture that two seeds test on is one picture."""
    return [key for each in rounds for key in each.keys]


def _plain(found: Estimate) -> dict[str, Any]:
    return {"mean": found.mean, "interval": [found.low, found.high], "n": found.n}


def _said(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    return f"{found['mean']:.2f} [{low:.2f}, {high:.2f}]"
