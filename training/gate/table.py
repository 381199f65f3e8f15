"""A verdict as tables in a terminal, made from its report, so that a stored one can be shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from training.gate.rules import ALL, CHANCE, MEASURES, WAYS

ASKED_BY = {ALL: "either", **{mode: way.removeprefix("by ") for mode, way in WAYS.items()}}
STYLES = {"better": "green", "same": "", "worse": "red", "much worse": "bold red"}


def tables(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Each set with its comparisons, the labels, the cost of the next picture, the verdict."""
    for part in report["sets"].values():
        yield from set_tables(part)
    for label, comparisons in report.get("labels", {}).items():
        yield Text(f"Label {label}", style="bold")
        yield _comparisons(comparisons)
    for warning in report.get("warnings", ()):
        yield Text(f"Warning: {warning}", style="yellow")
    if report.get("suggestions"):
        yield Text(cost_of_next(report["suggestions"]))
    passed = report["passed"]
    yield Text.assemble(
        ("Passed. " if passed else "Rejected. ", "bold green" if passed else "bold red"),
        report["reason"],
    )


def cost_of_next(suggestions: Mapping[str, Any]) -> str:
    """What the next picture costs before and after, in a sentence; from a report's suggestions."""
    before, after, difference = (
        suggestions["champion"],
        suggestions["candidate"],
        suggestions["difference"],
    )
    return (
        "Interactions per object, starting from the suggested regions: "
        f"{before['interactions']['mean']:.2f} with the champion, "
        f"{after['interactions']['mean']:.2f} with the candidate (difference "
        f"{difference['mean']:+.2f}, {difference['low']:+.2f} to {difference['high']:+.2f}; "
        f"{after['objects']} objects on {after['pictures']} pictures). Without any interaction: "
        f"{before['zero_share']['mean']:.0%} and {after['zero_share']['mean']:.0%}."
    )


def set_tables(part: Mapping[str, Any]) -> Iterator[RenderableType]:
    """One set: how much was asked, its comparisons, and what could not be asked."""
    called = part["called"][0].upper() + part["called"][1:]
    yield Text(f"{called}: {part['objects']} objects on {part['pictures']} pictures", style="bold")
    if part["comparisons"]:
        yield _comparisons(part["comparisons"])
    if part["empty"]:
        yield Text(f"{part['empty']} pictures without any object.", style="yellow")
    if part["specks"]:
        yield Text(f"{part['specks']} objects under 50 pixels were left out.", style="yellow")
    if part["unreadable"]:
        count, first = len(part["unreadable"]), part["unreadable"][0]
        yield Text(f"{count} pictures could not be read, the first: {first}", style="yellow")


def _comparisons(comparisons: list[Mapping[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("asked by")
    table.add_column("")
    for name in ("champion", "candidate", "difference (95 %)"):
        table.add_column(name, justify="right")
    table.add_column("")
    mode = ""
    for comparison in comparisons:
        if mode and comparison["mode"] != mode:
            table.add_section()
        first = comparison["mode"] != mode
        mode = comparison["mode"]
        digits = 2 if comparison["measure"] == "noc85" else 3
        table.add_row(
            ASKED_BY.get(mode, mode) if first else "",
            MEASURES[comparison["measure"]],
            f"{comparison['champion']:.{digits}f}",
            f"{comparison['candidate']:.{digits}f}",
            f"{comparison['difference']:+.{digits}f} "
            f"({comparison['low']:+.{digits}f} to {comparison['high']:+.{digits}f})",
            Text(_says(comparison), style=STYLES[comparison["says"]]),
        )
    return table


def _says(comparison: Mapping[str, Any]) -> str:
    """The finding, or that the difference may be luck."""
    luck = comparison["chance"]
    beyond = comparison["low"] > 0 or comparison["high"] < 0
    if comparison["says"] == "same" and luck is not None and luck > CHANCE and beyond:
        return f"may be luck ({luck:.0%})"
    return str(comparison["says"])
