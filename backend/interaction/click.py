"""The way of a click, from Label Studio's request to the answer. Start reading here.

    payload -> config -> object (rules) -> embedding -> predictor -> RLE -> response

and one event appended to the log. A phrase takes the same way. If anything fails, the answer is
HTTP 200 with a sentence in the status line: Label Studio shows an annotator nothing else.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backend.errors import BackendError, LabelConfigError, RequestError, TooManyError
from backend.images.embeddings import Embeddings, TaskPicture
from backend.interaction.answer import (
    LEAST_CONFIDENCE,
    Drawn,
    draw_one,
    draw_several,
    failed,
    noted,
    said_of_several,
    status_item,
    understood,
    unlabeled,
)
from backend.interaction.named_objects import kinds_of, objects_named, read_by
from backend.interaction.objects import Click, Outcome
from backend.interaction.preannotate import Preannotation
from backend.interaction.request import Interaction, Prompts, Turn
from backend.interaction.store import InteractionStore
from backend.label_studio.config import status_control
from backend.label_studio.controls import Label, LabelConfig
from backend.label_studio.payloads import PredictRequest, parse_predict
from backend.label_studio.projects import Projects
from backend.metrics import Metrics, Steps
from backend.registry.serving import Predictors
from backend.settings import Settings
from model.errors import PhraseClickError
from model.predictor import Embedding, Instances, Predictor
from model.spelling import about_one

_log = logging.getLogger(__name__)

Answer = dict[str, Any]

PICTURE_REPLACED = "The picture has been replaced, so the mask before no longer counts"


@dataclass(frozen=True)
class Predict:
    """Answers ``POST /predict``: one click or phrase, or a batch of tasks. Thread-safe."""

    settings: Settings
    read_config: Callable[[str], LabelConfig]
    projects: Projects
    store: InteractionStore
    embeddings: Embeddings
    predictors: Predictors
    metrics: Metrics

    def __call__(self, body: object) -> Answer:
        """Label Studio's answer to the JSON body of a request.

        Raises:
            RequestError, LabelConfigError: Label Studio does not send bodies like this.
        """
        request = parse_predict(body)
        if not request.tasks:
            return {"results": []}
        if request.interactive:
            return {"results": [self._click_or_phrase(request)]}
        return {"results": self._batch(request)}

    def _click_or_phrase(self, request: PredictRequest) -> Answer:
        """Clicks or a phrase on one task."""
        if len(request.tasks) > 1:
            raise RequestError("An interactive request holds one task; this one holds more.")
        xml = self._config_of(request)
        try:
            config = self.read_config(xml).of(request.tasks[0].data)
        except (LabelConfigError, TooManyError) as error:
            return self._refused(request, xml, error)
        return _Interactive(self, request, config).answer()

    def _batch(self, request: PredictRequest) -> Sequence[Answer | list[Any]]:
        """Masks before anyone clicks: "retrieve predictions", or a task that was opened."""
        config = self.read_config(self._config_of(request))
        batch = Preannotation(
            self.embeddings,
            self.predictors.champion(request.project),
            self.metrics,
            lambda label: self.predictors.for_label(request.project, label),
            self.settings.label_masks,
            self.settings.outline_tolerance,
        )
        return batch.answers(request, config)

    def _config_of(self, request: PredictRequest) -> str:
        return request.label_config or self.projects.label_config(request.project)

    def _refused(self, request: PredictRequest, xml: str, error: BackendError) -> Answer:
        """Why a labeling config cannot be read, as ``/setup`` said already."""
        _log.warning("Project %s: %s", request.project.id, error)
        self.metrics.failure(error)
        status, image = status_control(xml) if request.context else ("", "")
        result = [status_item(status, image, failed(error), mask=False)] if status else []
        version = self.predictors.serves(request.project).version
        return {"result": result, "score": 0.0, "model_version": version}


class _Interactive:
    """One click or phrase on its way to an answer."""

    def __init__(self, parts: Predict, request: PredictRequest, config: LabelConfig) -> None:
        self._parts = parts
        self._request = request
        self._ask = Interaction.read(request, config)
        # One status line may serve several images.
        images = [image for image in config.images if image.status] or config.images
        self._image = next((image for image in images if image is self._ask.image), images[0])
        self._predictor: Predictor | None = None  # until the object is known
        self._steps = Steps(parts.metrics)

    def answer(self) -> Answer:
        """The mask's regions and the status line, or the status line alone."""
        turn: Turn | None = None
        try:
            # Which object is meant? The click is in the log before the model runs.
            with self._steps.timed("memory"):
                turn = self._assign()
            self._parts.metrics.prompts(turn.new)
            if turn.target is None:
                return self._response(noted(turn.notes)) if turn.notes else {"result": []}
            # The model version that the object began with, and its encoding of the picture.
            self._predictor = self._predictor_of(turn.target)
            embedding = self._embedding(turn.target, self._predictor)
            # The mask as regions of the page, and a sentence about it.
            answer = self._every if turn.target.every else self._one
            drawn, confidence, sentence = answer(turn, turn.target, self._predictor, embedding)
        except Exception as error:
            return self._failed(turn, error)
        # The next click builds on this mask; reports read the outcome in the log.
        outcome = self._outcome(
            mask=drawn.own.mask,
            confidence=confidence,
            digest=drawn.digest,
            picture=embedding.key,
        )
        found = bool(outcome.digest)
        if not self._request.probe:
            with self._steps.timed("record"):
                answered = replace(turn, target=drawn.target)
                self._parts.store.record(answered, outcome, drawn.suggestions)
            self._parts.metrics.interaction(self._ask.kind, "mask" if found else "empty")
        score = min(drawn.confidences, default=confidence)
        return self._response(sentence, drawn.items, score, mask=found)

    def _assign(self) -> Turn:
        """Decide which object is meant, and log the click before the model runs."""
        project = self._request.project
        return self._parts.store.receive(
            self._ask,
            touches=self._touches,
            version_for=lambda label: self._parts.predictors.for_label(project, label).version,
            keep=not self._request.probe,
        )

    def _predictor_of(self, target: Prompts) -> Predictor:
        """An object finishes on the version that it began with, even after a promotion."""
        return self._parts.predictors.begun_with(target.model_version, self._request.project)

    def _embedding(self, target: Prompts, predictor: Predictor) -> Embedding:
        """The picture as the predictor sees it, encoded at its first click."""
        place = TaskPicture.of(self._request.tasks[0], target.image, self._request.project)
        # The size that a probe sends is made up.
        shown = None if self._request.probe else self._ask.size
        return self._parts.embeddings.of(place, predictor, shown=shown, timed=self._steps.timed)

    def _one(
        self, turn: Turn, target: Prompts, predictor: Predictor, embedding: Embedding
    ) -> tuple[Drawn, float, str]:
        """The object's region, its confidence, and the sentence for the status line."""
        size = embedding.width, embedding.height
        with self._steps.timed("predict"):
            previous = target.previous_mask
            same = target.picture in ("", embedding.key)
            if previous is not None and not (same and previous.shape == size[::-1]):
                target, previous = replace(target, edits=None), None
                turn = replace(turn, notes=(*turn.notes, PICTURE_REPLACED), suggestions=())
            prediction = predictor.predict(
                embedding,
                [click.in_pixels(*size) for click in target.points],
                about_one(target.phrase) if target.clicks else target.phrase,
                previous,
                None if target.box is None else target.box.corners(*size),
                suggested=target.suggested,
            )
            mask = prediction.mask()
            if target.edits is not None:
                mask = target.edits.applied(mask)
            doubted = prediction.confidence < LEAST_CONFIDENCE or prediction.tokens.unknown
            unsure = not target.clicks and doubted and bool(mask.any())
            if unsure:
                mask = np.zeros_like(mask)
        with self._steps.timed("brush"):
            tolerance = self._parts.settings.outline_tolerance
            drawn = draw_one(turn, target, mask, prediction.confidence, tolerance)
        sentence = understood(turn, target, prediction, drawn.own, unsure=unsure)
        return drawn, prediction.confidence, sentence

    def _every(
        self, turn: Turn, target: Prompts, predictor: Predictor, embedding: Embedding
    ) -> tuple[Drawn, float, str]:
        """The same for each object that the phrase means."""
        kinds = kinds_of(target.phrase, target.image.labels, (target.brush, target.label))

        def serving(label: Label | None) -> Predictor:
            if label is None or label == target.label:
                return predictor
            return self._parts.predictors.for_label(self._request.project, label.value)

        with self._steps.timed("predict"):
            tokens = read_by(kinds, serving)
            found, sure = objects_named(
                {} if tokens.unknown else kinds,
                serving,
                lambda one: embedding if one is predictor else self._embedding(target, one),
                LEAST_CONFIDENCE,
            )
            instances = tuple(one.instance for one in found)
            read = Instances(instances, tokens, max(sure, default=0.0))
        with self._steps.timed("brush"):
            asked = self._ask
            objects = unlabeled(found, asked.saved, target.image, asked.phrase_ids)
            size = embedding.width, embedding.height
            tolerance = self._parts.settings.outline_tolerance
            drawn = draw_several(turn, target, objects, size, tolerance)
        return drawn, read.confidence, said_of_several(turn, target, read, drawn)

    def _touches(self, click: Click, target: Prompts) -> bool:
        """Whether a click lies in an object's mask, or its own mask would share a pixel with it.

        A picture that cannot be read fails in the prediction that follows, which says why.
        """
        previous = target.previous_mask
        if previous is None:
            return False
        if previous[click.cell(previous)]:
            return True
        predictor = self._predictor_of(target)
        place = TaskPicture.of(self._request.tasks[0], target.image, self._request.project)
        try:
            embedding = self._parts.embeddings.of(place, predictor)
            alone = click.in_pixels(embedding.width, embedding.height)
            mask = predictor.predict(embedding, [alone], about_one(target.phrase)).mask()
        except PhraseClickError:
            return False
        return previous.shape == mask.shape and bool((previous & mask).any())

    @property
    def _version(self) -> str:
        """Of the model that answers: the object's, or the champion where none is known."""
        predictor = self._predictor or self._parts.predictors.champion(self._request.project)
        return predictor.version

    def _outcome(self, **answered: Any) -> Outcome:
        return Outcome(
            model_version=self._version,
            milliseconds=self._steps.total(),
            steps=self._steps.milliseconds,
            **answered,
        )

    def _failed(self, turn: Turn | None, error: Exception) -> Answer:
        if not isinstance(error, PhraseClickError):
            _log.exception("An interactive request failed")
        self._parts.metrics.failure(error)
        sentence = failed(error)
        if not self._request.probe:
            self._parts.metrics.interaction(self._ask.kind, "failed")
            try:
                if turn is not None:
                    self._parts.store.record(turn, self._outcome(error=sentence))
            except Exception:  # the database may be what failed; the annotator is answered anyway
                _log.exception("A failure could not be recorded")
        return self._response(sentence)

    def _response(
        self,
        sentence: str,
        items: Sequence[dict[str, Any]] = (),
        score: float = 0.0,
        *,
        mask: bool = False,
    ) -> Answer:
        """Regions and the status line; mask: whether that is about a mask of this answer."""
        result, image = list(items), self._image
        if image.status:
            result.append(status_item(image.status, image.name, sentence, mask=mask))
        return {"result": result, "score": round(score, 4), "model_version": self._version}
