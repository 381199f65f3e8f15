"""Fine-tuning: from the champion and a team's few labels to a candidate, in minutes.

It is the loop of loop.py with what few labels of one kind ask for: a short schedule at low rates,
norms that keep their statistics, the clicks that people really made among the simulated ones, and
something that keeps what the champion knew (a share of base data, else distillation against the
base model). On the team's validation part it is looked at a few times on the way, and the weights
that did best there are handed on.

Everything lies in one folder: the state to go on from, the log, and in the end `checkpoint`. The
same call in the same folder goes on after a kill as if nothing had happened; a call that asks for
something else (another champion, other labels, another recipe) begins anew there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model import checkpoint
from model.checkpoint import Checkpoint
from model.files import atomic_write
from model.network.phraseclick import PhraseClick
from training.data import Dataset, Joined
from training.data.wrappers import Renamed, Shrunk
from training.errors import DataError, RecipeError
from training.finetune.distillation import Distillation
from training.prompts.prompts import PromptRecipe
from training.prompts.word_vectors import with_new_words
from training.train import state
from training.train.distributed import device_for
from training.train.loop import Run, Tick
from training.train.recipe import DataRecipe, Recipe, TrainRecipe
from training.train.validation import Case, quick_look, spread_cases

log = logging.getLogger(__name__)

TEAM = "team"
CHECKPOINT = "checkpoint"
ASKED = "asked.json"
# Measures of a look whose mean is the score: what an annotator sees first.
SCORED = ("clicks@1", "clicks@2", "clicks@3", "phrase@1")
# Sources of the pack and of VOC whose borders are drawn coarsely.
COARSE = ("voc", "sbd")

Check = Callable[[], None]
"""Is called before each step; whatever it raises ends the run, which can be gone on with."""


@dataclass(frozen=True)
class FineTuneRecipe:
    """How much is learned from a team's labels, and how carefully."""

    seed: int = 1
    # The schedule ends after so many steps (0: by the number of labels, see `steps_for`) or so many
    # minutes, whichever comes first. Only where the minutes end it does the clock matter.
    steps: int = 0
    minutes: float = 6.0
    # Few pictures with many questions, nearly as large as they are served: most for its seconds.
    pictures: int = 2
    prompts: int = 4
    crop: int = 320
    rate: float = 3e-4
    backbone_rate: float = 3e-5
    ema: float = 0.95
    # Of the pictures of a step, how many are base data, where there are such.
    replay_share: float = 0.5
    # Weight of the distillation's loss, where there are none; 0: nothing is distilled.
    distillation: float = 10.0
    # How far the candidate lies on the way from the champion's weights to those that were learned:
    # two thirds hold most of what was gained and less of what was lost (Wortsman et al. 2022).
    blend: float = 0.7
    # Of first clicks on what people clicked: how often theirs, not simulated ones.
    people: float = 0.5
    # How often the team's validation part is looked at, how many of its objects, and after how many
    # looks without a better one the rest is not worth its time.
    looks: int = 4
    look_objects: int = 24
    patience: int = 2
    # Threads of the network on a CPU; 0 leaves it to torch.
    threads: int = 1
    device: str = "auto"
    # The most of a GPU's memory that may be taken, as a share; 0: no bound.
    gpu_share: float = 0.0
    save_seconds: float = 60.0


@dataclass(frozen=True)
class FineTuned:
    """A candidate. folder: its checkpoint. stopped: "steps", "minutes" or "validation".

    before, after: mean IoU on the validation part (train/validation.py), empty without one.
    curve: the log, an entry a look.
    """

    folder: Path
    version: str
    steps: int
    seconds: float
    stopped: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    curve: tuple[Mapping[str, Any], ...]


def fine_tune(
    champion: Path,
    train: Dataset,
    validation: Dataset | None,
    *,
    out: Path,
    recipe: FineTuneRecipe = FineTuneRecipe(),
    base: Path | None = None,
    replay: Dataset | None = None,
    name: str = "phraseclick",
    tick: Tick | None = None,
    check: Check | None = None,
) -> FineTuned:
    """Make a candidate from the champion and the team's labels; the champion is only read.

    base: the model whose knowledge is kept by distillation, by default the champion. replay: base
    data to keep it by instead. name: first part of the candidate's version. tick: told after each
    step how much is done, 0 to 1, and the step's figures. Raises DataError where nothing is
    labeled, DivergedError, TooLargeError, and whatever ``check`` raises.
    """
    if not sum(len(train.objects(index)) for index in range(len(train))):
        raise DataError("There is no labeled object to learn from: accept some labels first.")
    start = checkpoint.load(champion)
    kept = start if base is None else checkpoint.load(base)
    asked = _asked(start, kept, train, validation, replay, recipe)
    out.mkdir(parents=True, exist_ok=True)
    if _begun(out) != asked:
        _clear(out)
        _write(out / ASKED, asked)
    elif (out / CHECKPOINT).exists():
        return _finished(out / CHECKPOINT)
    training = _Training(start, kept, train, validation, replay, out, recipe)
    stopped = training.go_on(tick, check)
    return training.finish(name, stopped, asked)


