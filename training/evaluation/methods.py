"""What is measured: a checkpoint as it serves, or a method without learning.

All have the same small interface (a picture, then masks for clicks and a phrase), so that all are
measured by the same protocol.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from model import checkpoint as checkpoints
from model.predictor import Click, Predictor
from training.data.sample import Sample
from training.evaluation.interactions import Region
from training.evaluation.protocol import MODES, Answer, Mask, Mode, Spot
from training.prompts.vocabulary import concept_of

# The pre-annotation shows no region below this confidence.
LEAST_CONFIDENCE = 0.5


class Contestant(Protocol):
    """A method to measure. categories: what it was trained on; None for an untrained method."""

    name: str
    modes: tuple[Mode, ...]
    categories: frozenset[str] | None
    milliseconds_to_open: list[float]

    def look_at(self, sample: Sample, key: str) -> Answer:
        """Prepare for a picture. key: names the picture's content."""
        ...


class Checkpoint:
    """A checkpoint behind the predictor, as an annotator gets it."""

    modes = MODES

    def __init__(self, where: Path | str, *, device: str = "auto", name: str = "") -> None:
        """where: a checkpoint's directory, or "shipped". Raises CheckpointError."""
        self.predictor = Predictor(where, device=device)
        self.name = name or self.predictor.version
        self.categories: frozenset[str] | None = trained_categories(where)
        self.milliseconds_to_open: list[float] = []

    def look_at(self, sample: Sample, key: str) -> Answer:
        if self.predictor.cached(key) is None:
            start = time.perf_counter()
            self.predictor.encode(sample.image, key)
            self.milliseconds_to_open.append(1000.0 * (time.perf_counter() - start))
        embedding = self.predictor.encode(sample.image, key)

        def answer(clicks: Sequence[Spot], phrase: str, before: Mask | None) -> Mask:
            spots = [Click(*spot) for spot in clicks]
            return self.predictor.predict(embedding, spots, phrase, before).mask()

        return answer

    def suggest(self, sample: Sample, key: str, labels: Sequence[str]) -> list[Region]:
        """The regions of the pre-annotation, for a project with these labels."""
        embedding = self.predictor.encode(sample.image, key)
        found = []
        for label in labels:
            prediction = self.predictor.predict(embedding, [], label)
            if prediction.confidence >= LEAST_CONFIDENCE:
                found.append(Region(prediction.mask(), label, prediction.confidence))
        return found


def trained_categories(where: Path | str) -> frozenset[str]:
    """The concepts that a checkpoint was trained on.

    As its metrics list them ("categories"); in checkpoints that do not, every attribute that may
    name a thing, so that "orange" counts as seen where only the colour was.
    """
    loaded = checkpoints.load(where)
    listed = loaded.metrics.get("metrics", {}).get("categories")
    if listed is None:
        return frozenset(loaded.config.attributes)
    return frozenset(concept_of(str(each)) for each in listed)
