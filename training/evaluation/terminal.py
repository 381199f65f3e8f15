"""The report as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from training.evaluation.wording import MEASURES


def tables(figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Each run by source, size and training; then what differs, then the probes."""
    for run in (figures, *figures["further"]):
        pace = f"{run['ms_per_click']:.0f} ms a click"
        yield _title(f"{run['label']} (± half the 95 % interval; {pace})")
        yield _run(run)
    for (of, against), found in _pairs(figures).items():
        yield _title(f"{of} − {against}, on the same cases")
        yield _comparison(found)
    if figures["probes"]:
        yield _title("Asked in pairs (95 % interval)")
        yield _probes(figures)


def _table() -> Table:
    # Close columns: all figures of a run fit into eighty characters.
    return Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _title(text: str) -> Text:
    # Tables wrap a title of their own to their width.
    return Text(text, style="bold")


def _run(run: Mapping[str, Any]) -> Table:
    alone = run["mode"] == "phrase"
    counts = ["1"] if alone else list(run["iou"])
    thresholds = [] if alone else ["85", "90"]
    table = _table()
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


def _pairs(figures: Mapping[str, Any]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """What was compared, by who with whom."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in figures["comparisons"]:
        found.setdefault((each["of"], each["against"]), []).append(each)
    return found


def _comparison(found: Sequence[Mapping[str, Any]]) -> Table:
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for each in found:
        rows.setdefault(each["source"], {})[each["measure"]] = each
    measures = [name for name in MEASURES if name in next(iter(rows.values()))]
    table = _table()
    table.add_column("")
    for name in ("pairs", *(MEASURES[each] for each in measures)):
        table.add_column(name, justify="right")
    for source, row in rows.items():
        cells = [
            _cell(row[m]["mean"], row[m]["interval"], 2 if m.startswith("noc") else 3, sign="+")
            for m in measures
        ]
        table.add_row(source, str(row[measures[0]]["n"]), *cells)
    return table


def _probes(figures: Mapping[str, Any]) -> Table:
    table = _table()
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
    """The mean over half its interval, which is shorter than its two ends."""
    half = f"{(interval[1] - interval[0]) / 2:.{digits}f}"
    return Text.assemble(f"{mean:{sign}.{digits}f}\n", (f"±{half.removeprefix('0')}", "dim"))


def _in_full(mean: float, interval: tuple[float, float]) -> Text:
    low, high = interval
    return Text.assemble(f"{mean:.3f} ", (f"({low:.3f} to {high:.3f})", "dim"))