def steps_for(labels: int) -> int:
    """Steps for so many labeled objects: enough to see each a few times, and never very many."""
    return max(60, min(200, labels + 20))


class _Training:
    """A fine-tuning as it stands: the run, the looks at it, and the best weights so far."""

    def __init__(
        self,
        start: Checkpoint,
        kept: Checkpoint,
        train: Dataset,
        validation: Dataset | None,
        replay: Dataset | None,
        out: Path,
        recipe: FineTuneRecipe,
    ) -> None:
        self.out = out
        self.recipe = recipe
        self.start = start
        self.validation = None if validation is None else Shrunk(validation)
        self.counts = _counts(train, validation, replay)
        device = device_for(recipe.device)
        if device.type == "cuda" and recipe.gpu_share > 0:
            torch.cuda.set_per_process_memory_fraction(recipe.gpu_share, device)
        tokenizer = with_new_words(start.tokenizer(), train)
        team: Dataset = Renamed(Shrunk(train), TEAM)
        beside = None
        if replay is None and recipe.distillation > 0:
            beside = Distillation(kept, tokenizer, device, recipe.distillation, recipe.seed)
        self.run = Run(
            _recipe(recipe, self.counts["labels"], replay),
            out,
            out,
            start=start.path,
            dataset=team if replay is None else Joined([team, _as_replay(replay)]),
            tokenizer=tokenizer,
            beside=beside,
        )
        self.cases: list[Case] = []
        if self.validation is not None:
            self.cases = spread_cases(self.validation, recipe.look_objects)
        self.looks: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        found = state.read_state(out)
        if found is not None:
            self.looks, self.best = found.pop("looks"), found.pop("best")
            self.run.restore(found)
            log.info("Going on with the fine-tuning at step %d.", self.run.step)

    @property
    def before(self) -> dict[str, float]:
        """The champion's figures."""
        return dict(self.looks[0]["validation"]) if self.looks and self.cases else {}

    def go_on(self, tick: Tick | None, check: Check | None) -> str:
        """Learn to the end; returns what ended it."""
        saved = time.monotonic()
        if not self.looks:
            self._look()
        with contextlib.closing(self.run.steps()) as steps:
            while not self._stale():
                if check:
                    check()
                figures = next(steps, None)
                if figures is None:
                    break
                if tick:
                    tick(min(self.run.progress, 1.0), figures)
                due = self.run.progress >= len(self.looks) / self.recipe.looks
                if due:
                    self._look()
                if due or time.monotonic() - saved > self.recipe.save_seconds:
                    self._save()
                    saved = time.monotonic()
        self._save()
        if self._stale():
            return "validation"
        return "steps" if self.run.step >= self.run.recipe.train.steps else "minutes"

    def finish(self, name: str, stopped: str, asked: Mapping[str, Any]) -> FineTuned:
        """Write the candidate, and what became of it."""
        run = self.run
        network = self._candidate()
        after: Mapping[str, float] = {}
        if self.best:
            network.load_state_dict(self.best)
            after = max(self.looks[1:], key=lambda look: float(look["score"]))["validation"]
        metrics = {
            "step": run.step,
            "seconds": round(run.seconds, 1),
            "stopped": stopped,
            "categories": run.categories,
            "recipe": dataclasses.asdict(self.recipe),
            "base": asked["base"],
            "data": self.counts,
            "new_words": list(run.tokenizer.words[len(self.start.words) :]),
            "before": self.before,
            "after": dict(after),
            "curve": self.looks,
            "passed_over": sorted(run.passed_over),
        }
        folder = self.out / CHECKPOINT
        tokenizer = run.tokenizer
        checkpoint.save(
            folder,
            network,
            tokenizer.words,
            tokenizer.vectors,
            metrics,
            trained=tokenizer.trained,
            name=name,
            parent=self.start.version,
        )
        return _finished(folder)

    def _look(self) -> None:
        """Look at the validation part, keep the weights if none did better, and log the figures."""
        run = self.run
        entry: dict[str, Any] = {"step": run.step, "progress": round(run.progress, 4)}
        steps = {name: sum(values) / len(values) for name, values in run.figures.items()}
        entry.update({name: round(value, 5) for name, value in steps.items()})
        run.figures = {}
        if self.cases and self.validation is not None:
            network = self._candidate()
            figures = quick_look(network, run.tokenizer, self.validation, self.cases, most=3)
            measured = [figures[name] for name in SCORED if name in figures]
            entry["validation"] = {key: round(value, 4) for key, value in figures.items()}
            entry["score"] = sum(measured) / len(measured) if measured else 0.0
            earlier = [float(look["score"]) for look in self.looks[1:]]
            if self.looks and entry["score"] > max(earlier, default=-1.0):
                weights = network.state_dict()
                self.best = {key: value.detach().cpu().clone() for key, value in weights.items()}
        self.looks.append(entry)
        state.append_history(self.out, entry)

    def _candidate(self) -> PhraseClick:
        """The network as it would be handed on now."""
        network = PhraseClick(self.run.network.config).to(self.run.device)
        learned = self.run.average.network.state_dict()
        share = self.recipe.blend
        network.load_state_dict(
            {
                name: _blended(self.start.state.get(name), each, share)
                for name, each in learned.items()
            }
        )
        return network.eval()

    def _stale(self) -> bool:
        """Whether the last looks all were no better than one before."""
        scores = [float(look["score"]) for look in self.looks if "score" in look]
        patience = self.recipe.patience
        if not patience or len(scores) <= patience + 1:
            return False
        return max(scores[-patience:]) <= max(scores[1:-patience])

    def _save(self) -> None:
        saved = {**self.run.snapshot(), "looks": self.looks, "best": self.best}
        state.write_state(self.out, saved)


