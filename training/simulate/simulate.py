"""What labels save: a simulated team labels pictures, a version learns, the gate decides.

For each number of labels: the team labels pictures with the version that serves it, the product's
own fine-tuning makes a candidate from that version, the product's own gate decides which of both
serves, and that one is measured on objects of other pictures (`measure`). So a row shows what the
team would have, not what was learned. The row with 0 labels is the version that the team starts
from.

A finished row is a file in the folder; the same call in the same folder does what is missing.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model import checkpoint
from model.files import atomic_write
from training import acquisition
from training.data import Dataset, Without, open_dataset
from training.data.sample import sides
from training.errors import RecipeError
from training.evaluation.interactions import labels_of
from training.evaluation.measurement import Checkpoint, Served
from training.finetune.fine_tune import CHECKPOINT, fine_tune
from training.finetune.recipe import FineTuneRecipe
from training.gate.gate import judge
from training.gate.general_set import open_general_set
from training.gate.rules import STANDARD, GateRules
from training.simulate.measure import LabelResult, Measured, ObjectResult, measure
from training.simulate.team import Clicks, Labeled, Split, label, name_of, split

Strategy = Literal["random", "saving", "clicks", "uncertainty"]

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
    strategy: Strategy = "random"
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
    without a candidate. reason: the gate's sentence. seconds, gate_seconds: of the fine-tuning and
    of the gate.
    """

    labels: int
    pictures: int
    objects: int
    seconds: float
    gate_seconds: float
    passed: bool | None
    reason: str
    version: str
    measured: Measured


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
    parts = split(dataset, plan.seed)
    _claim(out, str(team), begin.version, plan)
    running = _Running(dataset, parts, begin.path, out, plan, tell)
    rows = [running.row(number) for number in range(len(plan.labels) + 1)]
    tell(1.0, "Done")
    return Simulation(Path(str(team).partition("?")[0]).stem, plan, tuple(rows))


