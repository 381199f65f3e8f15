"""Fine-tuning: from the champion and a team's labels to a candidate, in minutes.

It runs the loop of training/train/loop.py with a short schedule, norms that keep their statistics,
and the clicks of people among the simulated ones (training/finetune/recipe.py). The averaged
weights at the end become the candidate. They are measured on the team's held-out part on the way,
for people to see; a choice among them would be a choice by chance, as that part is small.

Everything is in one folder: the state to resume from, the log, and in the end `checkpoint`. The
same call in the same folder resumes after a kill and ends as the undisturbed run would have. A call
for something else (another champion, other labels, another recipe) starts from the beginning.
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

from model import checkpoint, checkpoint_files
from model.checkpoint import Checkpoint
from model.files import atomic_write
from training.data import Concatenated, Dataset
from training.data.wrappers import Downscaled, Renamed, Turned
from training.errors import DataError
from training.evaluation.cases import Case
from training.finetune.distillation import Distillation
from training.finetune.labels import labels_of, learned_labels
from training.finetune.recipe import THOROUGH, FineTuneRecipe, loop_recipe
from training.prompts.scenes import TEAM
from training.train import run_folder
from training.train.distributed import device_for
from training.train.loop import Run, Tick
from training.train.validation import quick_look, spread_cases
from training.train.words import with_new_words

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint"
REQUEST = "request.json"
# Figures of a measurement whose mean is its score: what an annotator sees first.
SCORED = ("clicks@1", "clicks@2", "clicks@3", "phrase@1", "phrase only")

Check = Callable[[], None]
"""Called before each step; an exception ends the run, which can be resumed."""


@dataclass(frozen=True)
class FineTuned:
    """A candidate. folder: its checkpoint.

    metrics: as the checkpoint has them, of them ``step``, ``seconds``, ``stopped`` ("steps" or
    "minutes"), ``before`` and ``after`` (mean IoU on the validation part, empty without one), and
    ``curve`` (one entry for each measurement).
    """

    folder: Path
    version: str
    metrics: Mapping[str, Any]


def fine_tune(
    champion: Path,
    train: Dataset,
    validation: Dataset | None,
    *,
    out: Path,
    recipe: FineTuneRecipe = THOROUGH,
    base: Path | None = None,
    replay: Dataset | None = None,
    name: str = "phraseclick",
    tick: Tick | None = None,
    check: Check | None = None,
) -> FineTuned:
    """Make a candidate from the champion and the team's labels; the champion is only read.

    Args:
        base: the model whose answers are rehearsed beside the labels, by default the champion.
        replay: base data to rehearse instead.
        name: first part of the candidate's version.
        tick: called after each step with how much is done, 0 to 1, and the step's figures.

    Raises DataError if nothing is labeled, DivergedError, TooLargeError, and what ``check`` raises.
    """
    if not sum(len(train.objects(index)) for index in range(len(train))):
        raise DataError("There is no labeled object to learn from: accept some labels first.")
    start = checkpoint.load(champion)
    teacher = start if base is None else checkpoint.load(base)
    inputs = _Inputs(start, teacher, train, validation, replay, recipe)
    request = json.dumps(inputs.request()).encode()
    out.mkdir(parents=True, exist_ok=True)
    if not ((out / REQUEST).exists() and (out / REQUEST).read_bytes() == request):
        # Remove what another call left, its request first.
        for left in (REQUEST, run_folder.STATE, run_folder.HISTORY):
            (out / left).unlink(missing_ok=True)
        if (out / CHECKPOINT).exists():
            shutil.rmtree(out / CHECKPOINT)
        atomic_write(out / REQUEST, request)
    elif (out / CHECKPOINT).exists():
        return _finished(out / CHECKPOINT)
    training = _Training(inputs, out)
    stopped = training.resume(tick, check)
    return training.finish(name, stopped)


@dataclass(frozen=True)
class _Inputs:
    """What a fine-tuning is made from."""

    start: Checkpoint
    teacher: Checkpoint
    train: Dataset
    validation: Dataset | None
    replay: Dataset | None
    recipe: FineTuneRecipe

    def request(self) -> dict[str, Any]:
        """What a folder's run is about: only a call for the same may resume it."""
        changeable = {"minutes", "threads", "device", "gpu_share", "save_seconds"}
        values = dataclasses.asdict(self.recipe)
        return {
            "champion": self.start.version,
            "base": self.teacher.version,
            "train": _digest(self.train),
            "validation": "" if self.validation is None else _digest(self.validation),
            "replay": "" if self.replay is None else f"{len(self.replay)} pictures",
            "recipe": {key: value for key, value in values.items() if key not in changeable},
        }

    def counts(self) -> dict[str, int]:
        train = self.train
        objects = [about for index in range(len(train)) for about in train.objects(index)]
        return {
            "pictures": len(train),
            "labels": len(objects),
            "clicked": sum(bool(about.clicks) for about in objects),
            "with_phrase": sum(bool(about.phrases) for about in objects),
            "validation_pictures": 0 if self.validation is None else len(self.validation),
            "replay_pictures": 0 if self.replay is None else len(self.replay),
        }


