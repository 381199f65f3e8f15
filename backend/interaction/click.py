"""The way of a click, from Label Studio's request to the answer. Start reading here.

    payload -> config -> object (rules) -> embedding -> predictor -> RLE -> response

and one event appended to the log. A phrase takes the same way. If anything fails, the answer is
HTTP 200 with a sentence in the status line: Label Studio shows an annotator nothing else.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from backend.errors import LabelConfigError, RequestError
from backend.images.embeddings import Embeddings, TaskPicture
from backend.interaction import suggestions
from backend.interaction.label_words import about_one
from backend.interaction.mask_history import digest
from backend.interaction.objects import Click, Outcome, Prompts, Turn
from backend.interaction.preannotate import Preannotation
from backend.interaction.request import Interaction
from backend.interaction.status_line import (
    Understood,
    failed,
    noted,
    said_of_several,
    status_item,
    understood,
)
from backend.interaction.store import InteractionStore
from backend.label_studio.config import LabelConfig, status_control
from backend.label_studio.controls import ImageControls
from backend.label_studio.payloads import PredictRequest, parse_predict
from backend.label_studio.projects import Projects
from backend.label_studio.regions import parse_result
from backend.metrics import Metrics
from backend.registry.serving import Predictors
from backend.settings import Settings
from model.errors import PhraseClickError
from model.predictor import Click as PixelClick
from model.predictor import Embedding, Instances, Prediction, Predictor

_log = logging.getLogger(__name__)

Answer = dict[str, Any]


class Predict:
    """Answers ``POST /predict``: one click or phrase, or a batch of tasks. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        projects: Projects,
        store: InteractionStore,
        embeddings: Embeddings,
        predictors: Predictors,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._projects = projects
        self._store = store
        self._embeddings = embeddings
        self._predictors = predictors
        self._metrics = metrics

    def __call__(self, body: object) -> Answer:
        """Label Studio's answer to the JSON body of a request.

        Raises:
            RequestError, LabelConfigError: Label Studio does not send bodies like this.
        """
        request = parse_predict(body)
        if not request.tasks:
            return {"results": []}
        if request.interactive and len(request.tasks) > 1:
            raise RequestError("An interactive request holds one task; this one holds more.")
        xml = request.label_config or self._projects.label_config(request.project)
        try:
            config = LabelConfig.parse(
                xml,
                add_label=self._settings.refine_positive_label,
                remove_label=self._settings.refine_negative_label,
            )
        except LabelConfigError as error:
            if not request.interactive:
                raise
            # /setup refused it already.
            _log.warning("Project %s: %s", request.project.id, error)
            self._metrics.failure(error)
            version = self._predictors.serves(request.project).version
            status, image = status_control(xml) if request.context else ("", "")
            result = []
            if status:
                result = [status_item(status, image, failed(error), mask=False)]
            return {"results": [{"result": result, "score": 0.0, "model_version": version}]}
        if request.interactive:
            config = config.of(request.tasks[0].data)
            return {"results": [self._click(request, config)]}
        champion = self._predictors.champion(request.project)
        batch = Preannotation(
            self._embeddings,
            champion,
            self._metrics,
            self._settings.label_masks,
            self._settings.outline_tolerance,
            lambda label: self._predictors.for_label(request.project, label),
        )
        return {"results": batch.answers(request, config)}

    # -- one click or phrase

    def _click(self, request: PredictRequest, config: LabelConfig) -> Answer:
        """The mask's region and the status line, or the status line alone."""
        steps = Steps(self._metrics)
        interaction = Interaction.read(request, config)
        image = interaction.image or config.images[0]
        predictor = self._predictors.champion(request.project)
        turn: Turn | None = None
        try:
            with steps.timed("memory"):
                turn = self._assign(request, interaction, predictor)
            self._metrics.prompts(turn.new)
            if turn.target is None:
                return _remark(interaction, turn, predictor)
            predictor = self._predictor_of(turn.target, request, predictor)
            answer, outcome = self._answer(
                request, interaction, turn, turn.target, predictor, steps
            )
        except Exception as error:
            if not isinstance(error, PhraseClickError):
                _log.exception("An interactive request failed")
            self._metrics.failure(error)
            if not request.probe:
                self._metrics.interaction(interaction.kind, "failed")
                self._record_failure(turn, failed(error), predictor, steps)
            return _response(predictor, _status(image, failed(error)), 0.0)
        if not request.probe:
            with steps.timed("record"):
                self._store.record(turn, outcome)
            outcome_name = "mask" if outcome.digest else "empty"
            self._metrics.interaction(interaction.kind, outcome_name)
        return answer

    def _assign(
        self, request: PredictRequest, interaction: Interaction, champion: Predictor
    ) -> Turn:
        """Decide which object is meant, and log the click before the model runs."""

        def touches(click: Click, target: Prompts) -> bool:
            return self._touches(request, click, target, champion)

        def version_for(label: str) -> str:
            return self._predictors.for_label(request.project, label).version

        return self._store.receive(
            interaction, touches=touches, version_for=version_for, keep=not request.probe
        )

    def _predictor_of(
        self, target: Prompts, request: PredictRequest, champion: Predictor
    ) -> Predictor:
        """An object finishes on the version that it began with, even after a promotion."""
        if target.model_version in ("", champion.version):
            return champion
        return self._predictors.begun_with(target.model_version, request.project)

    def _answer(
        self,
        request: PredictRequest,
        interaction: Interaction,
        turn: Turn,
        target: Prompts,
        predictor: Predictor,
        steps: "Steps",
    ) -> tuple[Answer, Outcome]:
        place = TaskPicture.of(request.tasks[0], target.image, request.project)
        # The size that a probe sends is made up.
        shown = None if request.probe else interaction.size
        embedding = self._embeddings.of(place, predictor, shown=shown, timed=steps.timed)
        self._embeddings.on_screen(place)
        if target.every:
            return self._every(interaction, turn, target, predictor, embedding, steps)
        with steps.timed("predict"):
            prediction = predictor.predict(
                embedding,
                [_in_pixels(click, embedding) for click in target.points],
                about_one(target.phrase) if target.clicks else target.phrase,
                _fitting(target.previous_mask, embedding),
                _box_in_pixels(target.box, embedding),
            )
            mask = prediction.mask()
            if target.edits is not None:
                mask = target.edits.applied(mask)
            unsure = (
                not target.clicks
                and bool(mask.any())
                and prediction.confidence < suggestions.LEAST_CONFIDENCE
            )
            if unsure:
                mask = np.zeros_like(mask)
        with steps.timed("brush"):
            tolerance = self._settings.outline_tolerance
            drawn = suggestions.region(target, mask, prediction.confidence, tolerance)
            items = list(drawn.items)
            if target.clicks:
                items += suggestions.shown_again(turn.suggestions, target.image, tolerance)
        answer = _understood(turn, target, prediction, found=bool(drawn.items), holes=drawn.holes)
        said = understood(replace(answer, unsure=unsure))
        result = [*items, *_status(target.image, said, mask=bool(drawn.items))]
        outcome = Outcome(
            mask=drawn.mask,
            confidence=prediction.confidence,
            model_version=predictor.version,
            milliseconds=steps.total(),
            steps=steps.milliseconds,
            digest=digest(parse_result(drawn.items)[0]) if drawn.items else "",
            suggestions=None if target.clicks else (),
        )
        return _response(predictor, result, prediction.confidence), outcome

    def _every(
        self,
        interaction: Interaction,
        turn: Turn,
        target: Prompts,
        predictor: Predictor,
        embedding: Embedding,
        steps: "Steps",
    ) -> tuple[Answer, Outcome]:
        """One region for each object that the phrase means."""
        with steps.timed("predict"):
            instances = predictor.instances(embedding, target.phrase, suggestions.LEAST_CONFIDENCE)
        with steps.timed("brush"):
            objects = suggestions.unlabeled(instances.objects, interaction.saved)
            size = embedding.width, embedding.height
            several = suggestions.drawn(
                objects, turn, target, size, self._settings.outline_tolerance
            )
        said = said_of_several(
            _understood(turn, target, instances, found=bool(several.items)),
            found=len(instances.objects),
            confidences=several.confidences,
        )
        outcome = Outcome(
            mask=several.mask,
            confidence=instances.confidence,
            model_version=predictor.version,
            milliseconds=steps.total(),
            steps=steps.milliseconds,
            digest=several.digest,
            suggestions=several.others,
        )
        result = [*several.items, *_status(target.image, said, mask=bool(several.items))]
        score = min(several.confidences, default=instances.confidence)
        return _response(predictor, result, score), outcome

    def _touches(
        self, request: PredictRequest, click: Click, target: Prompts, champion: Predictor
    ) -> bool:
        """Whether a click lies in an object's mask, or its own mask would share a pixel with it.

        A picture that cannot be read fails in the prediction that follows, which says why.
        """
        previous = target.previous_mask
        if previous is None:
            return False
        predictor = self._predictor_of(target, request, champion)
        place = TaskPicture.of(request.tasks[0], target.image, request.project)
        try:
            embedding = self._embeddings.of(place, predictor)
            column, row = click.pixel(previous.shape[1], previous.shape[0])
            if previous[min(int(row), previous.shape[0] - 1)][
                min(int(column), previous.shape[1] - 1)
            ]:
                return True
            alone = [_in_pixels(click, embedding)]
            mask = predictor.predict(embedding, alone, about_one(target.phrase)).mask()
        except PhraseClickError:
            return False
        return previous.shape == mask.shape and bool((previous & mask).any())

    def _record_failure(
        self, turn: Turn | None, sentence: str, predictor: Predictor, steps: "Steps"
    ) -> None:
        if turn is None:
            return
        outcome = Outcome(
            model_version=predictor.version,
            milliseconds=steps.total(),
            steps=steps.milliseconds,
            error=sentence,
        )
        try:
            self._store.record(turn, outcome)
        except Exception:  # the database may be what failed; the annotator is answered anyway
            _log.exception("A failure could not be recorded")


