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
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from backend.errors import (
    DatabaseError,
    LabelStudioError,
    PictureError,
    PictureFormatError,
    TooManyError,
)
from backend.images.embeddings import Embeddings, TaskPicture
from backend.interaction.answer import LEAST_CONFIDENCE
from backend.interaction.label_words import asks_for_all, labels_named
from backend.interaction.named_objects import Class, NamedObject, kinds_of, objects_named
from backend.label_studio.controls import BrushControl, ImageControls, Label, LabelConfig
from backend.label_studio.payloads import PredictRequest, Project, Task
from backend.label_studio.regions import drawn_mask
from backend.metrics import Metrics
from model.errors import PhraseClickError
from model.predictor import Predictor

_log = logging.getLogger(__name__)

# One prediction. An empty list: none for now, so Label Studio stores nothing and asks again.
Answer = dict[str, Any] | list[Any]
Masks = tuple[list[dict[str, Any]], float | None]
_Masked = tuple[np.ndarray, float, BrushControl, Label | None]  # with the confidence
_Class = tuple[BrushControl, Label]

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
_PASSING = (PictureError, LabelStudioError, DatabaseError, TooManyError)
# An object that nobody asked for is shown if its mask is more likely right than wrong.
_LEAST_CONFIDENCE = 0.5