class _Training:
    """A fine-tuning: the run and its measurements."""

    def __init__(self, inputs: _Inputs, out: Path) -> None:
        self.inputs, self.out = inputs, out
        start, train, replay, recipe = inputs.start, inputs.train, inputs.replay, inputs.recipe
        validation = inputs.validation
        self.validation = None if validation is None else Downscaled(validation)
        if replay is not None and TEAM in replay.sources:
            replay = Renamed(replay, "replay")
        self.counts = inputs.counts()
        self.labels = learned_labels(labels_of(start.metrics.get("metrics", {})), train)
        device = device_for(recipe.device)
        if device.type == "cuda" and recipe.gpu_share > 0:
            torch.cuda.set_per_process_memory_fraction(recipe.gpu_share, device)
        tokenizer = with_new_words(start.tokenizer(), train)
        team: Dataset = Renamed(Turned(Downscaled(train)), TEAM)
        auxiliary_loss = None
        if replay is None and recipe.distillation > 0:
            auxiliary_loss = Distillation(
                inputs.teacher,
                tokenizer,
                device,
                weight=recipe.distillation,
                every=recipe.distill_every,
                seed=recipe.seed,
            )
        self.run = Run(
            loop_recipe(recipe, self.counts["labels"], replay),
            out,
            out,
            start=start.path,
            dataset=team if replay is None else Concatenated([team, replay]),
            tokenizer=tokenizer,
            auxiliary_loss=auxiliary_loss,
        )
        self.cases: list[Case] = []
        if self.validation is not None:
            self.cases = spread_cases(self.validation, recipe.look_objects)
        self.looks: list[dict[str, Any]] = []
        saved = run_folder.read_state(out)
        if saved is not None:
            self.looks = saved.pop("looks")
            self.run.restore(saved)
            log.info("Resuming the fine-tuning at step %d.", self.run.step)

    def resume(self, tick: Tick | None, check: Check | None) -> str:
        """Learn to the end; returns what ended it."""
        recipe, saved = self.inputs.recipe, time.monotonic()
        if not self.looks:
            self._look()
        with contextlib.closing(self.run.steps()) as steps:
            while True:
                if check:
                    try:
                        check()
                    except Exception:
                        self._save()
                        raise
                figures = next(steps, None)
                if figures is None:
                    break
                if tick:
                    tick(min(self.run.progress, 1.0), figures)
                due = self.run.progress >= len(self.looks) / recipe.looks
                if due:
                    self._look()
                if due or time.monotonic() - saved > recipe.save_seconds:
                    self._save()
                    saved = time.monotonic()
        self._save()
        return "steps" if self.run.step >= self.run.recipe.train.steps else "minutes"

    def finish(self, name: str, stopped: str) -> FineTuned:
        """Write the candidate with its metrics."""
        run, network = self.run, self.run.ema.network
        before: Mapping[str, float] = {}
        after: Mapping[str, float] = {}
        if self.cases:
            before, after = self.looks[0]["validation"], self.looks[-1]["validation"]
        metrics = {
            "step": run.step,
            "seconds": round(run.seconds, 1),
            "stopped": stopped,
            "categories": run.categories,
            "recipe": dataclasses.asdict(self.inputs.recipe),
            "base": self.inputs.teacher.version,
            "data": self.counts,
            "labels": self.labels,
            "new_words": list(run.tokenizer.words[len(self.inputs.start.words) :]),
            "before": before,
            "after": after,
            "curve": self.looks,
            "passed_over": sorted(run.passed_over),
        }
        folder, parent = self.out / CHECKPOINT, self.inputs.start.version
        run_folder.save_checkpoint(folder, network, run.tokenizer, metrics, name, parent)
        return _finished(folder)

    def _look(self) -> None:
        """Measure on the validation part, and log the figures."""
        run = self.run
        entry: dict[str, Any] = {"step": run.step, "progress": round(run.progress, 4)}
        entry |= {name: round(value, 5) for name, value in run.mean_figures().items()}
        if self.cases and self.validation is not None:
            network = run.ema.network
            figures = quick_look(network, run.tokenizer, self.validation, self.cases, most=3)
            measured = [figures[name] for name in SCORED if name in figures]
            entry["validation"] = {key: round(value, 4) for key, value in figures.items()}
            entry["score"] = sum(measured) / len(measured) if measured else 0.0
        self.looks.append(entry)
        run_folder.append_history(self.out, entry)

    def _save(self) -> None:
        run_folder.write_state(self.out, {**self.run.snapshot(), "looks": self.looks})


def _digest(dataset: Dataset) -> str:
    """A hash of everything that is known of a data set without decoding it."""
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        digest.update(repr((dataset.size(index), dataset.objects(index))).encode())
    return digest.hexdigest()


def _finished(folder: Path) -> FineTuned:
    """The result, from the metrics of a written candidate."""
    about = checkpoint_files.about(folder)
    return FineTuned(folder, about["version"], about["metrics"])
