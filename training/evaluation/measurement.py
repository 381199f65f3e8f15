"""Runs methods (checkpoints as they are served) on every case, picture by picture.

The protocol needs only a small interface of a method: a picture, then masks for clicks and a
phrase. All methods finish a picture before the next one is opened. So it is decoded and encoded
once, and an interrupted measurement still holds complete comparisons.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from model.instances import each_once
from model.predictor import Click, Embedding, Predictor
from training.data import Dataset, Sample, Tolerant
from training.errors import DataError
from training.evaluation.cases import FEWEST_PIXELS, Case, key_of, target_of
from training.evaluation.protocol import (
    MOST,
    Answer,
    ClickPoint,
    Mask,
    Mode,
    Target,
    Trajectory,
    follow,
    overlap,
)
from training.finetune.labels import has_learned, labels_of
from training.prompts.vocabulary import concept_of

# The pre-annotation shows no region below this confidence.
LEAST_CONFIDENCE = 0.5


@dataclass(frozen=True)
class Region:
    """A suggested region: its H,W bool mask, its label, and how sure the model is (0 to 1)."""

    mask: Mask
    label: str
    confidence: float


class Method(Protocol):
    """A method to measure. categories: what it was trained on; None for an untrained method."""

    @property
    def name(self) -> str: ...

    @property
    def categories(self) -> frozenset[str] | None: ...

    def look_at(self, sample: Sample, key: str, label: str = "") -> Answer:
        """Prepare for objects of a label in a picture. key: names the picture's content, so that it
        need not be encoded again."""
        ...


class Checkpoint:
    """A checkpoint behind the predictor, as an annotator gets it."""

    def __init__(self, where: Path | str, *, device: str = "auto", name: str = "") -> None:
        """where: a checkpoint's directory, or "shipped". Raises CheckpointError."""
        self.predictor = Predictor(where, device=device)
        self.name = name or self.predictor.version
        listed = self.predictor.metrics.get("categories", ())
        self.categories: frozenset[str] | None = frozenset(concept_of(name) for name in listed)
        # On how many objects of each label it was fine-tuned.
        self.labels = labels_of(self.predictor.metrics)

    def look_at(self, sample: Sample, key: str, label: str = "") -> Answer:
        return answers(self.predictor, self.predictor.encode(sample.image, key))

    def suggest(self, sample: Sample, key: str, labels: Sequence[str]) -> list[Region]:
        """The regions of the pre-annotation, for a project with these labels."""
        embedding = self.predictor.encode(sample.image, key)
        known = [label for label in labels if self.predictor.tokenizer.knows(label)]
        instances, _ = self.predictor.instances_by_name(embedding, known, LEAST_CONFIDENCE)
        return [
            Region(instance.mask(), label, instance.confidence) for label, instance in instances
        ]


def answers(predictor: Predictor, embedding: Embedding) -> Answer:
    """The predictor's answers for one encoded picture."""

    def answer(clicks: Sequence[ClickPoint], phrase: str, before: Mask | None) -> Mask:
        # A mask that is there before the first click is a suggested one.
        suggested = before is not None and len(clicks) == 1
        return predictor.predict(
            embedding, [Click(*spot) for spot in clicks], phrase, before, suggested=suggested
        ).mask()

    return answer


@dataclass(frozen=True)
class Served:
    """What a project gets: its champion, and the base for labels that the champion has not learned
    (`training.finetune.labels`)."""

    champion: Checkpoint
    base: Checkpoint

    @property
    def name(self) -> str:
        return self.champion.name

    @property
    def categories(self) -> frozenset[str] | None:
        return self.champion.categories

    def look_at(self, sample: Sample, key: str, label: str = "") -> Answer:
        answers_it = has_learned(self.champion.labels, label)
        return (self.champion if answers_it else self.base).look_at(sample, key)

    def suggest(self, sample: Sample, key: str, labels: Sequence[str]) -> list[Region]:
        """The regions of the pre-annotation, for a project with these labels."""
        learned = [label for label in labels if has_learned(self.champion.labels, label)]
        regions = self.champion.suggest(sample, key, learned)
        if len(learned) == len(labels):
            return regions
        others = [label for label in labels if label not in learned]
        return each_once(
            [*regions, *self.base.suggest(sample, key, others)],
            lambda region: region.confidence,
            lambda one, other: overlap(one.mask, other.mask),
        )


