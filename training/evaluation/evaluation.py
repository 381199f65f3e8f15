"""Evaluates checkpoints as they are served: interactions needed and IoU reached, with intervals.

Every answer goes through `model.predictor`, crops included, so this measures what an annotator
gets. ``phraseclick evaluate`` calls `main`.

The report is printed as tables and written as JSON and CSV.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from training.data import open_dataset
from training.evaluation import behaviour as probing
from training.evaluation.cases import cases_of
from training.evaluation.figures import comparisons, report
from training.evaluation.measurement import Checkpoint, Measurement, Run
from training.evaluation.protocol import MOST, Mode


def remarks(figures: Mapping[str, Any]) -> Iterator[str]:
    """Notes that a reader of the tables needs."""
    settings, left_out = figures["settings"], figures["left_out"]
    if not figures["complete"]:
        yield "Stopped before the end: figures cover the cases until then."
    if settings["at_least"] < 10:
        yield (
            f"Objects found after {settings['at_least']} interactions got no more, so IoU@10 is a "
            "lower bound (use --at-least 10)."
        )
    if left_out["specks"]:
        yield f"{left_out['specks']} cases with objects under 50 pixels were left out."
    if left_out["unreadable"]:
        yield (
            f"{len(left_out['unreadable'])} pictures could not be read, the first: "
            + (left_out["unreadable"][0])
        )


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Write the report. It has no NaN or infinite values, which JSON does not allow."""
    path.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(path: Path, figures: Mapping[str, Any]) -> None:
    """Write one row for each case of each run, with iou1 to iou20, empty after its end."""
    rows = list(_rows(figures))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _rows(figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for run in (figures, *figures["further"]):
        for case in run["per_case"]:
            row = {"version": run["version"], "mode": run["mode"], "jitter": run["jitter"], **case}
            row["objects"] = " ".join(str(number) for number in case["objects"])
            del row["ious"], row["clicks"], row["milliseconds"]
            ious = case["ious"]
            row |= {f"iou{k + 1}": ious[k] if k < len(ious) else "" for k in range(MOST)}
            yield row


def tables(figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Tables of each run by source, size and training, of comparisons and behaviour tests."""
    for run in (figures, *figures["further"]):
        pace = f"{run['ms_per_click']:.0f} ms per click"
        yield _title(f"{run['label']} (± half the 95 % interval; {pace})")
        yield _run(run)
    pairs: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in figures["comparisons"]:
        pairs[row["of"], row["against"]].append(row)
    for (of, against), rows in pairs.items():
        yield _title(f"{of} − {against}, on the same cases")
        yield _comparison(rows)
    if figures["probes"]:
        yield _title("Behaviour tests (95 % interval)")
        yield _probes(figures)


def _table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    # Narrow columns, so that all figures of a run fit into eighty characters.
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in (*names, *numbers):
        table.add_column(name, justify="left" if name in names else "right")
    return table


def _title(text: str) -> Text:
    # A table would wrap its own title to its width.
    return Text(text, style="bold")


def _run(run: Mapping[str, Any]) -> Table:
    alone = run["mode"] == "phrase"
    counts = ["1"] if alone else list(run["iou"])
    thresholds = [] if alone else ["85", "90"]
    titles = [*(f"NoC@{t}" for t in thresholds), *(f"IoU@{k}" for k in counts)]
    table = _table([""], ["n", *titles, "failed"])
    parts = [part for part in (run["by_size"], run.get("by_seen", {})) if len(part) > 1]
    for section in (run["by_source"], *parts, {"all": run}):
        for name, part in section.items():
            table.add_row(
                name,
                str(part["cases"]),
                *(_cell(part["noc"][t], part["noc_interval"][t], 2) for t in thresholds),
                *(_cell(part["iou"][k], part["iou_interval"][k], 3) for k in counts),
                str(part["failures"]["90"]),
            )
        table.add_section()
    return table


def _comparison(differences: Sequence[Mapping[str, Any]]) -> Table:
    rows: defaultdict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for difference in differences:
        rows[difference["source"]][difference["measure"]] = difference
    measures = list(next(iter(rows.values())))
    # NoC@85, IoU@1, ...
    titles = [name.replace("noc", "NoC@").replace("iou", "IoU@") for name in measures]
    table = _table([""], ["pairs", *titles])
    for source, row in rows.items():
        cells = [
            _cell(row[m]["mean"], row[m]["interval"], 2 if m.startswith("noc") else 3, sign="+")
            for m in measures
        ]
        table.add_row(source, str(row[measures[0]]["n"]), *cells)
    return table


def _probes(figures: Mapping[str, Any]) -> Table:
    table = _table(["question", "source"], ["n", "mean", "wanted"])
    for name, by_source in figures["probes"].items():
        for number, (source, entry) in enumerate(by_source.items()):
            wanted = Text("")
            if "aim" in entry:
                reached = entry["reached"]
                mark, style = ("✓", "green") if reached else ("✗", "red")
                relation = "interval >" if entry["certain"] else "≥"
                wanted = Text(f"{relation} {entry['aim']:.2f} {mark}", style=style)
            low, high = entry["interval"]
            mean = Text.assemble(f"{entry['mean']:.3f} ", (f"({low:.3f} to {high:.3f})", "dim"))
            table.add_row("" if number else name, source, str(entry["n"]), mean, wanted)
        table.add_section()
    return table


def _cell(mean: float, interval: tuple[float, float], digits: int, *, sign: str = "") -> Text:
    """The mean above half its interval, which is shorter than both ends."""
    half = f"{(interval[1] - interval[0]) / 2:.{digits}f}"
    return Text.assemble(f"{mean:{sign}.{digits}f}\n", (f"±{half.removeprefix('0')}", "dim"))


Progress = Callable[[int, int], None]


def main(
    checkpoint: Path | str,
    *,
    data: Sequence[Path | str],
    modes: Sequence[Mode] = ("clicks",),
    compare: Sequence[Path | str] = (),
    sources: Sequence[str] = (),
    limit: int = 0,
    jitters: Sequence[float] = (0.0,),
    at_least: int = 10,
    probes: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint ("shipped" or a directory) and return the report.

    data: as in `open_dataset`. modes: the first one with the first checkpoint is the top level of
    the report, all other runs are under "further". compare: more checkpoints on the same cases.
    sources: only these. limit: objects of each source at most; 0: all. jitters: of clicks (see
    `next_click`); each value makes a run.
    at_least: interactions of every object even if it is found sooner; below 10, IoU after 10 is a
    lower bound. probes: also run the behaviour tests (behaviour.py) on the first checkpoint.
    progress: called with the number done and the total.

    An interrupt (Ctrl-C) ends the measurement; the report covers the cases until then, and its
    "complete" is false. Raises DataError.
    """
    dataset = open_dataset(list(data))
    methods = _methods(checkpoint, compare, device)
    # Jitter does not apply to a phrase alone.
    runs = [
        Run(method, mode, jitter)
        for method in methods
        for mode in dict.fromkeys(modes)
        for jitter in dict.fromkeys(jitters if mode != "phrase" else [0.0])
    ]
    cases = {mode: cases_of(dataset, mode, sources=sources, limit=limit) for mode in modes}
    measurement = Measurement(dataset, runs, cases, at_least)
    asked = cases_of(dataset, "clicks", sources=sources, limit=limit) if probes else []
    pairs = probing.BehaviourTests(methods[0], dataset, asked)
    total = measurement.asked + len(asked)

    def forward(before: int) -> Progress:
        return lambda done, _: progress(before + done, total) if progress else None

    complete = False
    with contextlib.suppress(KeyboardInterrupt):
        measurement.ask_all(forward(0))
        pairs.ask_all(forward(measurement.asked))
        complete = True
    return {
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
            "jitter": list(jitters),
            "at_least": at_least,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        },
    }


def _figures(measurement: Measurement, run: Run) -> dict[str, Any]:
    results, trained_on = measurement.results[run], run.method.categories
    return {
        "version": run.method.name,
        "label": run.label,
        "way": run.way,
        "jitter": run.jitter,
        **report(results, run.mode, trained_on=trained_on, at_least=measurement.at_least),
    }


def _probed(measurement: Measurement, pairs: probing.BehaviourTests) -> probing.Tally:
    """The behaviour tests' tally, with the one that the protocol's own clicks give."""
    tally = probing.tally(pairs.findings)
    first = measurement.runs[0].method
    for run in measurement.runs:
        results = measurement.results[run]
        exact = run.method is first and run.mode == "clicks" and not run.jitter
        if exact and results and measurement.at_least >= probing.STEPS:
            tally[probing.Probe.LEAST_STEP] = probing.least_step(results)
    return probing.judged(tally)


def _methods(
    checkpoint: Path | str, compare: Sequence[Path | str], device: str
) -> list[Checkpoint]:
    """All checkpoints to measure, with unique names."""
    methods = [Checkpoint(where, device=device) for where in (checkpoint, *compare)]
    taken: Counter[str] = Counter()
    for method in methods:
        taken[name := method.name] += 1
        if taken[name] > 1:
            method.name = f"{name} ({taken[name]})"
    return methods
