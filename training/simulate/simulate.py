"""Does the learning loop pay? A simulated team labels, the model is trained again, and so on.

Each strategy chooses which pictures of the pool are labeled next: by the clicks that are expected
(`Expectation.clicks`), by those of them that a training may save (`Expectation.saving`, what the
product orders tasks by), by uncertainty, or at random. The team labels them with the model of
the day, the model is fine-tuned on all labels so far, and the same held-out objects are asked for
again. Every round is a file, so that a simulation which was killed goes on where it was, and
several processes may share its folder, a seed each.

Not simulated: the gate (every candidate is promoted) and base data (what was known is kept by
distillation alone).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model import checkpoint
from model.files import atomic_write
from training.acquisition import acquisition, diversity
from training.data import Dataset, open_dataset
from training.errors import DataError, RecipeError
from training.evaluation.methods import Checkpoint
from training.finetune.fine_tune import CHECKPOINT, fine_tune
from training.finetune.recipe import FineTuneRecipe
from training.simulate.team import (
    GOAL,
    Labeled,
    Split,
    WholePersons,
    label,
    names_of,
    split,
    tried,
)

Strategy = Literal["clicks", "saving", "uncertainty", "random"]
STRATEGIES: tuple[Strategy, ...] = ("clicks", "saving", "uncertainty", "random")
ASKED = "simulation.json"
Say = Callable[[str], None]


@dataclass(frozen=True)
class SimulationRecipe:
    """How much is simulated; the defaults take some twenty minutes of one quiet CPU core a seed."""

    strategies: tuple[Strategy, ...] = STRATEGIES
    rounds: int = 3
    # Pictures labeled a round, and at most so many objects of each.
    pictures: int = 8
    objects: int = 3
    # Of the pool, so many pictures (by chance) are scored each round; 0: all.
    candidates: int = 24
    per_source: int = 150
    # A stream of these sources alone, so many pictures of each at most; none: of every source.
    mixture: tuple[tuple[str, int], ...] = ()
    tests: int = 60
    # Clicks on an object at most, in labeling and in testing; a failure counts as so many.
    most: int = 8
    whole_persons: bool = True
    names: int = 6
    fine_tune: FineTuneRecipe = field(
        default_factory=lambda: FineTuneRecipe(steps=30, looks=1, minutes=60.0)
    )
    budget: acquisition.Budget = field(
        default_factory=lambda: acquisition.Budget(names=6, grid=3, objects=1, clicks=3, side=320)
    )


@dataclass(frozen=True)
class Round:
    """What stands in a round's file. clicks, first: of each tested object, in the split's order.

    clicks: interactions to an IoU of 85 %. first: IoU after the first. spent: clicks with which the
    pictures of this round were labeled, of each label.
    """

    seed: int
    strategy: str
    number: int
    labels: int
    pictures: tuple[int, ...]
    sources: tuple[str, ...]
    spent: tuple[int, ...]
    keys: tuple[str, ...]
    tested: tuple[str, ...]
    clicks: tuple[int, ...]
    first: tuple[float, ...]


def simulate(
    data: Sequence[Path | str],
    *,
    out: Path,
    start: Path | str = "shipped",
    seeds: Sequence[int] = (1, 2, 3),
    recipe: SimulationRecipe = SimulationRecipe(),
    say: Say = lambda text: None,
) -> list[Round]:
    """Simulate what ``out`` does not hold yet, and return every round that it holds.

    data: places as `open_dataset` takes them, which the start was not trained on. say: is told each
    round in a line. Raises RecipeError where the folder holds another simulation.
    """
    dataset: Dataset = open_dataset(list(data))
    if recipe.whole_persons:
        dataset = WholePersons(dataset)
    first = checkpoint.load(start)
    _claim(out, first.version, recipe)
    for seed in seeds:
        parts = split(
            dataset,
            seed,
            per_source=recipe.per_source,
            tests=recipe.tests,
            mixture=dict(recipe.mixture),
        )
        if len(parts.pool) < recipe.rounds * recipe.pictures:
            raise DataError(
                f"{len(parts.pool)} pictures are left to choose from, but {recipe.rounds} rounds "
                f"need {recipe.rounds * recipe.pictures}: lower tests, rounds or pictures."
            )
        _Seed(dataset, parts, first.path, out / f"seed-{seed}", seed, recipe, say).go_on()
    return read_rounds(out)


def read_rounds(out: Path) -> list[Round]:
    """Every finished round in the folder, in the order of seeds, strategies and numbers."""
    found = []
    for path in out.glob("seed-*/*.json"):
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found.append(Round(*(_frozen(values[each.name]) for each in dataclasses.fields(Round))))
    return sorted(found, key=lambda each: (each.seed, each.strategy, each.number))


class _Seed:
    """The simulation of one seed: all strategies, from the same start and on the same objects."""

    def __init__(
        self,
        dataset: Dataset,
        parts: Split,
        start: Path,
        folder: Path,
        seed: int,
        recipe: SimulationRecipe,
        say: Say,
    ) -> None:
        self.dataset, self.parts, self.start, self.folder = dataset, parts, start, folder
        self.seed, self.recipe, self.say = seed, recipe, say
        self.names = names_of(dataset, parts.pool, recipe.names)
        folder.mkdir(parents=True, exist_ok=True)

    def go_on(self) -> None:
        begin = self._before()
        for number in range(1, self.recipe.rounds + 1):
            for strategy in self.recipe.strategies:
                path = self.folder / f"{strategy}-{number}.json"
                if not path.exists():
                    made = self._round(strategy, number)
                    _write(path, dataclasses.asdict(made))
                    gain = np.mean(begin.clicks) - np.mean(made.clicks)
                    self.say(
                        f"seed {self.seed}, {strategy}, round {number}: {made.labels} labels, "
                        f"{np.mean(made.clicks):.3f} clicks an object ({gain:+.3f} saved)"
                    )

    def _before(self) -> Round:
        """How the start does, which is every strategy's round 0."""
        path = self.folder / "start-0.json"
        if not path.exists():
            made = self._tested("start", 0, Labeled(self.dataset), (), (), self.start)
            _write(path, dataclasses.asdict(made))
        return next(r for r in read_rounds(self.folder.parent)
                    if (r.seed, r.strategy) == (self.seed, "start"))  # fmt: skip

    def _round(self, strategy: Strategy, number: int) -> Round:
        recipe = self.recipe
        labeled, model_path = self._so_far(strategy, number)
        model = Checkpoint(model_path, device=recipe.fine_tune.device)
        new = self._chosen(strategy, number, labeled, model)
        spent: list[int] = []
        for index in new:
            made = label(
                self.dataset, index, model, most_objects=recipe.objects, most_clicks=recipe.most
            )
            labeled.clicks[index] = made
            spent.extend(len(each) for each in made.values())
        work = self.folder / f"{strategy}-{number}"
        tuned = fine_tune(
            model_path,
            labeled,
            None,
            out=work,
            recipe=dataclasses.replace(recipe.fine_tune, seed=100 * self.seed + number),
            base=self.start,
        )
        _write(self.folder / f"{strategy}-{number}.labels", _plain(labeled))
        made_round = self._tested(strategy, number, labeled, new, spent, tuned.folder)
        # The state to go on from is of no use any more, and large.
        for path in work.iterdir():
            if path.name != CHECKPOINT:
                path.unlink()
        return made_round

    def _so_far(self, strategy: Strategy, number: int) -> tuple[Labeled, Path]:
        """The labels and the model with which a round begins."""
        labeled = Labeled(self.dataset)
        if number == 1:
            return labeled, self.start
        kept = json.loads((self.folder / f"{strategy}-{number - 1}.labels").read_text("utf-8"))
        for index, made in kept:
            labeled.clicks[index] = {
                about: tuple((x, y, positive) for x, y, positive in clicks)
                for about, clicks in made
            }
        return labeled, self.folder / f"{strategy}-{number - 1}" / CHECKPOINT

    def _chosen(
        self, strategy: Strategy, number: int, labeled: Labeled, model: Checkpoint
    ) -> tuple[int, ...]:
        """The pictures to label next; every strategy may choose of the same candidates."""
        recipe = self.recipe
        rng = np.random.default_rng([self.seed, number, 2])
        left = [int(i) for i in rng.permutation(self.parts.pool) if i not in labeled.clicks]
        if strategy == "random":
            return tuple(left[: recipe.pictures])
        candidates = left[: max(recipe.candidates, recipe.pictures) if recipe.candidates else None]
        scores, seen = [], []
        for index in candidates:
            sample = self.dataset[index]
            key = f"{sample.source}:{sample.key}:{index}"
            asked = (model.predictor, sample.image, key)
            if strategy in ("clicks", "saving"):
                told = acquisition.expected_clicks(*asked, self.names, budget=recipe.budget)
                scores.append(told.clicks if strategy == "clicks" else told.saving)
                seen.append(acquisition.descriptor(*asked, budget=recipe.budget))
            else:
                told_plainly = acquisition.uncertainty(*asked, self.names, budget=recipe.budget)
                scores.append(told_plainly)
        if seen:
            places: Sequence[int] = diversity.order(scores, np.stack(seen), weight=diversity.MILD)
        else:
            places = [int(place) for place in np.argsort(-np.array(scores), kind="stable")]
        return tuple(candidates[place] for place in places[: recipe.pictures])

    def _tested(
        self,
        strategy: str,
        number: int,
        labeled: Labeled,
        new: Sequence[int],
        spent: Sequence[int],
        model_path: Path,
    ) -> Round:
        model = Checkpoint(model_path, device=self.recipe.fine_tune.device)
        clicks, first, keys, tested = [], [], [], []
        for index, about in self.parts.tested:
            sample = self.dataset[index]
            course = tried(sample, about, model, index, self.recipe.most)
            clicks.append(min(course.needed(GOAL), self.recipe.most))
            first.append(round(course.iou(1), 4))
            keys.append(sample.key)
            tested.append(sample.source)
        sources = tuple(self.dataset.sources[index] for index in new)
        return Round(
            self.seed, strategy, number, labeled.count(), tuple(new), sources, tuple(spent),
            tuple(keys), tuple(tested), tuple(clicks), tuple(first),
        )  # fmt: skip


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(labeled: Labeled) -> list[Any]:
    """As JSON, whose keys could not be numbers."""
    return [[index, [[i, c] for i, c in made.items()]] for index, made in labeled.clicks.items()]


def _claim(out: Path, version: str, recipe: SimulationRecipe) -> None:
    """Remember in the folder what is simulated there. Raises RecipeError where it is another."""
    out.mkdir(parents=True, exist_ok=True)
    asked = json.loads(json.dumps({"start": version, "recipe": dataclasses.asdict(recipe)}))
    path = out / ASKED
    if not path.exists():
        _write(path, asked)
    elif json.loads(path.read_text(encoding="utf-8")) != asked:
        raise RecipeError(
            f"{out} holds another simulation: go on with the options that it was begun with (they "
            f"stand in {path}), or name another folder."
        )


def _write(path: Path, value: Any) -> None:
    atomic_write(path, json.dumps(value, indent=1))