@dataclass(frozen=True)
class Preannotation:
    """Answers a call without a context: "retrieve predictions", or the opening of a task.

    One for each request, so that all its tasks are predicted by the same version.
    """

    embeddings: Embeddings
    predictor: Predictor
    metrics: Metrics
    for_label: Callable[[str], Predictor]  # the one that serves a label
    label_masks: LabelMasks
    outline_tolerance: float = 0.5

    def answers(self, request: PredictRequest, config: LabelConfig) -> list[Answer]:
        """One for each task, in their order; an empty list for those that time did not allow."""
        if len(request.tasks) == 1:
            return [self._task(request.tasks[0], config, request.project, alone=True)]
        self._warn_of_names(config, request.project)
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
            self.metrics.batches.pop(_predicting(request.project), None)

    def _warn_of_names(self, config: LabelConfig, project: Project) -> None:
        """Say in the log which label names find nothing in pictures without a phrase."""
        labels = [entry for image in config.images for entry in image.labels]
        if self.label_masks == "never" or not labels:
            return
        known = self._first_known(labels, _MOST_LABELS + 1)
        if not known:
            _log.warning(
                "Project %s: the model knows none of its %d label names, so tasks without a phrase "
                "get empty predictions. A training teaches it the names.",
                project.id,
                len(labels),
            )
        elif len(known) > _MOST_LABELS:
            _log.warning(
                "Project %s: predictions look for %d labels only, of %d: for those that were "
                "learned, then for its first ones.",
                project.id,
                _MOST_LABELS,
                len(labels),
            )

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
            done = f"{number + 1:,} of {len(waiting):,} tasks"
            self.metrics.batches[_predicting(project)] = done
            if time.monotonic() - reported > _REPORT_S:
                reported = time.monotonic()
                _log.info("Project %s: %s are predicted", project.id, done)
        if missed:
            _log.warning(
                "Project %s: %d of %d tasks have no answer yet; Label Studio asks for them again",
                project.id,
                missed,
                len(waiting),
            )
        return answers

    def _task(self, task: Task, config: LabelConfig, project: Project, *, alone: bool) -> Answer:
        images: tuple[ImageControls, ...] = ()
        try:
            images = config.images_of(task.data)
            answers = [self._image(task, image, project, alone=alone) for image in images]
        except Exception as error:  # one task's trouble must not empty the others
            self.metrics.failure(error)
            self.metrics.task("failed")
            if isinstance(error, PhraseClickError):
                _log.warning("Task %s of project %s: %s", task.id, project.id, error)
            else:
                _log.exception("Task %s of project %s could not be predicted", task.id, project.id)
            # The next request may find it over: a host that is away, or that an admin allows.
            may_pass = isinstance(error, _PASSING) and not isinstance(error, PictureFormatError)
            addressed = all(image.address(task.data) for image in images)
            return [] if addressed and may_pass else self._answer([], 0.0)
        masks = [one for one in answers if one is not None]
        if len(masks) < len(answers):
            return []
        result = [region for regions, _ in masks for region in regions]
        scores = [score for _, score in masks if score is not None]
        self.metrics.task("mask" if result else "empty")
        return self._answer(result, min(scores) if scores else None)

    def _image(
        self, task: Task, image: ImageControls, project: Project, *, alone: bool
    ) -> Masks | None:
        """Regions and score of one picture; None where the task was merely opened."""
        place = TaskPicture.of(task, image, project)
        phrase = image.batch_phrase(task.data)
        if phrase:
            return self._of_phrase(task, image, phrase, place)
        if alone and self.label_masks != "always":
            # This is also the request when a task is opened. The page waits for the answer, and
            # clicks inside a mask would select it: so there is none, and the picture is encoded in
            # the background.
            if self.embeddings.at_hand(place, self.predictor) is None:
                self.embeddings.ahead(place, self.predictor)
            return None
        self.embeddings.of(place, self.predictor)
        objects, confidences = self._of_labels(image, place)
        if not objects or self.label_masks == "never":
            return [], _least_certain(confidences)
        regions = self._regions(task, image, map(_masked, objects))
        return regions, objects[-1].instance.confidence

    def _of_phrase(
        self, task: Task, image: ImageControls, phrase: str, place: TaskPicture
    ) -> Masks:
        named = labels_named(phrase, image.labels)
        # A phrase that names no label gets the config's first.
        control, label = next(iter(named or image.labels), (image.brushes[0], None))
        predictor = self._serving(label)
        if predictor.tokenizer.read(phrase).unknown:
            return [], 0.0
        if asks_for_all(phrase, image.labels):
            kinds = kinds_of(phrase, image.labels, (control, label))
            objects, sure = self._named(kinds, place, LEAST_CONFIDENCE)
            least = min((one.instance.confidence for one in objects), default=max(sure))
            return self._regions(task, image, map(_masked, objects)), least
        prediction = predictor.predict(self.embeddings.of(place, predictor), [], phrase)
        confidence = prediction.confidence
        if confidence < LEAST_CONFIDENCE:
            return [], confidence
        masked = prediction.mask(), confidence, control, label
        return self._regions(task, image, [masked]), confidence

    def _of_labels(
        self, image: ImageControls, place: TaskPicture
    ) -> tuple[list[NamedObject], list[float]]:
        """Every object that a label's name finds, the most confident first; and how sure each
        name is."""
        known = reversed(self._first_known(image.labels, _MOST_LABELS))
        kinds = {label.value: (control, label) for control, label in known}
        return self._named(kinds, place, _LEAST_CONFIDENCE)

    def _named(
        self, kinds: Mapping[str, Class], place: TaskPicture, least: float
    ) -> tuple[list[NamedObject], list[float]]:
        return objects_named(
            kinds, self._serving, lambda predictor: self.embeddings.of(place, predictor), least
        )

    def _serving(self, label: Label | None) -> Predictor:
        return self.for_label(label.value) if label else self.predictor

    def _first_known(self, labels: Iterable[_Class], most: int) -> list[_Class]:
        """The first labels whose names are known; those that the champion has learned come first.
        Of thousands of names no more are read."""
        served = [(self.for_label(one[1].value), one) for one in labels]
        # What the champion has learned is what the team labels.
        served.sort(key=lambda entry: entry[0] is not self.predictor)
        known = (one for predictor, one in served if predictor.tokenizer.knows(one[1].value))
        return list(itertools.islice(known, most))

    def _regions(
        self, task: Task, image: ImageControls, objects: Iterable[_Masked]
    ) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for number, (mask, confidence, control, label) in enumerate(objects):
            # The same for the same task, label and model; several objects have a number each.
            name = (self.predictor.version, task.key, image.name, control.name, label, number)
            items += drawn_mask(
                hashlib.blake2b(repr(name).encode(), digest_size=6).hexdigest(),
                mask,
                brush=control,
                to_name=image.name,
                label=label,
                score=confidence,
                tolerance=self.outline_tolerance,
            ).items
        return items

    def _answer(self, result: Sequence[dict[str, Any]], score: float | None) -> Answer:
        return {
            "result": list(result),
            "score": None if score is None else round(score, 4),
            "model_version": self.predictor.version,
        }


def _masked(one: NamedObject) -> _Masked:
    return one.instance.mask(), one.instance.confidence, one.brush, one.label


def _least_certain(confidences: Sequence[float]) -> float | None:
    """Of those that are there, or else the highest."""
    there = [confidence for confidence in confidences if confidence >= _LEAST_CONFIDENCE]
    return min(there) if there else max(confidences, default=None)


def _predicting(project: Project) -> str:
    return f"predicting for project {project.id}:"
