"""A simulation as the command shows it: a table, a picture of the curve, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from training.evaluation.statistics import Estimate
from training.simulate.simulate import Row, Simulation
from training.simulate.team import COUNTS, THRESHOLDS

BLUE, GREEN, AMBER = "#1b6ca8", "#2f855a", "#b8651b"


def as_json(simulation: Simulation) -> dict[str, Any]:
    """Means by number of labels; `table` shows their intervals."""
    return {"team": simulation.team, "rows": [_row_json(row) for row in simulation.rows]}


def _row_json(row: Row) -> dict[str, Any]:
    result = row.measured
    return {
        "labels": row.labels,
        "pictures": row.pictures,
        "objects": row.objects,
        "seconds": round(row.seconds, 1),
        "tested": len(result.objects),
        "iou": {str(k): round(result.iou(n).mean, 4) for n, k in enumerate(COUNTS)},
        "noc": {f"{100 * t:.0f}": round(result.noc(n).mean, 4) for n, t in enumerate(THRESHOLDS)},
        "iou_label_alone": round(result.label_alone.mean, 4),
        "interactions_per_object": round(result.interactions.mean, 4),
        "zero_interaction_share": round(result.zero_share.mean, 4),
    }


def table(simulation: Simulation) -> Table:
    """One column for each number of labels; after ±, half of the 95 % interval."""
    rows = simulation.rows
    tested = len(rows[0].measured.objects)
    drawn = Table(title=f"{simulation.team}: {tested} objects tested", title_justify="left")
    drawn.add_column("labels")
    for row in rows:
        drawn.add_column(str(row.labels), justify="right")
    drawn.add_row("labeled pictures", *(str(row.pictures) for row in rows))
    drawn.add_row("labeled objects", *(str(row.objects) for row in rows))
    drawn.add_row("seconds of training", *(f"{row.seconds:.0f}" for row in rows))
    gate = {None: "", True: "passed", False: "rejected"}
    drawn.add_row("gate", *(gate[row.passed] for row in rows), end_section=True)
    results = [row.measured for row in rows]
    for n, threshold in enumerate(THRESHOLDS):
        drawn.add_row(
            f"NoC@{100 * threshold:.0f}", *(_shown(result.noc(n), 1) for result in results)
        )
    for n, count in enumerate(COUNTS):
        after = f"IoU after {count} click{'s' if count > 1 else ''}"
        drawn.add_row(after, *(_shown(result.iou(n), 2) for result in results))
    drawn.add_row("IoU of the label alone", *(_shown(result.label_alone, 2) for result in results))
    drawn.add_row(
        "interactions per object", *(_shown(result.interactions, 1) for result in results)
    )
    drawn.add_row("objects without any", *(f"{result.zero_share.mean:.0%}" for result in results))
    return drawn


def draw(simulation: Simulation, path: Path) -> None:
    """Interactions, and IoU, against labeled pictures (.png or .svg)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    rows = simulation.rows
    curves: Sequence[tuple[Any, str, str, Sequence[Estimate]]] = (
        (left, "clicks from nothing (NoC@85)", BLUE, [r.measured.noc(1) for r in rows]),
        (left, "from the suggestions", GREEN, [r.measured.interactions for r in rows]),
        (right, "1 click", BLUE, [r.measured.iou(0) for r in rows]),
        (right, "3 clicks", GREEN, [r.measured.iou(1) for r in rows]),
        (right, "the label's name", AMBER, [r.measured.label_alone for r in rows]),
    )
    labels = [row.pictures for row in rows]
    for axes, name, colour, estimates in curves:
        means, lows, highs = zip(*((e.mean, e.low, e.high) for e in estimates), strict=True)
        axes.fill_between(labels, lows, highs, color=colour, alpha=0.1, linewidth=0)
        axes.plot(labels, means, "o-", color=colour, label=name, markersize=4)
    left.set_title(f"{simulation.team}: interactions per object", fontsize=10)
    left.set_ylim(bottom=0)
    right.set_title("IoU", fontsize=10)
    right.set_ylim(0, 1)
    for axes in (left, right):
        axes.set_xlabel("Labeled pictures")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same figures give the same bytes: no date, no version.
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None}
    figure.savefig(path, dpi=110, metadata=metadata)


def sentences(simulation: Simulation) -> list[str]:
    """Before and after, and what the gate refused, in sentences."""
    first, last = simulation.rows[0], simulation.rows[-1]
    before, after = first.measured.noc(1), last.measured.interactions
    said = [
        f"{before.mean:.1f} clicks per object before; with {last.pictures} labeled pictures "
        f"{last.measured.noc(1).mean:.1f} clicks from nothing, and {after.mean:.1f} interactions "
        f"from the suggestions ({last.measured.zero_share.mean:.0%} of the objects without any)."
    ]
    for row in simulation.rows:
        if row.passed is False:
            said.append(f"{row.labels} labels: the gate kept {row.version}. {row.reason}")
    return said


def _shown(estimate: Estimate, digits: int) -> str:
    half = (estimate.high - estimate.low) / 2
    return f"{estimate.mean:.{digits}f} ± {half:.{digits}f}"
