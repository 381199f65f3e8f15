"""The training loop, readable from top to bottom.

One step encodes a batch of views once. For a few rounds the simulated annotator corrects the
network's own answers, without gradients. Then all prompts are answered once more, with the clicks
gathered and the last answer as previous mask; the loss uses this answer only. Everything random in
a step comes from the seed and the step's number, so a killed run continues as if it had not been
interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model import checkpoint
from model.network.phraseclick import Features, PhraseClick
from model.tokenizer import Tokenizer
from training.data import Dataset, open_dataset
from training.data.batches import Batches, Order, made_ahead, workers_for
from training.data.wrappers import categories_of
from training.errors import DataError, RecipeError
from training.evaluation.calibration import write_calibrated
from training.prompts.questions import Batch, prompt_inputs, simulate_corrections
from training.train import optimization, run_folder
from training.train.distributed import Ranks, device_for, joined
from training.train.initialisation import first_network, training_data
from training.train.losses import AttributeLoss, total_loss
from training.train.recipe import Recipe, read_stages
from training.train.run_folder import TensorBoardLog, check_finite, out_of_memory_explained
from training.train.validation import quick_look, spread_cases
from training.train.words import choose_words, read_words, trained_before

log = logging.getLogger(__name__)

# How many times its own minutes a schedule may take while others use the processor.
LONGEST_WAIT = 2.0
# The number of sources to validate on if the recipe names none.
MOST_SOURCES = 4

Report = Callable[[dict[str, Any]], None]
"""Called with each entry of the log."""
Tick = Callable[[float, dict[str, float]], None]
"""Called after each step with the progress, 0 to 1, and the step's figures."""
AuxiliaryLoss = Callable[[PhraseClick, Features, Batch, int], Tensor]
"""An additional loss of a step on the same pictures."""


