"""The gate: whether a candidate may take the champion's place, measured as annotators will feel it.

Both are asked the same questions through the predictor as it serves: about the objects that the
project's people labeled and no training saw, and about a frozen general set, so that what was
known is kept. `training.gate.rules` says by which rules the figures decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.data.sample import Dataset
from training.evaluation.cases import Case, cases_of
from training.evaluation.methods import Checkpoint
from training.evaluation.protocol import Mode
from training.evaluation.run import Measurement, Result, Run
from training.gate.examples import examples
from training.gate.rules import SETS, STANDARD, GateRules, Outcome, Which, rule

MODES: tuple[Mode, ...] = ("clicks", "phrase+clicks")
GOAL = 0.85
# IoU is compared after so many interactions, so every question gets them.
COUNTS = (1, 2, 3)


@dataclass(frozen=True)
class Verdict:
    """passed: may serve. reason: why, or why not, in a sentence. report: all figures, for JSON."""

    passed: bool
    reason: str
    report: dict[str, Any]


def judge(
    candidate: Path,
    champion: Path,
    own: Dataset,
    general: Dataset,
    *,
    rules: GateRules = STANDARD,
    device: str = "cpu",
    tick: Callable[[float, dict[str, float]], None] | None = None,
    check: Callable[[], None] | None = None,
    pictures: Path | None = None,
) -> Verdict:
    """Hold two checkpoints against each other; the same for the same rules, whenever it is asked.

    own: the project's labels that neither trained on. tick: told how far it is (0 to 1) before
    each question; check: called there too, and may raise to end it. pictures: a folder for
    pictures of what was won and lost most. Raises CheckpointError and DataError.
    """
    contestants = Checkpoint(candidate, device=device), Checkpoint(champion, device=device)
    measurements: dict[Which, Measurement] = {
        "own": _prepared(own, contestants, rules.most_own, rules),
        "general": _prepared(general, contestants, rules.most_general, rules),
    }
    total = sum(each.asked for each in measurements.values())
    before = 0

    def forward(done: int, _: int = 0) -> None:
        if check:
            check()
        if tick:
            # Half of all answers are the champion's.
            both = {"asked": (before + done) / 2, "of": total / 2}
            tick((before + done) / max(total, 1), both)

    for measurement in measurements.values():
        forward(0)
        measurement.ask_all(forward)
        before += measurement.asked
    outcomes: dict[Which, Sequence[Outcome]] = {
        which: _outcomes(each, rules) for which, each in measurements.items()
    }
    ruling = rule(outcomes, rules, contestants[1].name)
    report = {
        "passed": ruling.passed,
        "reason": ruling.reason,
        "reasons": list(ruling.reasons),
        "candidate": contestants[0].name,
        "champion": contestants[1].name,
        "sets": {
            which: {
                "called": name,
                **_asked(measurements[which]),
                "comparisons": [asdict(each) for each in ruling.comparisons[which]],
            }
            for which, name in SETS.items()
        },
        "examples": [
            each
            for which, measurement in measurements.items()
            for each in examples(which, measurement, pictures, check)
        ],
        "rules": asdict(rules),
    }
    return Verdict(ruling.passed, ruling.reason, report)


def _prepared(
    dataset: Dataset, contestants: Sequence[Checkpoint], most: int, rules: GateRules
) -> Measurement:
    """Everybody in every mode, the candidate first in each."""
    runs = [Run(each, mode) for mode in MODES for each in contestants]
    return Measurement(
        dataset,
        runs,
        _questions(dataset, most, rules.seed),
        max(COUNTS),
        goal=GOAL,
        most=rules.most_interactions,
    )


def _questions(dataset: Dataset, most: int, seed: int) -> dict[Mode, list[Case]]:
    """At most so many objects, chosen at random and once; each by one phrase where it has any."""
    by_clicks = cases_of(dataset, "clicks")
    order = np.random.default_rng(seed).permutation(len(by_clicks))[:most]
    chosen = {(by_clicks[i].index, by_clicks[i].ids) for i in order}
    found: dict[Mode, list[Case]] = {}
    for mode in MODES:
        first: dict[tuple[int, tuple[int, ...]], Case] = {}
        for case in cases_of(dataset, mode):
            if (case.index, case.ids) in chosen:
                first.setdefault((case.index, case.ids), case)
        found[mode] = list(first.values())
    return found


def _outcomes(measurement: Measurement, rules: GateRules) -> list[Outcome]:
    """What both made of each question."""
    found: list[Outcome] = []
    for mode in MODES:
        mine, theirs = (measurement.results[run] for run in measurement.runs if run.mode == mode)
        found.extend(
            Outcome(mode, a.case.index, _values(a, rules), _values(b, rules))
            for a, b in zip(mine, theirs, strict=True)
        )
    return found


def _values(result: Result, rules: GateRules) -> tuple[float, float, float, float]:
    needed = min(result.course.needed(GOAL), rules.most_interactions)
    first, second, third = (result.course.iou(count) for count in COUNTS)
    return float(needed), first, second, third


def _asked(measurement: Measurement) -> dict[str, Any]:
    """How much was asked about, and what could not be."""
    results = measurement.results[measurement.runs[0]]
    chosen = measurement.cases["clicks"]
    lost = sum(case.index in measurement.unreadable for case in chosen)
    dataset = measurement.dataset.dataset
    return {
        "objects": len(results),
        "pictures": len({result.case.index for result in results}),
        "specks": len(chosen) - lost - len(results),
        "empty": sum(not dataset.objects(index) for index in range(len(dataset))),
        "unreadable": sorted(measurement.unreadable.values()),
    }