class _Running:
    """The simulation of one team in its folder."""

    def __init__(
        self, dataset: Dataset, parts: Split, start: Path, out: Path, plan: Plan, tell: Tell
    ) -> None:
        self.dataset, self.parts, self.start, self.out, self.plan = dataset, parts, start, out, plan
        self.labels = labels_of(dataset)
        self._tell = tell
        self._number = 0

    def row(self, number: int) -> Row:
        """The row of this number, read or made; those before it are made already."""
        self._number = number
        path = self.out / f"row-{number}.json"
        if not path.exists():
            row, labeled, serving = self._begin() if number == 0 else self._next(number)
            values = {
                "row": dataclasses.asdict(row),
                "clicks": [[i, list(made.items())] for i, made in labeled.clicks.items()],
                "serving": str(serving.resolve()),
            }
            atomic_write(path, json.dumps(values))
        return _row(json.loads(path.read_text(encoding="utf-8"))["row"])

    def _begin(self) -> tuple[Row, Labeled, Path]:
        version = checkpoint.load(self.start).version
        measured = self._measured(self.start)
        row = Row(0, 0, 0, 0.0, 0.0, None, "", version, measured)
        return row, Labeled(self.dataset), self.start

    def _next(self, number: int) -> tuple[Row, Labeled, Path]:
        labels = self.plan.labels[number - 1]
        labeled, champion = self._after(number - 1)
        before = self.row(number - 1)
        self._number = number
        self._label(labeled, min(labels, len(self.parts.pool)), champion)
        train, held_out = self._sides(labeled)
        tuned = fine_tune(
            champion,
            train,
            held_out if len(held_out) else None,
            out=self.out / f"labels-{labels}",
            recipe=dataclasses.replace(self.plan.recipe, seed=self.plan.seed),
            base=self.start,
            tick=lambda done, _: self._at(0.1 + 0.5 * done, "learning"),
        )
        began = time.monotonic()
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
        gate_seconds = time.monotonic() - began
        serving = tuned.folder if verdict.passed else champion
        row = Row(
            labels,
            len(labeled),
            labeled.count(),
            tuned.seconds,
            round(gate_seconds, 1),
            verdict.passed,
            verdict.reason,
            checkpoint.load(serving).version,
            self._measured(serving) if verdict.passed else before.measured,
        )
        # The state to resume from is large and no longer needed.
        for path in tuned.folder.parent.iterdir():
            if path.name != CHECKPOINT:
                path.unlink()
        return row, labeled, serving

    def _after(self, number: int) -> tuple[Labeled, Path]:
        """The labels and the serving version after a row."""
        kept = json.loads((self.out / f"row-{number}.json").read_text(encoding="utf-8"))
        clicks = {
            index: {n: _clicks(made) for n, made in clicks} for index, clicks in kept["clicks"]
        }
        return Labeled(self.dataset, clicks), Path(kept["serving"])

    def _label(self, labeled: Labeled, pictures: int, champion: Path) -> None:
        """Label more pictures, until there are this many."""
        served = self._served(champion)
        chosen = self._chosen(labeled, pictures - len(labeled), served.champion)
        for done, index in enumerate(chosen):
            self._at(0.1 * done / len(chosen), "the team labels")
            labeled.clicks[index] = label(self.dataset, index, served)

    def _chosen(self, labeled: Labeled, count: int, model: Checkpoint) -> Sequence[int]:
        """The pictures to label next, out of the first that are not labeled."""
        left = [index for index in self.parts.pool if index not in labeled.clicks]
        if self.plan.strategy == "random" or count <= 0:
            return left[: max(count, 0)]
        candidates = left[: _CANDIDATES * count]
        scores, descriptors = [], []
        for index in candidates:
            sample = self.dataset[index]
            asked = model.predictor, sample.image, f"{sample.source}:{sample.key}:{index}"
            if self.plan.strategy == "uncertainty":
                scores.append(acquisition.uncertainty(*asked, self.labels, budget=_SCORING))
                continue
            expected = acquisition.expected_clicks(*asked, self.labels, budget=_SCORING)
            by_saving = self.plan.strategy == "saving"
            scores.append(expected.saving if by_saving else expected.clicks)
            descriptors.append(acquisition.descriptor(*asked, budget=_SCORING))
        if descriptors:
            order = acquisition.order(scores, np.stack(descriptors), weight=acquisition.MILD)
        else:
            order = [int(place) for place in np.argsort(-np.array(scores), kind="stable")]
        return [candidates[place] for place in order[:count]]

    def _sides(self, labeled: Labeled) -> tuple[Dataset, Dataset]:
        """What trains and what is held out, by the product's rule."""
        parts = sides([name_of(labeled[place]) for place in range(len(labeled))])
        return Without(labeled, parts["validation"]), Without(labeled, parts["train"])

    def _measured(self, version: Path) -> Measured:
        return measure(
            self._served(version),
            self.dataset,
            self.parts.tested,
            self.labels,
            lambda done: self._at(0.8 + 0.2 * done, "measuring"),
        )

    def _served(self, version: Path) -> Served:
        device = self.plan.recipe.device
        base = Checkpoint(self.start, device=device)
        return Served(base if version == self.start else Checkpoint(version, device=device), base)

    def _at(self, done: float, what: str) -> None:
        labels = (0, *self.plan.labels)[self._number]
        share = (self._number + done) / (len(self.plan.labels) + 1)
        self._tell(share, f"{labels} labels, {what}" if labels else f"The start, {what}")


def _row(values: Mapping[str, Any]) -> Row:
    measured = values["measured"]
    objects = tuple(
        ObjectResult(**{**row, "noc": tuple(row["noc"]), "iou": tuple(row["iou"])})
        for row in measured["objects"]
    )
    labels = tuple(LabelResult(**row) for row in measured["labels"])
    return Row(**{**values, "measured": Measured(objects, labels)})


def _clicks(made: Sequence[Sequence[Any]]) -> Clicks:
    return tuple((float(x), float(y), bool(positive)) for x, y, positive in made)


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