class Steps:
    """Milliseconds of each step of one request, for the event log and the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._started = time.perf_counter()
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Time a step; the same step twice adds up."""
        started = time.perf_counter()
        try:
            with self._metrics.step(step):
                yield
        finally:
            spent = (time.perf_counter() - started) * 1000
            self.milliseconds[step] = round(self.milliseconds.get(step, 0.0) + spent, 2)

    def total(self) -> float:
        """Milliseconds since the request came."""
        return round((time.perf_counter() - self._started) * 1000, 2)


def _in_pixels(click: Click, embedding: Embedding) -> PixelClick:
    """In pixels of the picture as it really is, not as the page announced it."""
    x, y = click.pixel(embedding.width, embedding.height)
    return PixelClick(x, y, click.positive)


def _box_in_pixels(
    box: Click | None, embedding: Embedding
) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom."""
    if box is None or box.box is None:
        return None
    left, top, right, bottom = (part / 100 for part in box.box)
    width, height = embedding.width, embedding.height
    return left * width, top * height, right * width, bottom * height


def _fitting(previous: np.ndarray | None, embedding: Embedding) -> np.ndarray | None:
    """The mask before, unless the picture at this address has been replaced since."""
    if previous is None or previous.shape != (embedding.height, embedding.width):
        return None
    return previous


def _remark(interaction: Interaction, turn: Turn, predictor: Predictor) -> Answer:
    """Notes alone, where there is nothing to predict."""
    if interaction.image is None or not turn.notes:
        return {"result": []}
    return _response(predictor, _status(interaction.image, noted(turn.notes)), 0.0)


def _response(predictor: Predictor, result: list[dict[str, Any]], score: float) -> Answer:
    return {"result": result, "score": round(score, 4), "model_version": predictor.version}


def _status(image: ImageControls, sentence: str, *, mask: bool = False) -> list[dict[str, Any]]:
    """The sentence as items of a result; mask: whether it is about a mask of this answer."""
    return [status_item(image.status, image.name, sentence, mask=mask)] if image.status else []


def _understood(
    turn: Turn,
    target: Prompts,
    prediction: Prediction | Instances,
    *,
    found: bool,
    holes: int = 0,
) -> Understood:
    typed = target.phrase_source == "typed"
    positives = sum(click.positive for click in target.points)
    return Understood(
        positives=positives,
        negatives=len(target.points) - positives,
        boxed=target.box is not None,
        label=target.label.value if target.label is not None else "mask",
        confidence=prediction.confidence,
        found=found,
        holes=holes,
        phrase=target.phrase if typed else "",
        known=not typed or bool(prediction.tokens.words),
        corrected=tuple(prediction.tokens.corrected) if typed else (),
        near=prediction.tokens.understood_as if typed else (),
        unfamiliar=prediction.tokens.unfamiliar if typed else (),
        ignored=tuple(prediction.tokens.ignored) if typed else (),
        can_click=bool(target.image.clicks),
        notes=turn.notes,
        started=turn.started,
        accepted=target.accepted,
        adds=target.image.adds,
    )
