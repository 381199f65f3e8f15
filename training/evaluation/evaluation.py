"""Evaluates checkpoints as they are served: interactions needed and IoU reached, with intervals.

Every answer goes through `model.predictor`, crops included, so this measures what an annotator
gets. ``phraseclick evaluate`` calls `main`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.data import open_dataset
from training.errors import DataError
from training.evaluation import behaviour as probing
from training.evaluation import output
from training.evaluation.cases import cases_of
from training.evaluation.figures import comparisons, report
from training.evaluation.methods import Checkpoint, Method
from training.evaluation.protocol import MODES, MOST, Mode
from training.evaluation.run import Measurement, Run

Progress = Callable[[int, int], None]


def main(
    checkpoint: Path | str,
    *,
    data: Sequence[Path | str],
    mode: str | Sequence[str] = "clicks",
    compare: Sequence[Path | str] = (),
    sources: Sequence[str] = (),
    limit: int = 0,
    jitter: float | Sequence[float] = 0.0,
    at_least: int = 10,
    probes: bool = False,
    device: str = "auto",
    json_file: Path | None = None,
    csv_file: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint ("shipped" or a directory) and return the report.

    data: as in `open_dataset`. mode: one or several; the first one with the first checkpoint is the
    top level of the report, all other runs are under "further". compare: more checkpoints on the
    same cases. sources: only these. limit: objects of each source at most; 0: all. jitter: of
    clicks (see `next_click`); each value makes a run.
    at_least: interactions of every object even if it is found sooner; below 10, IoU after 10 is a
    lower bound. probes: also run the behaviour tests (behaviour.py) on the first checkpoint.
    progress: called with the number done and the total.

    An interrupt (Ctrl-C) ends the measurement but not the report, which covers the cases until
    then; "complete" is then false. Raises DataError.
    """
    dataset = open_dataset(list(data))
    modes = _modes([mode] if isinstance(mode, str) else mode)
    if not 1 <= at_least <= MOST:
        raise DataError(f"at_least is {at_least}; the protocol has 1 to {MOST} interactions.")
    methods = _methods(checkpoint, compare, device)
    jitters = list(dict.fromkeys([jitter] if isinstance(jitter, int | float) else jitter))
    runs = [run for method in methods for run in _runs(method, modes, jitters)]
    cases = {m: cases_of(dataset, m, sources=sources, limit=limit) for m in modes}
    measurement = Measurement(dataset, runs, cases, at_least)
    asked = cases_of(dataset, "clicks", sources=sources, limit=limit) if probes else []
    pairs = probing.BehaviourTests(methods[0], dataset, asked)
    complete = _ask(measurement, pairs, len(asked), progress)
    figures = {
        **_figures(measurement, runs[0]),
        "further": [_figures(measurement, run) for run in runs[1:] if measurement.results[run]],
        "comparisons": comparisons(measurement),
        "probes": _probed(measurement, pairs) if probes else {},
        "complete": complete,
        "asked": measurement.asked,
        "left_out": {
            "specks": measurement.specks,
            "unreadable": sorted(measurement.unreadable.values()),
        },
        "self_check": {"cases": measurement.checked, "noc": 1.0},
        "settings": {
            "data": [str(place) for place in data],
            "sources": list(sources),
            "limit": limit,
            "jitter": jitters,
            "at_least": at_least,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        },
    }
    if json_file:
        output.write_json(json_file, figures)
    if csv_file:
        output.write_csv(csv_file, figures)
    return figures


def _ask(
    measurement: Measurement,
    pairs: probing.BehaviourTests,
    pair_count: int,
    progress: Progress | None,
) -> bool:
    """Run all cases and behaviour tests; false if an interrupt ended them."""
    total = measurement.asked + pair_count

    def forward(before: int) -> Progress:
        return lambda done, _: progress(before + done, total) if progress else None

    try:
        measurement.ask_all(forward(0))
        pairs.ask_all(forward(measurement.asked))
    except KeyboardInterrupt:
        return False
    return True


def _figures(measurement: Measurement, run: Run) -> dict[str, Any]:
    opened = run.method.milliseconds_to_open
    return {
        "version": run.method.name,
        "label": run.label,
        "way": run.way,
        "jitter": run.jitter,
        **report(
            measurement.results[run],
            run.mode,
            trained_on=run.method.categories,
            at_least=measurement.at_least,
        ),
        **({"ms_per_picture": float(sorted(opened)[len(opened) // 2])} if opened else {}),
    }


def _probed(measurement: Measurement, pairs: probing.BehaviourTests) -> dict[str, Any]:
    """The behaviour tests' tally, with those that the protocol's own clicks give."""
    findings = list(pairs.findings)
    steps: dict[str, Any] = {}
    first = measurement.runs[0].method
    for run in measurement.runs:
        results = measurement.results[run]
        exact = run.mode == "clicks" and not run.jitter
        if run.method is first and exact and results:
            findings.extend(probing.from_trajectories(results))
            if measurement.at_least >= probing.STEPS:
                steps[probing.LEAST_STEP] = probing.least_step(results)
    return probing.judged({**probing.tally(findings), **steps})


def _runs(method: Method, modes: Sequence[Mode], jitters: Sequence[float]) -> list[Run]:
    """All runs of a method; jitter does not apply to a phrase alone."""
    return [
        Run(method, mode, jitter)
        for mode in modes
        for jitter in (jitters if mode != "phrase" else [0.0])
    ]


def _modes(names: Sequence[str]) -> list[Mode]:
    for name in names:
        if name not in MODES:
            raise DataError(f"Mode '{name}' is none of {', '.join(MODES)}.")
    chosen: list[Mode] = [mode for name in dict.fromkeys(names) for mode in MODES if mode == name]
    if not chosen:
        raise DataError(f"No mode was named: choose from {', '.join(MODES)}.")
    return chosen


def _methods(checkpoint: Path | str, compare: Sequence[Path | str], device: str) -> list[Method]:
    """All methods to measure, with unique names."""
    methods: list[Method] = [Checkpoint(where, device=device) for where in (checkpoint, *compare)]
    taken: dict[str, int] = {}
    for method in methods:
        taken[method.name] = taken.get(method.name, 0) + 1
        if taken[method.name] > 1:
            method.name = f"{method.name} ({taken[method.name]})"
    return methods
