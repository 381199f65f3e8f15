"""Masks for tasks before anyone clicks on them: exactly one result for each task, with a score.

The phrase comes from the task's own data; without one the label names are tried in turn. The score
is the confidence of the least certain mask; Label Studio's uncertainty sampling serves the lowest
first. A task that cannot be predicted gets an empty result and score 0, so that it comes first and
a person sees it. The status line is never part of a batch: it would be saved as a label.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from backend.images.embeddings import Embeddings, Place
from backend.interaction.label_words import labels_named
from backend.label_studio import rle
from backend.label_studio.annotations import brush_items
from backend.label_studio.config import BrushControl, ImageControls, Label, LabelConfig
from backend.label_studio.payloads import PredictRequest, Project, Task
from backend.metrics import Metrics
from model.errors import PhraseClickError
from model.predictor import Embedding, Predictor

_log = logging.getLogger(__name__)

Answer = dict[str, Any]
Masks = tuple[list[dict[str, Any]], float | None]

LabelMasks = Literal["never", "batch", "always"]

# Label Studio gives up after 100 s and then drops every answer, those that were ready too.
_BUDGET_S = 80.0
# A config with a hundred classes would take seconds a task; a picture holds few of them.
_MOST_LABELS = 20
# A label's mask is shown if it is more likely right than wrong, and not another label's again.
_LEAST_CONFIDENCE = 0.5
_SAME_OBJECT_IOU = 0.5


class Preannotation:
    """Answers a call without a context: "retrieve predictions", or the opening of a task.

    One for each request, so that all its tasks are predicted by the same version.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        predictor: Predictor,
        metrics: Metrics,
        label_masks: LabelMasks = "batch",
    ) -> None:
        self._embeddings = embeddings
        self._predictor = predictor
        self._metrics = metrics
        self._label_masks = label_masks

    def answers(self, request: PredictRequest, config: LabelConfig) -> list[Answer]:
        """One for each task, in their order."""
        started = time.monotonic()
        alone = len(request.tasks) == 1
        answers = []
        for task in request.tasks:
            if time.monotonic() - started > _BUDGET_S:
                _log.warning("Task %s was not reached in %.0f s", task.id, _BUDGET_S)
                self._metrics.task("failed")
                answers.append(self._answer([], 0.0))
            else:
                answers.append(self._task(task, config, request.project, alone=alone))
        return answers

    def _task(self, task: Task, config: LabelConfig, project: Project, *, alone: bool) -> Answer:
        try:
            masks = [self._image(task, image, project, alone=alone) for image in config.images]
        except Exception as error:  # a broken picture must not empty the other tasks
            self._metrics.failure(error)
            self._metrics.task("failed")
            if isinstance(error, PhraseClickError):
                _log.warning("Task %s of project %s: %s", task.id, project.id, error)
            else:
                _log.exception("Task %s of project %s could not be predicted", task.id, project.id)
            return self._answer([], 0.0)
        result = [region for regions, _ in masks for region in regions]
        scores = [score for _, score in masks if score is not None]
        self._metrics.task("mask" if result else "empty")
        return self._answer(result, min(scores) if scores else None)

    def _image(self, task: Task, image: ImageControls, project: Project, *, alone: bool) -> Masks:
        place = Place.of(task, image, project)
        phrase = image.batch_phrase(task.data)
        if phrase:
            return self._of_phrase(task, image, phrase, self._embeddings.of(place, self._predictor))
        if alone and self._label_masks != "always":
            # This is also the request when a task is opened. The page waits for the answer, and
            # clicks inside a mask would select it: so there is none, and the picture is encoded in
            # the background.
            self._embeddings.on_screen(place)
            embedding = self._embeddings.at_hand(place, self._predictor)
            if embedding is None:
                self._embeddings.ahead(place, self._predictor)
                return [], None
            return [], self._of_labels(task, image, embedding)[1]
        if self._label_masks == "never":
            return [], self._of_labels(task, image, self._embeddings.of(place, self._predictor))[1]
        return self._of_labels(task, image, self._embeddings.of(place, self._predictor))

    def _of_phrase(
        self, task: Task, image: ImageControls, phrase: str, embedding: Embedding
    ) -> Masks:
        prediction = self._predictor.predict(embedding, [], phrase)
        brush_control, label = _label_for(phrase, image)
        region = self._region(
            task, image, brush_control, label, prediction.mask(), prediction.confidence
        )
        return region, prediction.confidence

    def _of_labels(self, task: Task, image: ImageControls, embedding: Embedding) -> Masks:
        """A mask for every label that the model finds on the picture, the surest first."""
        known = [
            (control, label)
            for control, label in image.labels
            if self._predictor.tokenizer.knows(label.value)
        ]
        predictions = sorted(
            (
                (self._predictor.predict(embedding, [], label.value), control, label)
                for control, label in known[:_MOST_LABELS]
            ),
            key=lambda entry: -entry[0].confidence,
        )
        taken: list[np.ndarray] = []
        regions: list[dict[str, Any]] = []
        sure = []
        for prediction, control, label in predictions:
            if prediction.confidence < _LEAST_CONFIDENCE:
                break
            mask = prediction.mask()
            if any(_iou(mask, other) > _SAME_OBJECT_IOU for other in taken):
                continue
            region = self._region(task, image, control, label, mask, prediction.confidence)
            if region:
                taken.append(mask)
                regions += region
                sure.append(prediction.confidence)
        if sure:
            return regions, min(sure)
        return [], (predictions[0][0].confidence if predictions else None)

    def _region(
        self,
        task: Task,
        image: ImageControls,
        control: BrushControl,
        label: Label | None,
        mask: np.ndarray,
        confidence: float,
    ) -> list[dict[str, Any]]:
        if not mask.any():
            return []
        height, width = mask.shape
        return brush_items(
            _region_id(self._predictor.version, task.key, image.name, control.name, label),
            brush=control,
            to_name=image.name,
            label=label,
            rle=rle.encode(mask),
            size=(width, height),
            score=confidence,
        )

    def _answer(self, result: Sequence[dict[str, Any]], score: float | None) -> Answer:
        return {
            "result": list(result),
            "score": None if score is None else round(score, 4),
            "model_version": self._predictor.version,
        }


def _label_for(phrase: str, image: ImageControls) -> tuple[BrushControl, Label | None]:
    """The label that the phrase names; the config's first where it names none."""
    named = labels_named(phrase, image.labels) or image.labels
    return named[0] if named else (image.brushes[0], None)


def _region_id(*what: object) -> str:
    """The same for the same task, label and model."""
    return hashlib.blake2b(repr(what).encode(), digest_size=6).hexdigest()


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 0.0
