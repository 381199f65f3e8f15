"""Masks for tasks before anyone clicks on them: exactly one answer for each task, with a score.

The phrase comes from the task's own data; without one the label names are tried in turn. A phrase
in the plural and a label's name give one region for each object, which annotators keep, refine or
delete one by one. The score is the confidence of the least certain mask; Label Studio's uncertainty
sampling serves the lowest first. A task that cannot be predicted gets an empty result and score 0,
so that it comes first and a person sees it. The status line is never part of a batch: it would be
saved as a label.

Where there is no answer for now (the picture's host is away, the time is up, or a task was merely
opened) the answer is an empty list. Label Studio stores nothing then, and asks again: an empty
result would be stored, and the task never asked about again for this version.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np

from backend.errors import DatabaseError, LabelStudioError, PictureError, PictureFormatError
from backend.images.embeddings import Embeddings, TaskPicture
from backend.interaction.label_words import asks_for_all, labels_named
from backend.interaction.suggestions import LEAST_CONFIDENCE
from backend.label_studio.config import LabelConfig
from backend.label_studio.controls import BrushControl, ImageControls, Label
from backend.label_studio.payloads import PredictRequest, Project, Task
from backend.label_studio.regions import drawn_mask
from backend.metrics import Metrics
from model.errors import PhraseClickError
from model.predictor import Instance, Predictor

_log = logging.getLogger(__name__)

# One prediction. An empty list: none for now, so Label Studio stores nothing and asks again.
Answer = dict[str, Any] | list[Any]
Masks = tuple[list[dict[str, Any]], float | None]
_Labelled = tuple[Instance, BrushControl, Label | None]
_LabelGroup = tuple[Predictor, dict[str, tuple[BrushControl, Label]]]

LabelMasks = Literal["never", "batch", "always"]

# Label Studio gives up after 100 s and then drops every answer, those that were ready too. No task
# is begun after the first time, and none is waited for after the second.
_BUDGET_S = 80.0
_GRACE_S = 10.0
# One task computes while others wait for their pictures or write their masks.
_AT_ONCE = 4
_REPORT_S = 10.0
# A config with a hundred classes would take seconds a task; a picture holds few of them.
_MOST_LABELS = 20
# An object that nobody asked for is shown if its mask is more likely right than wrong.
_LEAST_CONFIDENCE = 0.5
# Two versions that find the same object by different labels: the more confident one counts.
_SAME_OBJECT = 0.5


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
        outline_tolerance: float = 0.5,
        for_label: Callable[[str], Predictor] | None = None,
    ) -> None:
        """for_label: the predictor that serves a label, if not ``predictor`` serves all."""
        self._for_label = for_label or (lambda label: predictor)
        self._embeddings = embeddings
        self._predictor = predictor
        self._metrics = metrics
        self._label_masks = label_masks
        self._tolerance = outline_tolerance

    def answers(self, request: PredictRequest, config: LabelConfig) -> list[Answer]:
        """One for each task, in their order; an empty list for those that time did not allow."""
        if len(request.tasks) == 1:
            return [self._task(request.tasks[0], config, request.project, alone=True)]
        ends = time.monotonic() + _BUDGET_S

        def answer(task: Task) -> Answer:
            if time.monotonic() > ends:
                return []
            return self._task(task, config, request.project, alone=False)

        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="batch")
        try:
            waiting = [pool.submit(answer, task) for task in request.tasks]
            return self._collect(waiting, ends + _GRACE_S, request.project)
        finally:
            # A download that hangs ends by its own time limit.
            pool.shutdown(wait=False, cancel_futures=True)

    def _collect(
        self, waiting: Sequence["Future[Answer]"], ends: float, project: Project
    ) -> list[Answer]:
        answers: list[Answer] = []
        reported, missed = time.monotonic(), 0
        for number, future in enumerate(waiting):
            try:
                answers.append(future.result(max(0.0, ends - time.monotonic())))
            except TimeoutError:
                answers.append([])
            missed += not answers[-1]
            if time.monotonic() - reported > _REPORT_S:
                reported = time.monotonic()
                _log.info("Project %s: %d of %d tasks", project.id, number + 1, len(waiting))
        if missed:
            _log.warning(
                "Project %s: %d of %d tasks have no answer yet; Label Studio asks for them again",
                project.id,
                missed,
                len(waiting),
            )
        return answers

    def _task(self, task: Task, config: LabelConfig, project: Project, *, alone: bool) -> Answer:
        images = config.of(task.data).images
        try:
            answers = [self._image(task, image, project, alone=alone) for image in images]
        except Exception as error:  # a broken picture must not empty the other tasks
            self._metrics.failure(error)
            self._metrics.task("failed")
            if isinstance(error, PhraseClickError):
                _log.warning("Task %s of project %s: %s", task.id, project.id, error)
            else:
                _log.exception("Task %s of project %s could not be predicted", task.id, project.id)
            addressed = all(image.address(task.data) for image in images)
            return [] if addressed and _may_pass(error) else self._answer([], 0.0)
        masks = [one for one in answers if one is not None]
        if len(masks) < len(answers):
            return []
        result = [region for regions, _ in masks for region in regions]
        scores = [score for _, score in masks if score is not None]
        self._metrics.task("mask" if result else "empty")
        return self._answer(result, min(scores) if scores else None)

    def _image(
        self, task: Task, image: ImageControls, project: Project, *, alone: bool
    ) -> Masks | None:
        """Regions and score of one picture; None where the task was merely opened."""
        place = TaskPicture.of(task, image, project)
        phrase = image.batch_phrase(task.data)
        if phrase:
            return self._of_phrase(task, image, phrase, place)
        if alone and self._label_masks != "always":
            # This is also the request when a task is opened. The page waits for the answer, and
            # clicks inside a mask would select it: so there is none, and the picture is encoded in
            # the background.
            self._embeddings.on_screen(place)
            if self._embeddings.at_hand(place, self._predictor) is None:
                self._embeddings.ahead(place, self._predictor)
            return None
        self._embeddings.of(place, self._predictor)
        objects = [] if self._label_masks == "never" else self._of_labels(image, place)
        if not objects:
            return [], self._doubt(image, place)
        return self._regions(task, image, objects), objects[-1][0].confidence

    def _of_phrase(
        self, task: Task, image: ImageControls, phrase: str, place: TaskPicture
    ) -> Masks:
        control, label = _label_for(phrase, image)
        named = labels_named(phrase, image.labels)
        predictor = self._for_label(named[0][1].value) if named else self._predictor
        embedding = self._embeddings.of(place, predictor)
        if asks_for_all(phrase, image.labels):
            instances = predictor.instances(embedding, phrase, LEAST_CONFIDENCE)
            regions = self._regions(task, image, [(i, control, label) for i in instances.objects])
            return regions, min(
                (i.confidence for i in instances.objects), default=instances.confidence
            )
        prediction = predictor.predict(embedding, [], phrase)
        confidence = prediction.confidence
        if confidence < LEAST_CONFIDENCE:
            return [], confidence
        return self._region(task, image, control, label, prediction.mask(), confidence), confidence

    def _of_labels(self, image: ImageControls, place: TaskPicture) -> list[_Labelled]:
        """Every object that a label's name finds, the most confident first."""
        groups = self._known_labels(image)
        objects: list[_Labelled] = []
        for predictor, labels in groups:
            embedding = self._embeddings.of(place, predictor)
            named = predictor.instances_by_name(embedding, list(labels), _LEAST_CONFIDENCE)
            objects += [(instance, *labels[name]) for name, instance in named]
        if len(groups) < 2:
            return objects
        distinct: list[_Labelled] = []
        for one in sorted(objects, key=lambda entry: -entry[0].confidence):
            if all(_iou(one[0].mask(), other.mask()) <= _SAME_OBJECT for other, *_ in distinct):
                distinct.append(one)
        return distinct

    def _doubt(self, image: ImageControls, place: TaskPicture) -> float | None:
        """The confidence of the least certain label on the picture, without drawing any."""
        sure = [
            predictor.predict(self._embeddings.of(place, predictor), [], name).confidence
            for predictor, labels in self._known_labels(image)
            for name in labels
        ]
        there = [confidence for confidence in sure if confidence >= _LEAST_CONFIDENCE]
        return min(there) if there else max(sure, default=None)

    def _known_labels(self, image: ImageControls) -> list[_LabelGroup]:
        """The labels that can be asked for by name, by the predictor that serves them."""
        known = [
            (predictor, control, label)
            for control, label in image.labels
            if (predictor := self._for_label(label.value)).tokenizer.knows(label.value)
        ]
        groups: dict[str, _LabelGroup] = {}
        for predictor, control, label in reversed(known[:_MOST_LABELS]):
            _, labels = groups.setdefault(predictor.version, (predictor, {}))
            labels[label.value] = control, label
        return list(groups.values())

    def _regions(
        self, task: Task, image: ImageControls, objects: Sequence[_Labelled]
    ) -> list[dict[str, Any]]:
        return [
            item
            for number, (instance, control, label) in enumerate(objects)
            for item in self._region(
                task, image, control, label, instance.mask(), instance.confidence, number
            )
        ]

    def _region(
        self,
        task: Task,
        image: ImageControls,
        control: BrushControl,
        label: Label | None,
        mask: np.ndarray,
        confidence: float,
        number: int = 0,
    ) -> list[dict[str, Any]]:
        if not mask.any():
            return []
        return drawn_mask(
            _region_id(self._predictor.version, task.key, image.name, control.name, label, number),
            mask,
            brush=control,
            to_name=image.name,
            label=label,
            score=confidence,
            tolerance=self._tolerance,
        ).items

    def _answer(self, result: Sequence[dict[str, Any]], score: float | None) -> Answer:
        return {
            "result": list(result),
            "score": None if score is None else round(score, 4),
            "model_version": self._predictor.version,
        }


def _may_pass(error: Exception) -> bool:
    """Whether the next request may find it over: a host that is away, or that an admin allows."""
    if isinstance(error, PictureFormatError):
        return False
    return isinstance(error, PictureError | LabelStudioError | DatabaseError)


def _label_for(phrase: str, image: ImageControls) -> tuple[BrushControl, Label | None]:
    """The label that the phrase names; the config's first where it names none."""
    named = labels_named(phrase, image.labels) or image.labels
    return named[0] if named else (image.brushes[0], None)


def _region_id(*what: object) -> str:
    """The same for the same task, label and model, with a number for each of several objects."""
    return hashlib.blake2b(repr(what).encode(), digest_size=6).hexdigest()


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 0.0