@dataclass(frozen=True, eq=False)
class Run:
    """One method in one mode. jitter: of clicks, see `next_click`."""

    method: Method
    mode: Mode
    jitter: float = 0.0

    @property
    def way(self) -> str:
        """Mode and jitter in words."""
        return f"{self.mode}, jitter {self.jitter:g}" if self.jitter else self.mode

    @property
    def label(self) -> str:
        return f"{self.method.name}, {self.way}"


@dataclass(frozen=True)
class Result:
    """One case and its trajectory. area: of the target, as a share of the picture."""

    case: Case
    key: str
    area: float
    trajectory: Trajectory


class Measurement:
    """The results of all runs; complete up to the point where it was stopped."""

    def __init__(
        self,
        dataset: Dataset,
        runs: Sequence[Run],
        cases: Mapping[Mode, Sequence[Case]],
        at_least: int = 10,
        *,
        goal: float = 0.90,
        most: int = MOST,
    ) -> None:
        """at_least: interactions of every case, even if it reaches the goal sooner.

        Beyond them a case continues to the IoU ``goal`` or ``most`` interactions.
        """
        self.dataset = Tolerant(dataset)
        self.runs = tuple(runs)
        self.at_least = at_least
        self.goal = goal
        self.most = most
        self.results: dict[Run, list[Result]] = {run: [] for run in runs}
        self.asked = sum(len(cases[run.mode]) for run in runs)
        self.specks = 0
        self.checked = 0
        self.cases = cases

    @property
    def unreadable(self) -> Mapping[int, str]:
        """Errors of unreadable pictures by index."""
        return self.dataset.broken

    def ask_all(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Run every case. Results so far stay if an exception stops it."""
        done = 0
        here: defaultdict[tuple[int, Mode], list[Case]] = defaultdict(list)
        for mode in {run.mode for run in self.runs}:
            for case in self.cases[mode]:
                here[case.index, mode].append(case)
        for index in sorted({index for index, _ in here}):
            sample = self.dataset.get(index)
            for run in self.runs:
                for case in here[index, run.mode]:
                    if sample is not None:
                        self._ask(run, sample, case)
                    done += 1
                    if progress:
                        progress(done, self.asked)

    def again(self, run: Run, result: Result) -> tuple[Sample, list[Mask]]:
        """Repeat a case exactly: its picture, and the mask of each answer."""
        sample = self.dataset.dataset[result.case.index]
        answer = self._answer(run, sample, result.case)
        masks: list[Mask] = []

        def kept(clicks: Sequence[ClickPoint], phrase: str, before: Mask | None) -> Mask:
            masks.append(answer(clicks, phrase, before))
            return masks[-1]

        self._follow(run, kept, target_of(sample, result.case), result.case)
        return sample, masks

    def _ask(self, run: Run, sample: Sample, case: Case) -> None:
        """Run a case, unless its target is a speck."""
        target = target_of(sample, case)
        # A phrase for something absent is a case too; its right answer is an empty mask.
        if target.pixels < FEWEST_PIXELS and (case.ids or run.mode != "phrase"):
            self.specks += 1
            return
        self._check(target, case, run.mode)
        trajectory = self._follow(run, self._answer(run, sample, case), target, case)
        area = target.pixels / target.mask.size
        self.results[run].append(Result(case, sample.key, area, trajectory))

    def _answer(self, run: Run, sample: Sample, case: Case) -> Answer:
        return run.method.look_at(sample, key_of(sample, case.index), case.category or "")

    def _follow(self, run: Run, answer: Answer, target: Target, case: Case) -> Trajectory:
        return follow(
            answer,
            target,
            run.mode,
            goal=self.goal,
            at_least=self.at_least,
            most=self.most,
            jitter=run.jitter,
            rng=np.random.default_rng(case.seed),
        )

    def _check(self, target: Target, case: Case, mode: Mode) -> None:
        """Self-check: with the target's own mask as answer, a case needs one interaction.

        Costs about a hundredth of the network's time. Raises DataError if it fails.
        """
        trajectory = follow(lambda *_: target.mask, target, mode, at_least=1)
        if trajectory.ious != (1.0,):
            raise DataError(
                f"Self-check failed for objects {case.ids} of picture {case.index}: their own mask "
                f"as answer reached {trajectory.ious}. The reader or the protocol is wrong."
            )
        self.checked += 1
