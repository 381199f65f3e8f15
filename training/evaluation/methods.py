"""The methods to measure: checkpoints as they are served, and baselines without learning.

All have the same small interface (a picture, then masks for clicks and a phrase), so that all are
measured by the same protocol.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from model.predictor import Click, Embedding, Predictor
from training.data.sample import Sample
from training.errors import DataError
from training.evaluation.interactions import Region
from training.evaluation.protocol import MODES, Answer, Mask, Mode, Spot
from training.finetune.labels import has_learned, labels_of
from training.prompts.vocabulary import concept_of

# The pre-annotation shows no region below this confidence.
LEAST_CONFIDENCE = 0.5


class Method(Protocol):
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


# Radius of a click's disk, as a share of the picture's longest side.
DISK = 5 / 320
ITERATIONS = 2
WALKED_SIDE = 160
BETA = 1000.0


class Baseline:
    """A baseline by name; it only supports the mode "clicks"."""

    modes: tuple[Mode, ...] = ("clicks",)
    categories: frozenset[str] | None = None

    def __init__(self, name: str) -> None:
        """Raises DataError if the name is unknown or its package is not installed."""
        if name not in BASELINES:
            raise DataError(f"Baseline '{name}' is none of {', '.join(BASELINES)}.")
        self.name = name
        self.milliseconds_to_open: list[float] = []
        self._method = BASELINES[name]
        if name == "grabcut":
            _opencv()

    def look_at(self, sample: Sample, key: str) -> Answer:
        return self._method(sample.image)


def grabcut(image: NDArray[np.uint8]) -> Answer:
    """OpenCV's grabCut on one picture, H,W,3 RGB."""
    cv2 = _opencv()
    height, width = image.shape[:2]
    bgr = np.ascontiguousarray(image[..., ::-1])
    radius = DISK * max(height, width)

    def answer(clicks: Sequence[Spot], phrase: str, before: Mask | None) -> Mask:
        positive = _disks((height, width), clicks, radius, wanted=True)
        negative = _disks((height, width), clicks, radius, wanted=False)
        nearer = _distance_to(positive) < _distance_to(_with_border(negative))
        labels = np.where(nearer, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[positive] = cv2.GC_FGD
        labels[negative] = cv2.GC_BGD
        _obey(labels, clicks, cv2.GC_FGD, cv2.GC_BGD)
        inside: Mask = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if inside.all() or not inside.any():
            return inside
        # Its colour models start from random clusters.
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(bgr, labels, None, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
        return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))

    return answer


def random_walker(image: NDArray[np.uint8]) -> Answer:
    """scikit-image's random walker on one picture, H,W,3 RGB."""
    from skimage.segmentation import random_walker as walk

    height, width = image.shape[:2]
    scale = min(1.0, WALKED_SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX)
    pixels = np.asarray(small, float) / 255.0
    radius = DISK * max(size)

    def answer(clicks: Sequence[Spot], phrase: str, before: Mask | None) -> Mask:
        spots = [(x * size[1] / width, y * size[0] / height, wanted) for x, y, wanted in clicks]
        negative = _with_border(_disks(size, spots, radius, wanted=False))
        positive = _disks(size, spots, radius, wanted=True)
        seeds = np.where(positive, 1, np.where(negative, 2, 0)).astype(np.int32)
        _obey(seeds, spots, 1, 2)
        if not (seeds == 1).any():
            return np.zeros((height, width), np.bool_)
        with warnings.catch_warnings():
            # It warns about faster solvers, and about probabilities that rounding made negative.
            warnings.simplefilter("ignore")
            inside = walk(
                pixels, seeds, beta=BETA, mode="cg_j", tol=1e-3, channel_axis=-1,
                return_full_prob=True,
            )[0]  # fmt: skip
        picture = Image.fromarray(inside.astype(np.float32))
        enlarged = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
        return np.asarray(enlarged > 0.5, np.bool_)

    return answer


BASELINES: Mapping[str, Callable[[NDArray[np.uint8]], Answer]] = {
    "grabcut": grabcut,
    "random_walker": random_walker,
}


def _disks(
    size: tuple[int, int], clicks: Sequence[Spot], radius: float, *, wanted: bool
) -> NDArray[np.bool_]:
    """H,W: pixels within ``radius`` of a click of this kind."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    inside = np.zeros(size, np.bool_)
    for x, y, positive in clicks:
        if positive == wanted:
            inside |= (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2
    return inside


def _obey(labels: NDArray[Any], clicks: Sequence[Spot], wanted: int, unwanted: int) -> None:
    """Give each clicked pixel its own label, even if a disk of the other kind covers it."""
    for x, y, positive in clicks:
        row = min(int(y), labels.shape[0] - 1)
        column = min(int(x), labels.shape[1] - 1)
        labels[row, column] = wanted if positive else unwanted


def _with_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and the outermost pixels of the picture."""
    framed = mask.copy()
    framed[[0, -1]] = True
    framed[:, [0, -1]] = True
    return framed


def _distance_to(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """H,W: distance to the nearest pixel of the mask; infinite for an empty mask."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~mask), np.float64)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise DataError(
            "The baseline grabcut needs OpenCV: install opencv-python-headless, or this package "
            "with its extra 'compare'."
        ) from error
    return cv2