def _blended(old: Tensor | None, learned: Tensor, share: float) -> Tensor:
    """So far from the old numbers to the learned ones; what has grown is as it was learned."""
    if old is None or old.shape != learned.shape or not learned.is_floating_point():
        return learned
    return torch.lerp(old.to(learned), learned, share)


def _recipe(recipe: FineTuneRecipe, labels: int, replay: Dataset | None) -> Recipe:
    """The loop's recipe."""
    if recipe.looks < 1 or not 0.0 <= recipe.replay_share < 1.0:
        raise RecipeError("looks must be 1 or more, and replay_share from 0 to below 1.")
    share = 0.0 if replay is None else recipe.replay_share
    sources = () if replay is None else tuple(_as_replay(replay).sources)
    weights = {source: share * sources.count(source) / len(sources) for source in set(sources)}
    return Recipe(
        data=DataRecipe(weights={**weights, TEAM: 1.0 - share}, several=2, coarse_sources=COARSE),
        train=TrainRecipe(
            seed=recipe.seed,
            steps=recipe.steps or steps_for(labels),
            minutes=recipe.minutes,
            pictures=recipe.pictures,
            prompts=recipe.prompts,
            crop=recipe.crop,
            rounds=(0.5, 0.25, 0.15, 0.1),
            many=0.05,
            rate=recipe.rate,
            backbone_rate=recipe.backbone_rate,
            warmup=10,
            ema=recipe.ema,
            frozen_norms=True,
            device=recipe.device,
            threads=recipe.threads,
            workers=0,
        ),
        prompts=PromptRecipe(
            both=0.4,
            phrase_only=0.15,
            absent=0.02,
            phrase_first=0.1,
            phrase_late=0.08,
            people=recipe.people,
        ),
    )


def _as_replay(replay: Dataset) -> Dataset:
    """Base data under names of their own: a source that is called as the team's is not the team."""
    return Renamed(replay, "replay") if TEAM in replay.sources else replay


def _counts(train: Dataset, validation: Dataset | None, replay: Dataset | None) -> dict[str, int]:
    objects = [each for index in range(len(train)) for each in train.objects(index)]
    return {
        "pictures": len(train),
        "labels": len(objects),
        "clicked": sum(bool(each.clicks) for each in objects),
        "with_phrase": sum(bool(each.phrases) for each in objects),
        "validation_pictures": 0 if validation is None else len(validation),
        "replay_pictures": 0 if replay is None else len(replay),
    }


def _asked(
    start: Checkpoint,
    kept: Checkpoint,
    train: Dataset,
    validation: Dataset | None,
    replay: Dataset | None,
    recipe: FineTuneRecipe,
) -> dict[str, Any]:
    """What a folder's run is about: only a call that asks for the same may go on with it."""
    lasting = {"minutes", "threads", "device", "gpu_share", "save_seconds"}
    values = dataclasses.asdict(recipe)
    return {
        "champion": start.version,
        "base": kept.version,
        "train": _digest(train),
        "validation": "" if validation is None else _digest(validation),
        "replay": "" if replay is None else f"{len(replay)} pictures",
        "recipe": {key: value for key, value in values.items() if key not in lasting},
    }


def _digest(dataset: Dataset) -> str:
    """Of everything that is known of a data set without decoding it."""
    found = hashlib.sha256()
    for index in range(len(dataset)):
        found.update(repr((dataset.size(index), dataset.objects(index))).encode())
    return found.hexdigest()


def _begun(out: Path) -> Any:
    try:
        return json.loads((out / ASKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _clear(out: Path) -> None:
    """Remove what another call left, the claim to it first."""
    for each in (ASKED, state.STATE, state.HISTORY):
        (out / each).unlink(missing_ok=True)
    if (out / CHECKPOINT).exists():
        shutil.rmtree(out / CHECKPOINT)


def _write(path: Path, value: Mapping[str, Any]) -> None:
    atomic_write(path, json.dumps(value))


def _finished(folder: Path) -> FineTuned:
    """What a written candidate says of itself."""
    loaded = checkpoint.load(folder)
    metrics = loaded.metrics["metrics"]
    return FineTuned(
        folder,
        loaded.version,
        int(metrics["step"]),
        float(metrics["seconds"]),
        str(metrics["stopped"]),
        metrics["before"],
        metrics["after"],
        tuple(metrics["curve"]),
    )