class Run:
    """One training run in a folder, or this process's part in it."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        data: Path,
        *,
        ranks: Ranks | None = None,
        start: Path | None = None,
        dataset: Dataset | None = None,
        tokenizer: Tokenizer | None = None,
        auxiliary_loss: AuxiliaryLoss | None = None,
    ) -> None:
        """start: a checkpoint to start from, instead of the recipe's.

        dataset: training data, instead of the recipe's. tokenizer: the start's words, perhaps
        extended. auxiliary_loss: added to the loss of each step.
        """
        train = recipe.train
        self.recipe = recipe
        self.folder = folder
        self.ranks = ranks or Ranks(device_for(train.device))
        self.device = self.ranks.device
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_flush_denormal(True)
        torch.backends.cudnn.benchmark = True
        if train.threads:
            torch.set_num_threads(train.threads)
        torch.manual_seed(train.seed)

        if dataset is None:
            dataset = training_data(recipe, folder, data, self.ranks)
        self.auxiliary_loss = auxiliary_loss
        self.val = open_dataset(recipe.data.val, data) if recipe.data.val else None
        self.batches = Batches(dataset, recipe, rank=self.ranks.rank, world=self.ranks.world)
        categories = categories_of(dataset)
        if recipe.data.start and start is None:
            start = data / recipe.data.start
        origin = checkpoint.load(start) if start else None
        self.parent = origin.version if origin else None
        # So that evaluation can tell unseen ones.
        self.categories = sorted({*categories, *(trained_before(origin) if origin else ())})
        if tokenizer is None:
            if self.ranks.first:
                choose_words(folder, recipe, dataset, data, origin)
            self.ranks.wait()
            tokenizer = read_words(folder)
        self.tokenizer = tokenizer
        fitted = not (folder / run_folder.STATE).exists()
        network = first_network(origin, recipe, categories, tokenizer, data, fitted=fitted)
        config = network.config
        for stage in network.backbone.stages[: train.frozen_stages]:
            stage.requires_grad_(False)
        self.network = self.ranks.prepare(network)
        self.ema = optimization.EMA(self.network, self.ranks.place(PhraseClick(config)), train.ema)
        self.attribute_loss = AttributeLoss(config.attributes).to(self.device)
        self.optimizer = optimization.make_optimizer(self.network, train)
        self.amp = optimization.amp_dtype(train.amp, self.device)
        if self.amp is torch.bfloat16 and self.device.type == "cpu":
            optimization.depthwise_in_32_bits(self.network)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp is torch.float16)
        self.step = 0
        self.seconds = 0.0
        # Figures of the steps since the last log entry.
        self.figures: dict[str, list[float]] = {}
        self.passed_over: set[str] = set()
        self._board: TensorBoardLog | None = None

    @property
    def progress(self) -> float:
        """The progress of the schedule, 0 to 1."""
        train = self.recipe.train
        of_steps = self.step / train.steps if train.steps else 0.0
        return max(of_steps, self.seconds / (60.0 * train.minutes) if train.minutes else 0.0)

    def train(self, report: Report, tick: Tick | None = None) -> None:
        """Train to the end of the schedule. Raises DivergedError, TooLargeError, DataError."""
        train = self.recipe.train
        saved, validated = time.monotonic(), self.seconds
        with contextlib.ExitStack() as stack:
            steps = stack.enter_context(contextlib.closing(self.steps()))
            if train.tensorboard and self.ranks.first:
                board = TensorBoardLog(self.folder, self.step)
                self._board = stack.enter_context(contextlib.closing(board))
            for figures in steps:
                if tick:
                    tick(min(self.progress, 1.0), figures)
                if self.step % train.log_every == 0:
                    skipped = {"passed_over": len(self.passed_over)} if self.passed_over else {}
                    self._record(report, {**self.mean_figures(), **skipped})
                if time.monotonic() - saved > 60 * train.save_minutes:
                    self.save()
                    saved = time.monotonic()
                if self.seconds - validated > 60 * train.validate_minutes:
                    self.validate(report)
                    validated = self.seconds
            self.save()
            self.validate(report)
            self.calibrate()
            self.ranks.wait()

    def steps(self) -> Generator[dict[str, float]]:
        """Run the steps to the end of the schedule; yields the figures of each."""
        train = self.recipe.train
        size = f"{train.pictures} pictures x {train.prompts} prompts at crop {train.crop}"
        with contextlib.closing(self._batches_ahead()) as batches:
            while self.progress < 1.0:
                start, cpu_start = time.monotonic(), time.process_time()
                with out_of_memory_explained(self.folder, self.step, f"{size} on {self.device}"):
                    batch = next(batches)
                    waited = time.monotonic() - start
                    figures = {**self.learn(batch.to(self.device)), "waited": waited}
                self.step += 1
                seconds = time.monotonic() - start
                if self.device.type == "cpu":
                    # The schedule waits while others use the processor.
                    computed = time.process_time() - cpu_start
                    seconds = min(seconds, max(computed, seconds / LONGEST_WAIT))
                (seconds,) = self.ranks.mean([seconds])
                self.seconds += seconds
                for name, value in {**figures, "seconds": seconds}.items():
                    self.figures.setdefault(name, []).append(value)
                self.passed_over.update(batch.passed_over)
                yield figures

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step on a batch on the device; returns the figures for the log."""
        train, questions = self.recipe.train, batch.questions
        self.network.train(not train.frozen_norms)
        rate = optimization.set_rates(self.optimizer, train, self.step, self.progress)

        with self._autocast():
            features = self.network.encode(batch.image)
            previous = simulate_corrections(self.network, self.tokenizer, features, batch)
            texts = [question.text for question in questions]
            clicks, words, boxes = prompt_inputs(questions, texts, self.tokenizer, self.device)
            output = self.network.decode(
                features, clicks, words, previous, batch.picture_index, boxes
            )
        loss, parts = total_loss(
            optimization.to_float32(output),
            batch,
            self.attribute_loss,
            self.recipe.loss,
            clicks,
            previous,
        )
        if self.auxiliary_loss is not None:
            with self._autocast():
                parts["auxiliary"] = self.auxiliary_loss(self.network, features, batch, self.step)
            loss = loss + parts["auxiliary"]

        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.ranks.average_gradients(self.network.parameters())
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), train.clip)
        means = [float(loss.detach()), float(norm), float(parts["iou"])]
        mean_loss, mean_norm, mean_iou = self.ranks.mean(means)
        # Scaled gradients may overflow: the scaler skips that step, and adapts.
        gradient = {} if self.scaler.is_enabled() else {"gradient": mean_norm}
        check_finite(self.folder, self.step, batch.keys, loss=mean_loss, **gradient)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ranks.average_buffers(self.network, self.attribute_loss)
        self.ema.update(self.step)
        return {
            **{name: float(value.detach()) for name, value in parts.items()},
            "loss": mean_loss,
            "iou": mean_iou,
            "norm": mean_norm,
            "rate": rate,
        }

    def validate(self, report: Report) -> None:
        """Log a quick evaluation on fixed objects, by source."""
        if self.val is None or not self.ranks.first:
            return
        train = self.recipe.train
        largest = [source for source, _ in Counter(self.val.sources).most_common(MOST_SOURCES)]
        looks = {}
        for source in train.validate_sources or largest:
            if cases := spread_cases(self.val, train.validate_objects, source):
                looks[source] = quick_look(self.ema.network, self.tokenizer, self.val, cases)
        self._record(report, looks)

    def save(self) -> None:
        """Write the state to resume from, and the averaged network as a checkpoint."""
        if not self.ranks.first:
            return
        run_folder.write_state(self.folder, self.snapshot())
        metrics = {
            "step": self.step,
            "seconds": round(self.seconds),
            "categories": self.categories,
            "recipe": dataclasses.asdict(self.recipe),
        }
        run_folder.export(
            self.folder, self.step, self.ema.network, self.tokenizer, metrics, self.parent
        )

    def calibrate(self) -> None:
        """Calibrate the newest checkpoint's confidence on validation objects, as a new checkpoint.

        Without validation data, or with too few objects, the checkpoint stays as it is.
        """
        if self.val is None or not self.ranks.first:
            return
        latest = self.folder / run_folder.LATEST
        target = latest.resolve().with_name(f"step-{self.step:06d}-calibrated")
        if target.exists():
            return
        options: Any = {"limit": self.recipe.train.validate_objects, "device": str(self.device)}
        try:
            version, report = write_calibrated(latest, target, self.val, **options)
        except DataError as error:
            log.warning("The confidence is not calibrated: %s", error)
            return
        run_folder.point(latest, target)
        log.info("%s: confidence calibrated on %d objects; error %.3f, correlation %.2f.",
                 version, report.count, report.error, report.correlation)  # fmt: skip

    def snapshot(self) -> dict[str, Any]:
        """The state to continue from."""
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "step": self.step,
            "seconds": self.seconds,
            "figures": self.figures,
            "passed_over": sorted(self.passed_over),
        }

    def resume(self) -> None:
        """Resume from the folder's state, if any."""
        saved = run_folder.read_state(self.folder)
        if saved is not None:
            self.restore(saved)
            log.info("Resuming at step %d.", self.step)

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Resume from this state. Raises RecipeError if it is another network's."""
        try:
            for name, part in self._parts().items():
                part.load_state_dict(saved[name])
        except (KeyError, ValueError, RuntimeError) as error:
            raise RecipeError(
                f"The state in {self.folder} belongs to another network than the recipe's: use the "
                f"recipe it was made with, or name another folder. ({error})"
            ) from error
        self.step, self.seconds = int(saved["step"]), float(saved["seconds"])
        self.figures = saved["figures"]
        self.passed_over = set(saved["passed_over"])
        if self.ranks.first:
            run_folder.rewind_history(self.folder, self.step)

    def _parts(self) -> dict[str, Any]:
        """The parts that change with a step and have a state."""
        return {
            "network": self.network,
            "average": self.ema.network,
            "optimizer": self.optimizer,
            "precision": self.scaler,
            "attribute_loss": self.attribute_loss,
        }

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.amp, enabled=self.amp is not None)

    def _batches_ahead(self) -> Generator[Batch]:
        train = self.recipe.train
        workers = workers_for(train.workers, self.device, os.cpu_count() or 1, self.ranks.world)
        pinned = self.device.type == "cuda"
        return made_ahead(self.batches.make, self._orders(), workers, pinned=pinned)

    def _orders(self) -> Iterator[Order]:
        """Each remaining step, and the size of its views."""
        train = self.recipe.train
        for step in itertools.count(self.step):
            # In a schedule by time the size depends on when the batch is made.
            done = step / train.steps if train.steps else self.progress
            small = train.first_crop and done < train.first_share
            yield step, train.first_crop if small else train.crop

    def mean_figures(self) -> dict[str, float]:
        """The means over the steps since the last call."""
        means = {name: float(np.mean(values)) for name, values in self.figures.items()}
        self.figures = {}
        return means

    def _record(self, report: Report, figures: dict[str, Any]) -> None:
        entry = {"step": self.step, "progress": self.progress, **figures}
        if self.ranks.first:
            run_folder.append_history(self.folder, entry)
            if self._board:
                self._board.write(self.step, figures)
            report(entry)


