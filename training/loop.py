"""The training loop, readable from top to bottom.

One step: a batch of views is encoded once; the simulated annotator looks at the network's own
answers for a few rounds and corrects them (nothing is learned from those); then all prompts, with
the clicks gathered and the last answer as previous mask, are answered once more, and that answer
is learned from. Everything random in a step comes from the seed and the step's number, so a run
that was killed goes on as if it had not been.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model import checkpoint
from model.config import ModelConfig
from model.network import PhraseClick
from model.phrase_reader import PhraseReader
from training.batches import Batch, Batches, click_batch, held_attributes, word_batch
from training.datasets import PackDataset
from training.errors import DivergedError, RecipeError
from training.growth import grow_from
from training.losses import AttributeLoss, total_loss
from training.recipe import Recipe, read_recipe
from training.simulation import corrected
from training.validation import choose_cases, quick_look
from training.vocabulary import attributes_for, concept_of
from training.word_vectors import DIM, train_word_vectors

log = logging.getLogger(__name__)

STATE = "state.pt"
HISTORY = "log.jsonl"
LATEST = "latest"
# How many exported checkpoints a run keeps beside the one `latest` points to.
KEPT = 2
Report = Callable[[dict[str, Any]], None]


class Run:
    """One training run in a folder: ``state.pt`` to go on from, ``latest/`` to be used."""

    def __init__(self, recipe: Recipe, folder: Path, data: Path) -> None:
        self.recipe = recipe
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        train = recipe.train
        torch.set_flush_denormal(True)
        if train.threads:
            torch.set_num_threads(train.threads)
        torch.manual_seed(train.seed)
        self.dataset = PackDataset([data / name for name in recipe.data.train])
        self.val = PackDataset([data / n for n in recipe.data.val]) if recipe.data.val else None
        self.batches = Batches(self.dataset, recipe)
        start = checkpoint.load(data / recipe.data.start) if recipe.data.start else None
        self.reader = start.reader() if start else self._word_vectors(data)
        config = self._grown(start.config) if start else self._config()
        self.network = PhraseClick(config)
        if start:
            grow_from(self.network, start.state)
        if recipe.data.backbone_weights and not start:
            weights = data / recipe.data.backbone_weights
            self.network.backbone.load_pretrained(
                weights if weights.exists() else recipe.data.backbone_weights
            )
        self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = PhraseClick(config).requires_grad_(False).eval()
        self.average.load_state_dict(self.network.state_dict())
        self.attribute_loss = AttributeLoss(len(config.attributes))
        self.attribute_index = {name: i for i, name in enumerate(config.attributes)}
        self.optimizer = torch.optim.AdamW(self._parameter_groups())
        self.step = 0
        self.seconds = 0.0

    @property
    def progress(self) -> float:
        """How much of the schedule is done, 0 to 1."""
        train = self.recipe.train
        return self.step / train.steps if train.steps else self.seconds / (60.0 * train.minutes)

    def train(self, report: Report) -> None:
        """Train to the end of the schedule. Raises DivergedError when the loss is no number."""
        train = self.recipe.train
        saved, validated = self.seconds, self.seconds
        sums: dict[str, list[float]] = {}
        with ThreadPoolExecutor(1) as ahead:
            upcoming: Future[Batch] = ahead.submit(self.batches.make, self.step, self._crop())
            while self.progress < 1.0:
                start = time.monotonic()
                batch = upcoming.result()
                waited = time.monotonic() - start
                upcoming = ahead.submit(self.batches.make, self.step + 1, self._crop(1))
                parts = self.learn(batch)
                self.step += 1
                self.seconds += time.monotonic() - start
                parts["seconds"] = time.monotonic() - start
                parts["waited"] = waited
                for name, value in parts.items():
                    sums.setdefault(name, []).append(value)
                if self.step % train.log_every == 0:
                    means = {name: float(np.mean(values)) for name, values in sums.items()}
                    self._record(report, {"step": self.step, "progress": self.progress, **means})
                    sums = {}
                if self.seconds - saved > 60 * train.save_minutes:
                    self.save()
                    saved = self.seconds
                if self.seconds - validated > 60 * train.validate_minutes:
                    self.validate(report)
                    validated = self.seconds
        self.save()
        self.validate(report)

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step on one batch; returns the losses."""
        self.network.train()
        rate = self._set_rates()
        features = self.network.encode(batch.image)
        previous = corrected(self.network, self.reader, features, batch, self.recipe.train.rounds)
        output = self.network.decode(
            features,
            click_batch(batch.prompts),
            word_batch([prompt.text for prompt in batch.prompts], self.reader),
            previous,
            batch.picture_index,
        )
        has_phrase = torch.tensor([prompt.phrase is not None for prompt in batch.prompts])
        loss, parts = total_loss(
            output,
            batch.target,
            batch.void,
            batch.coarse_source,
            held_attributes(batch.prompts, self.attribute_index),
            has_phrase,
            self.attribute_loss,
            self.recipe.loss,
        )
        reached = float(loss.detach())
        if not math.isfinite(reached):
            raise DivergedError(
                f"The loss became {reached} in step {self.step}. Lower train.rate, or look at "
                f"the pictures of this step; the last good state is in {self.folder / STATE}."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.train.clip)
        self.optimizer.step()
        self._follow()
        wrong = (output.logits_full().detach() > 0) != (batch.target > 0.5)
        union = ((output.logits_full().detach() > 0) | (batch.target > 0.5)) & ~batch.void
        iou = 1.0 - (wrong & ~batch.void).sum((1, 2, 3)) / union.sum((1, 2, 3)).clamp(min=1)
        return {
            **parts,
            "loss": reached,
            "iou": float(iou.mean()),
            "norm": float(norm),
            "rate": rate,
        }

    def validate(self, report: Report) -> None:
        """Log a quick look at fixed objects, by source."""
        if self.val is None:
            return
        entry: dict[str, Any] = {"step": self.step, "progress": self.progress}
        for source in ("voc", "ccp"):
            cases = choose_cases(self.val, self.recipe.train.validate_objects, source)
            if cases:
                entry[source] = quick_look(self.average, self.reader, self.val, cases)
        self._record(report, entry)

    def save(self) -> None:
        """Write the state to go on from, and the averaged network as a checkpoint."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "attribute_loss": self.attribute_loss.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self.folder / (STATE + ".partial")
        torch.save(state, partial)
        os.replace(partial, self.folder / STATE)
        self._export()

    def resume(self) -> bool:
        """Go on from the folder's state, if there is one."""
        path = self.folder / STATE
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.attribute_loss.load_state_dict(state["attribute_loss"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        return True

    def _export(self) -> None:
        exports = self.folder / "exports"
        target = exports / f"step-{self.step:06d}"
        if not target.exists():
            metrics = {
                "step": self.step,
                "seconds": round(self.seconds),
                "recipe": self.recipe.to_dict(),
            }
            words, vectors = self.reader.words, self.reader.vectors
            checkpoint.save(target, self.average, words, vectors, metrics, name=self.folder.name)
        link = self.folder / (LATEST + ".partial")
        link.unlink(missing_ok=True)
        link.symlink_to(target.relative_to(self.folder))
        os.replace(link, self.folder / LATEST)
        for old in sorted(exports.glob("step-*"))[: -KEPT - 1]:
            shutil.rmtree(old)

    def _crop(self, ahead: int = 0) -> int:
        """Size of the views ``ahead`` steps from now; of a schedule by time, of those now."""
        train = self.recipe.train
        done = (self.step + ahead) / train.steps if train.steps else self.progress
        return train.first_crop if train.first_crop and done < train.first_share else train.crop

    def _follow(self) -> None:
        """Move the averaged network: slowly, but quickly at first, when it knows nothing."""
        decay = min(self.recipe.train.ema, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            live = self.network.state_dict()
            for name, mean in self.average.state_dict().items():
                if mean.is_floating_point():
                    mean.lerp_(live[name], 1.0 - decay)
                else:
                    mean.copy_(live[name])

    def _set_rates(self) -> float:
        """Warm-up, then a cosine down to nothing at the end of the schedule."""
        warm = min(1.0, (self.step + 1) / max(self.recipe.train.warmup, 1))
        factor = warm * 0.5 * (1.0 + math.cos(math.pi * min(self.progress, 1.0)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * factor
        return self.recipe.train.rate * factor

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """The pretrained backbone moves slowly; biases, norms and beta are not decayed."""
        train = self.recipe.train
        backbone = {id(p) for p in self.network.backbone.parameters()}
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for parameter in self.network.parameters():
            key = (id(parameter) in backbone, parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
        return [
            {
                "params": parameters,
                "base": train.backbone_rate if slow else train.rate,
                "weight_decay": train.weight_decay if decayed else 0.0,
            }
            for (slow, decayed), parameters in groups.items()
        ]

    def _grown(self, config: ModelConfig) -> ModelConfig:
        return ModelConfig.from_dict({**config.to_dict(), **self.recipe.model})

    def _config(self) -> ModelConfig:
        concepts = [
            concept_of(each.category)
            for index in range(len(self.dataset))
            for each in self.dataset.objects(index)
            if each.category
        ]
        config = ModelConfig.from_dict(dict(self.recipe.model))
        return replace(config, attributes=attributes_for(concepts), word_dim=self.reader.dim)

    def _word_vectors(self, data: Path) -> PhraseReader:
        """The run's word vectors, learned when it first starts."""
        path = self.folder / "word_vectors.npz"
        if not path.exists():
            categories = sorted(
                {o.category for i in range(len(self.dataset)) for o in self.dataset.objects(i)
                 if o.category}
            )  # fmt: skip
            text: Path | list[str] = data / self.recipe.data.text if self.recipe.data.text else []
            dim = int(self.recipe.model.get("word_dim", DIM))
            words, vectors = train_word_vectors(text, categories, dim=dim)
            np.savez(path, words=np.array(words), vectors=vectors)
        with np.load(path, allow_pickle=False) as stored:
            return PhraseReader([str(word) for word in stored["words"]], stored["vectors"])

    def _record(self, report: Report, entry: dict[str, Any]) -> None:
        with (self.folder / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        report(entry)


def main(
    config: Path | str,
    *,
    out: Path | str,
    data: Path | str = ".",
    resume: bool = True,
    report: Report | None = None,
) -> Path:
    """Train as a TOML recipe says and return the folder of the last checkpoint.

    out: the run's folder. data: the folder that the recipe's paths are relative to. resume: go on
    where the folder's last run was stopped; without it a folder with a state is refused.
    """
    recipe = read_recipe(config)
    run = Run(recipe, Path(out), Path(data))
    if resume:
        if run.resume():
            log.info("Going on at step %d.", run.step)
    elif (Path(out) / STATE).exists():
        raise RecipeError(f"{out} holds a run already: go on with it, or name another folder.")
    run.train(report or (lambda entry: print(line(entry), flush=True)))
    return Path(out) / LATEST


def line(entry: dict[str, Any]) -> str:
    """One line of the log for people."""
    return "  ".join(_shown(entry))


def _shown(entry: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in entry.items():
        if isinstance(value, dict):
            yield from _shown(value, f"{prefix}{name} ")
        elif isinstance(value, float):
            yield f"{prefix}{name} {value:.4g}"
        else:
            yield f"{prefix}{name} {value}"
