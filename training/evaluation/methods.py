"""The methods to measure: checkpoints as they are served.

The protocol needs only a small interface: a picture, then masks for clicks and a phrase.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from model.predictor import Click, Embedding, Predictor
from training.data.sample import Sample
from training.evaluation.interactions import Region
from training.evaluation.protocol import Answer, Mask, Spot
from training.finetune.labels import has_learned, labels_of
from training.prompts.vocabulary import concept_of

# The pre-annotation shows no region below this confidence.
LEAST_CONFIDENCE = 0.5


class Method(Protocol):
    """A method to measure. categories: what it was trained on; None for an untrained method."""

    name: str
    categories: frozenset[str] | None
    milliseconds_to_open: list[float]

    def look_at(self, sample: Sample, key: str) -> Answer:
        """Prepare for a picture. key: names the picture's content."""
        ...


class Checkpoint:
    """A checkpoint behind the predictor, as an annotator gets it."""

    def __init__(self, where: Path | str, *, device: str = "auto", name: str = "") -> None:
        """where: a checkpoint's directory, or "shipped". Raises CheckpointError."""
        self.predictor = Predictor(where, device=device)
        self.name = name or self.predictor.version
        self.categories: frozenset[str] | None = trained_categories(self.predictor)
        # On how many objects of each label it was fine-tuned.
        self.labels = labels_of(self.predictor.metrics)
        self.milliseconds_to_open: list[float] = []

    def look_at(self, sample: Sample, key: str) -> Answer:
        if self.predictor.cached(key) is None:
            start = time.perf_counter()
            self.predictor.encode(sample.image, key)
            self.milliseconds_to_open.append(1000.0 * (time.perf_counter() - start))
        return answers(self.predictor, self.predictor.encode(sample.image, key))

    def suggest(self, sample: Sample, key: str, labels: Sequence[str]) -> list[Region]:
        """The regions of the pre-annotation, for a project with these labels."""
        embedding = self.predictor.encode(sample.image, key)
        known = [label for label in labels if self.predictor.tokenizer.knows(label)]
        instances = self.predictor.instances_by_name(embedding, known, LEAST_CONFIDENCE)
        return [
            Region(instance.mask(), label, instance.confidence) for label, instance in instances
        ]


def answers(predictor: Predictor, embedding: Embedding) -> Answer:
    """The predictor's answers for one encoded picture."""

    def answer(clicks: Sequence[Spot], phrase: str, before: Mask | None) -> Mask:
        return predictor.predict(
            embedding, [Click(*spot) for spot in clicks], phrase, before
        ).mask()

    return answer


@dataclass(frozen=True)
class Served:
    """What a project gets: its champion, and the base for labels that the champion has not learned
    (`training.finetune.labels`). Suggestions come from the champion."""

    champion: Checkpoint
    base: Checkpoint

    def for_label(self, label: str) -> Checkpoint:
        """The version that answers clicks on objects of this label."""
        return self.champion if has_learned(self.champion.labels, label) else self.base

    def answer(self, sample: Sample, key: str, label: str) -> Answer:
        """Answers clicks on objects of this label."""
        return self.for_label(label).look_at(sample, key)

    def suggest(self, sample: Sample, key: str, labels: Sequence[str]) -> list[Region]:
        """The regions of the pre-annotation, for a project with these labels."""
        return self.champion.suggest(sample, key, labels)


def trained_categories(predictor: Predictor) -> frozenset[str]:
    """The concepts that a version was trained on.

    As its metrics list them ("categories"); in versions that do not, every attribute that may name
    a thing, so that "orange" counts as seen even if only the colour was.
    """
    listed = predictor.metrics.get("categories")
    if listed is None:
        return frozenset(predictor.config.attributes)
    return frozenset(concept_of(str(category)) for category in listed)