def main(
    config: Path,
    *,
    out: Path,
    report: Report,
    data: Path = Path(),
    resume: bool = True,
    tick: Tick | None = None,
) -> Path:
    """Train by a TOML recipe and return the folder of the last checkpoint.

    out: the run's folder; each stage has its own folder in it. resume: continue a stopped run;
    otherwise a folder with a state raises RecipeError.
    """
    stages = read_stages(config)
    folders = [out / stage.name for stage in stages]
    if not resume and any((folder / run_folder.STATE).exists() for folder in folders):
        raise RecipeError(f"{out} already has a run: resume it, or name another folder.")
    with joined(device_for(stages[0].recipe.train.device)) as ranks:
        start: Path | None = None
        for number, (stage, folder) in enumerate(zip(stages, folders, strict=True)):
            run = Run(stage.recipe, folder, data, ranks=ranks, start=start)
            run.resume()
            if run.progress < 1.0:
                run.train(
                    _of_stage(stage.name, report), tick and _of_all(tick, number, len(stages))
                )
            start = folder / run_folder.LATEST
            if stage.name and ranks.first:
                run_folder.point(out / run_folder.LATEST, start)
    return out / run_folder.LATEST


def _of_stage(name: str, report: Report) -> Report:
    return (lambda entry: report({"stage": name, **entry})) if name else report


def _of_all(tick: Tick, number: int, stages: int) -> Tick:
    return lambda progress, figures: tick((number + progress) / stages, figures)
