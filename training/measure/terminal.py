"""The report as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from training.measure.wording import MEASURES


def tables(figures: Mapping[str, Any]) -> Iterator[Table]:
    """Each run by source, size and training; then what differs, then the probes."""
    for run in (figures, *figures["further"]):
        yield _run(run)
    if figures["comparisons"]:
        yield _comparisons(figures)
    if figures["probes"]:
        yield _probes(figures)


def _table(title: str) -> Table:
    return Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold")


def _run(run: Mapping[str, Any]) -> Table:
    alone = run["mode"] == "phrase"
    counts = ["1"] if alone else list(run["iou"])
    thresholds = [] if alone else ["85", "90"]
    table = _table(
        f"{run['label']} (± half the 95 % interval; {run['ms_per_click']:.0f} ms a click)"
    )
    table.add_column("")
    for name in ("n", *(f"NoC@{t}" for t in thresholds), *(f"IoU@{k}" for k in counts), "failed"):
        table.add_column(name, justify="right")
    sections = [run["by_source"], run["by_size"], run.get("by_seen", {}), {"all": run}]
    for section in sections:
        if len(section) < 2 and "all" not in section and section is not run["by_source"]:
            continue
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


def _comparisons(figures: Mapping[str, Any]) -> Table:
    table = _table("On the same cases: of − against (paired, ± half the 95 % interval)")
    for name in ("of", "against", "source"):
        table.add_column(name)
    for name in ("pairs", *MEASURES.values()):
        table.add_column(name, justify="right")
    rows: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for each in figures["comparisons"]:
        key = each["of"], each["against"], each["source"]
        rows.setdefault(key, {})[each["measure"]] = each
    before = ("", "")
    for (of, against, source), found in rows.items():
        cells = [
            _cell(found[m]["mean"], found[m]["interval"], 2 if m[0] == "n" else 3, sign="+")
            if m in found
            else Text("–")
            for m in MEASURES
        ]
        pairs = str(next(iter(found.values()))["n"])
        if (of, against) != before:
            table.add_section()
        shown = (of, against) if (of, against) != before else ("", "")
        table.add_row(*shown, source, pairs, *cells)
        before = of, against
    return table


def _probes(figures: Mapping[str, Any]) -> Table:
    table = _table("Asked in pairs (95 % interval)")
    table.add_column("question")
    table.add_column("source")
    for name in ("n", "mean", "wanted"):
        table.add_column(name, justify="right")
    for name, by_source in figures["probes"].items():
        for number, (source, found) in enumerate(by_source.items()):
            wanted = Text("")
            if "aim" in found:
                reached = found["reached"]
                mark, style = ("✓", "green") if reached else ("✗", "red")
                relation = "surely >" if found["certain"] else "≥"
                wanted = Text(f"{relation} {found['aim']:.2f} {mark}", style=style)
            mean = _in_full(found["mean"], found["interval"])
            table.add_row("" if number else name, source, str(found["n"]), mean, wanted)
        table.add_section()
    return table


def _cell(mean: float, interval: tuple[float, float], digits: int, *, sign: str = "") -> Text:
    """The mean over half its interval: eight of them fit into eighty columns."""
    half = (interval[1] - interval[0]) / 2
    return Text.assemble(f"{mean:{sign}.{digits}f}\n", (f"±{half:.{digits}f}", "dim"))


def _in_full(mean: float, interval: tuple[float, float]) -> Text:
    low, high = interval
    return Text.assemble(f"{mean:.3f} ", (f"({low:.3f} to {high:.3f})", "dim"))
