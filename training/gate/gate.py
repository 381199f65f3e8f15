"""The gate: does a candidate make the project's next picture cheaper than what serves it now?

Both sides are asked the same questions through the predictor: about objects that the project's
people labeled and no training saw, and about a frozen general set. Each object is clicked, and the
clicks carry its phrase or its label's name, as they do in the page. Where a phrase means this
object alone, it is also typed first. On the project's objects both sides answer as they would
serve: for a label that a version has not learned, the base model answers. `training.gate.rules`
decides by the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.data import Dataset, PackDataset
from training.evaluation.cases import Case, cases_of, ids_of_kind
from training.evaluation.measurement import Checkpoint, Measurement, Method, Result, Run, Served
from training.evaluation.protocol import GOAL, Mode
from training.evaluation.statistics import Estimate
from training.gate.report import Images, compare_suggestions, examples
from training.gate.rules import SETS, STANDARD, GateRules, Outcome, Which, rule

MODES: tuple[Mode, ...] = ("clicks+phrase", "phrase+clicks")
# Frozen, and trained on by nothing; its README.md says what is in it and under which licences.
GENERAL_SET = Path(__file__).parent / "general_set" / "general.tar"
# IoU is compared after these interactions, so every question gets them.
COUNTS = (1, 2, 3)


@dataclass(frozen=True)
class Verdict:
    """passed: the candidate may serve. reason: a sentence. report: all figures, for JSON."""

    passed: bool
    reason: str
    report: dict[str, Any]


def open_general_set() -> PackDataset:
    """What a version should still do well after learning something else."""
    return PackDataset([GENERAL_SET])


def judge(
    candidate: Path,
    champion: Path,
    own: Dataset,
    general: Dataset,
    *,
    base: Path | None = None,
    rules: GateRules = STANDARD,
    device: str = "cpu",
    tick: Callable[[float, dict[str, float]], None] | None = None,
    check: Callable[[], None] | None = None,
    pictures: Path | None = None,
) -> Verdict:
    """Compare two checkpoints; the verdict depends on the arguments alone.

    Args:
        own: the project's labels that neither was trained on.
        base: what serves labels that a version has not learned; by default the champion.
        tick: called with the progress (0 to 1) before each question.
        check: called there, too; an exception ends the comparison.
        pictures: a folder for pictures of the largest gains and losses.

    Raises CheckpointError and DataError.
    """
    new, old = Checkpoint(candidate, device=device), Checkpoint(champion, device=device)
    fallback = old if base in (None, champion) else Checkpoint(base, device=device)
    served = Served(new, fallback), Served(old, fallback)
    measurements: dict[Which, Measurement] = {
        "own": _measurement(own, served, rules.most_own, rules),
        "general": _measurement(general, (new, old), rules.most_general, rules),
    }
    total = sum(measurement.asked for measurement in measurements.values())
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
    outcomes = {which: _outcomes(asked, rules) for which, asked in measurements.items()}
    images = Images(pictures, check)
    suggestions = compare_suggestions(
        *served, own, most_clicks=rules.most_interactions, seed=rules.seed, images=images
    )
    difference = Estimate(**suggestions["difference"]) if suggestions else None
    ruling = rule(outcomes, rules, old.name, difference)
    ruled = asdict(ruling)
    comparisons = ruled.pop("comparisons")
    report = {
        **ruled,
        "candidate": new.name,
        "champion": old.name,
        "sets": {
            which: {
                "called": name,
                **_counts(measurements[which]),
                "comparisons": comparisons[which],
            }
            for which, name in SETS.items()
        },
        "suggestions": suggestions,
        "examples": [
            example
            for which, measurement in measurements.items()
            for example in examples(which, measurement, images)
        ],
        "rules": asdict(rules),
    }
    return Verdict(ruling.passed, ruling.reason, report)


def _measurement(
    dataset: Dataset, sides: Sequence[Method], most: int, rules: GateRules
) -> Measurement:
    """Both in every mode, the candidate's side first in each."""
    return Measurement(
        dataset,
        [Run(method, mode) for mode in MODES for method in sides],
        _questions(dataset, most, rules.seed),
        max(COUNTS),
        goal=GOAL,
        most=rules.most_interactions,
    )


def _questions(dataset: Dataset, most: int, seed: int) -> dict[Mode, list[Case]]:
    """At most this many random objects, each once, and by one phrase if one means it alone."""
    by_clicks = cases_of(dataset, MODES[0])
    order = np.random.default_rng(seed).permutation(len(by_clicks))[:most]
    chosen = {(by_clicks[i].index, by_clicks[i].ids) for i in order}
    questions: dict[Mode, list[Case]] = {}
    for mode in MODES:
        first: dict[tuple[int, tuple[int, ...]], Case] = {}
        for case in cases_of(dataset, mode):
            if mode == "phrase+clicks" and not _means_one(dataset, case):
                continue
            if (case.index, case.ids) in chosen:
                first.setdefault((case.index, case.ids), case)
        questions[mode] = list(first.values())
    return questions


def _means_one(dataset: Dataset, case: Case) -> bool:
    """Whether the phrase was written for the object, or is the name of no other in the picture.

    The name of several is the right way to ask for all of them (`compare_suggestions`), and the
    longest way to one.
    """
    objects = dataset.objects(case.index)
    if any(case.phrase in about.phrases for about in objects if about.id in case.ids):
        return True
    return case.category is not None and ids_of_kind(objects, case.category) == case.ids


def _outcomes(measurement: Measurement, rules: GateRules) -> list[Outcome]:
    """How both sides answered each question."""
    outcomes: list[Outcome] = []
    for mode in MODES:
        mine, theirs = (measurement.results[run] for run in measurement.runs if run.mode == mode)
        outcomes.extend(
            Outcome(mode, a.case.index, _values(a, rules), _values(b, rules), a.case.category or "")
            for a, b in zip(mine, theirs, strict=True)
        )
    return outcomes


def _values(result: Result, rules: GateRules) -> tuple[float, float, float, float]:
    needed = min(result.trajectory.needed(GOAL), rules.most_interactions)
    first, second, third = (result.trajectory.iou(count) for count in COUNTS)
    return float(needed), first, second, third


def _counts(measurement: Measurement) -> dict[str, Any]:
    """How much was asked, and what could not be."""
    results = measurement.results[measurement.runs[0]]
    chosen = measurement.cases[MODES[0]]
    unreadable, dataset = measurement.unreadable, measurement.dataset.dataset
    lost = sum(case.index in unreadable for case in chosen)
    return {
        "objects": len(results),
        "pictures": len({result.case.index for result in results}),
        "specks": len(chosen) - lost - len(results),
        "empty": sum(not dataset.objects(index) for index in range(len(dataset))),
        "unreadable": sorted(set(unreadable.values())),
    }
