"""What labels save: a simulated team labels pictures, a version learns, the gate decides.

For each number of labels: the team labels pictures with the version that serves it, the product's
own fine-tuning makes a candidate from that version, the product's own gate decides which of both
serves, and that one is measured on objects of other pictures. So a row shows what the
team would have, not what was learned. The row with 0 labels is the version that the team starts
from.

A finished row is a file in the folder; the same call in the same folder does what is missing. The
result is shown as a table, a picture of the curve, and JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from model import checkpoint
from model.files import atomic_write
from training import acquisition
from training.data import Dataset, open_dataset
from training.errors import RecipeError
from training.evaluation.cases import key_of
from training.evaluation.interactions import labels_in
from training.evaluation.measurement import Checkpoint, Served
from training.evaluation.statistics import Estimate
from training.finetune.fine_tune import CHECKPOINT, fine_tune
from training.finetune.recipe import FineTuneRecipe
from training.gate.gate import judge, open_general_set
from training.gate.rules import STANDARD, GateRules
from training.simulate.team import Clicks, Labeled, Measured, label, measure, split

REQUEST = "simulation.json"

# Pictures scored for each one that is chosen. *choice*
_CANDIDATES = 3
# What the scoring of a picture may cost: less than in the product, where it runs overnight.
_SCORING = acquisition.Budget(names=6, grid=3, objects=1, clicks=3, side=320)

Tell = Callable[[float, str], None]
"""Called with how much of the simulation is done (0 to 1), and what it does now."""


@dataclass(frozen=True)
class Plan:
    """What is simulated. labels: numbers of labeled pictures, ascending. strategy: how the pictures
    are chosen: in the order of their hash (random), or by what the product orders tasks by."""

    labels: tuple[int, ...] = (20, 50)
    seed: int = 1
    strategy: acquisition.Method = "random"
    recipe: FineTuneRecipe = field(default_factory=FineTuneRecipe)
    rules: GateRules = STANDARD

    def __post_init__(self) -> None:
        if list(self.labels) != sorted(set(self.labels)) or min(self.labels, default=0) < 1:
            raise RecipeError(
                f"Numbers of labels must be ascending and above 0, not {self.labels}."
            )


@dataclass(frozen=True)
class Row:
    """One number of labels. labels: as asked; pictures, objects: labeled indeed, fewer where half
    of the team's pictures are fewer.

    version: that serves and was measured. passed: whether the gate let the candidate serve; None
    without a candidate. reason: the gate's sentence. seconds: of the fine-tuning.
    """

    labels: int
    pictures: int
    objects: int
    seconds: float
    passed: bool | None
    reason: str
    version: str
    measured: Measured


@dataclass(frozen=True)
class _KeptRow:
    """The file of a finished row. clicks: by picture and object, of all that is labeled so far."""

    row: Row
    clicks: list[tuple[int, list[tuple[int, Clicks]]]]
    serving: Path


_KEPT = TypeAdapter(_KeptRow)


@dataclass(frozen=True)
class Simulation:
    """A finished simulation; rows by number of labels, from 0."""

    team: str
    plan: Plan
    rows: tuple[Row, ...]


def simulate(
    team: Path | str,
    out: Path,
    plan: Plan,
    *,
    start: Path | str = "shipped",
    tell: Tell = lambda done, what: None,
) -> Simulation:
    """Simulate what ``out`` does not hold yet.

    team: a shard or another data set that ``start`` was not trained on, as `open_dataset` takes it.
    Raises RecipeError if the folder holds another simulation, DataError for too little data.
    """
    dataset = open_dataset([team])
    begin = checkpoint.load(start)
    running = _Running(dataset, begin.path.resolve(), out.resolve(), plan, tell)
    _claim(out, str(team), begin.version, plan)
    while len(running.rows) <= len(plan.labels):
        running.next_row()
    tell(1.0, "Done")
    return Simulation(Path(str(team).partition("?")[0]).stem, plan, tuple(running.rows))


class _Running:
    """The simulation of one team in its folder, row by row.

    labeled: what the team has labeled so far. serving: the version that serves it.
    """

    def __init__(self, dataset: Dataset, start: Path, out: Path, plan: Plan, tell: Tell) -> None:
        self.dataset, self.start, self.out, self.plan = dataset, start, out, plan
        self.parts = split(dataset, plan.seed)
        self.labels = labels_in(dataset)
        self.rows: list[Row] = []
        self.labeled, self.serving = Labeled(dataset), start
        self._tell = tell

    def next_row(self) -> None:
        """Read the next row from the folder, or make it."""
        number = len(self.rows)
        path = self.out / f"row-{number}.json"
        if path.exists():
            try:
                kept = _KEPT.validate_json(path.read_bytes())
            except ValidationError as error:
                raise RecipeError(
                    f"{path} was damaged or written by another version of the program: delete it, "
                    "and it is measured again, or name another folder."
                ) from error
            for index, clicks in kept.clicks[len(self.labeled) :]:
                self.labeled.add(index, dict(clicks))
            self.serving = kept.serving
            self.rows.append(kept.row)
            return
        if number:
            row = self._trained(self.plan.labels[number - 1])
        else:
            version = checkpoint.load(self.start).version
            row = Row(0, 0, 0, 0.0, None, "", version, self._measured())
        made = [(index, list(clicks.items())) for index, clicks in self.labeled.clicks.items()]
        atomic_write(path, _KEPT.dump_json(_KeptRow(row, made, self.serving)))
        self.rows.append(row)

    def _trained(self, labels: int) -> Row:
        champion = self.serving
        self._label(min(labels, len(self.parts.pool)))
        train, held_out = self.labeled.sides()
        if not len(train):  # of one or two pictures all can be held out
            return dataclasses.replace(
                self.rows[-1],
                labels=labels,
                pictures=len(self.labeled),
                objects=self.labeled.count(),
                seconds=0.0,
                passed=None,
                reason="",
            )
        tuned = fine_tune(
            champion,
            train,
            held_out if len(held_out) else None,
            out=self.out / f"labels-{labels}",
            recipe=dataclasses.replace(self.plan.recipe, seed=self.plan.seed),
            base=self.start,
            tick=lambda done, _: self._at(0.1 + 0.5 * done, "learning"),
        )
        verdict = judge(
            tuned.folder,
            champion,
            held_out,
            open_general_set(),
            base=self.start,
            rules=self.plan.rules,
            device=self.plan.recipe.device,
            tick=lambda done, _: self._at(0.6 + 0.2 * done, "the gate measures"),
        )
        if verdict.passed:
            self.serving = tuned.folder
        row = Row(
            labels,
            len(self.labeled),
            self.labeled.count(),
            tuned.metrics["seconds"],
            verdict.passed,
            verdict.reason,
            checkpoint.load(self.serving).version,
            self._measured() if verdict.passed else self.rows[-1].measured,
        )
        # The state to resume from is large and no longer needed.
        for path in tuned.folder.parent.iterdir():
            if path.name != CHECKPOINT:
                path.unlink()
        return row

    def _label(self, pictures: int) -> None:
        """Label more pictures, until there are this many."""
        served = self._served()
        chosen = self._chosen(pictures - len(self.labeled), served.champion)
        for done, index in enumerate(chosen):
            self._at(0.1 * done / len(chosen), "the team labels")
            self.labeled.add(index, label(self.dataset, index, served))

    def _chosen(self, count: int, model: Checkpoint) -> Sequence[int]:
        """The pictures to label next, out of the first that are not labeled."""
        left = [index for index in self.parts.pool if index not in self.labeled.clicks]
        if self.plan.strategy == "random" or count <= 0:
            return left[: max(count, 0)]
        candidates = left[: _CANDIDATES * count]
        scores, descriptors = [], []
        for index in candidates:
            sample = self.dataset[index]
            asked = model.predictor, sample.image, key_of(sample, index)
            strategy = self.plan.strategy
            value, _ = acquisition.value(*asked, self.labels, strategy, budget=_SCORING)
            scores.append(value)
            if strategy != "uncertainty":
                descriptors.append(acquisition.descriptor(*asked, budget=_SCORING))
        if descriptors:
            order = acquisition.order(scores, np.stack(descriptors), weight=acquisition.MILD)
        else:
            order = [int(place) for place in np.argsort(-np.array(scores), kind="stable")]
        return [candidates[place] for place in order[:count]]

    def _measured(self) -> Measured:
        return measure(
            self._served(),
            self.dataset,
            self.parts.tested,
            self.labels,
            lambda done: self._at(0.8 + 0.2 * done, "measuring"),
        )

    def _served(self) -> Served:
        device, serving = self.plan.recipe.device, self.serving
        base = Checkpoint(self.start, device=device)
        return Served(base if serving == self.start else Checkpoint(serving, device=device), base)

    def _at(self, done: float, what: str) -> None:
        labels = (0, *self.plan.labels)[len(self.rows)]
        share = (len(self.rows) + done) / (len(self.plan.labels) + 1)
        self._tell(share, f"{labels} labels, {what}" if labels else f"The start, {what}")


def _claim(out: Path, team: str, version: str, plan: Plan) -> None:
    """Note in the folder what is simulated there. Raises RecipeError if it is something else."""
    out.mkdir(parents=True, exist_ok=True)
    request = {"team": team, "start": version, "plan": dataclasses.asdict(plan)}
    request = json.loads(json.dumps(request))
    path = out / REQUEST
    if not path.exists():
        atomic_write(path, json.dumps(request, indent=1))
    elif json.loads(path.read_text(encoding="utf-8")) != request:
        raise RecipeError(
            f"{out} holds another simulation: use the options in {path}, or another folder."
        )


# How a simulation is shown: the figures' titles in the table, with their digits.
TITLES = {
    "noc80": ("NoC@80", 1),
    "noc85": ("NoC@85", 1),
    "noc90": ("NoC@90", 1),
    "iou1": ("IoU after 1 click", 2),
    "iou3": ("IoU after 3 clicks", 2),
    "iou10": ("IoU after 10 clicks", 2),
    "label": ("IoU of the label alone", 2),
    "interactions": ("interactions per object", 1),
}
BLUE, GREEN, AMBER = "#1b6ca8", "#2f855a", "#b8651b"


def as_json(simulation: Simulation) -> dict[str, Any]:
    """Means by number of labels, None for labels where there are none; `table` has intervals."""
    return {"team": simulation.team, "rows": [_row_json(row) for row in simulation.rows]}


def _row_json(row: Row) -> dict[str, Any]:
    means = {name: round(figure.mean, 4) for name, figure in row.measured.figures().items()}
    return {
        "labels": row.labels,
        "pictures": row.pictures,
        "objects": row.objects,
        "seconds": round(row.seconds, 1),
        "tested": len(row.measured.objects),
        "iou": {count: means[f"iou{count}"] for count in ("1", "3", "10")},
        "noc": {percent: means[f"noc{percent}"] for percent in ("80", "85", "90")},
        "iou_label_alone": means.get("label"),
        "interactions_per_object": means["interactions"],
        "zero_interaction_share": means["zero_share"],
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
    figures = [row.measured.figures() for row in rows]
    for name, (title, digits) in TITLES.items():
        drawn.add_row(title, *(_shown(of.get(name), digits) for of in figures))
    drawn.add_row("objects without any", *(f"{of['zero_share'].mean:.0%}" for of in figures))
    return drawn


def _shown(estimate: Estimate | None, digits: int) -> str:
    if estimate is None:
        return "–"
    half = (estimate.high - estimate.low) / 2
    return f"{estimate.mean:.{digits}f} ± {half:.{digits}f}"


def draw(simulation: Simulation, path: Path) -> None:
    """Interactions, and IoU, against labeled pictures (.png or .svg)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    curves: Sequence[tuple[Any, str, str, str]] = (
        (left, "clicks from nothing (NoC@85)", BLUE, "noc85"),
        (left, "from the suggestions", GREEN, "interactions"),
        (right, "1 click", BLUE, "iou1"),
        (right, "3 clicks", GREEN, "iou3"),
        (right, "the label's name", AMBER, "label"),
    )
    labels = [row.pictures for row in simulation.rows]
    figures = [row.measured.figures() for row in simulation.rows]
    for axes, title, colour, name in curves:
        if name not in figures[0]:
            continue
        points = [(of[name].mean, of[name].low, of[name].high) for of in figures]
        means, lows, highs = zip(*points, strict=True)
        axes.fill_between(labels, lows, highs, color=colour, alpha=0.1, linewidth=0)
        axes.plot(labels, means, "o-", color=colour, label=title, markersize=4)
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
    last = simulation.rows[-1]
    before, after = simulation.rows[0].measured.figures(), last.measured.figures()
    said = [
        f"{before['noc85'].mean:.1f} clicks per object before; with {last.pictures} labeled "
        f"pictures {after['noc85'].mean:.1f} clicks from nothing, and "
        f"{after['interactions'].mean:.1f} interactions from the suggestions "
        f"({after['zero_share'].mean:.0%} of the objects without any)."
    ]
    for row in simulation.rows:
        if row.passed is False:
            said.append(f"{row.labels} labels: the gate kept {row.version}. {row.reason}")
    return said
