"""The journey of a click: what it belongs to, its picture, the mask, the answer, one log entry.

Whatever fails on the way, the answer is HTTP 200 with a sentence in the status line: Label Studio
shows an annotator nothing else.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from backend.images.embeddings import Embeddings, Place
from backend.interaction.decision import Outcome, TargetView, Turn
from backend.interaction.probe import probe_turn
from backend.interaction.request import ClickPrompt, Interaction
from backend.interaction.status_line import Understood, failed, noted, status_item, understood
from backend.interaction.store import InteractionMemory
from backend.label_studio import rle
from backend.label_studio.annotations import brush_items
from backend.label_studio.config import ImageControls, LabelConfig
from backend.label_studio.payloads import PredictRequest, Project, Task
from backend.metrics import Metrics
from backend.registry.serving import Predictors
from model.errors import PhraseClickError
from model.predictor import Click, Embedding, Prediction, Predictor

_log = logging.getLogger(__name__)

Answer = dict[str, Any]


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


class Interactive:
    """Answers clicks and phrases."""

    def __init__(
        self,
        memory: InteractionMemory,
        embeddings: Embeddings,
        predictors: Predictors,
        metrics: Metrics,
    ) -> None:
        self._memory = memory
        self._embeddings = embeddings
        self._predictors = predictors
        self._metrics = metrics

    def answer(self, request: PredictRequest, config: LabelConfig) -> Answer:
        """One result: the mask's region and the status line, or the status line alone."""
        steps = Steps(self._metrics)
        interaction = Interaction.read(request, config)
        kind = "phrase" if interaction.phrase and not interaction.clicks else "click"
        image = interaction.image or config.images[0]
        turn: Turn | None = None
        predictor = self._predictors.champion(request.project)
        try:
            with steps.timed("memory"):
                turn = self._turn(request, interaction, predictor)
            self._metrics.prompts(turn.counts.kinds)
            image = turn.image or image
            if turn.action == "nothing":
                return self._remark(predictor, turn.image, turn.notes)
            predictor = self._predictor_of(turn.target, request.project, predictor)
            answer, outcome = self._predicted(request, interaction, turn, predictor, steps)
            if request.probe:
                return answer
        except Exception as error:
            if not isinstance(error, PhraseClickError):
                _log.exception("An interactive request failed")
            self._metrics.failure(error)
            if not request.probe:
                self._metrics.interaction(kind, "failed")
                self._record_failure(turn, failed(error), predictor, steps)
            return self._answer(predictor, self._status(image, failed(error)), 0.0)
        with steps.timed("record"):
            self._memory.record(turn, outcome)
        self._metrics.interaction(kind, "empty" if outcome.rle is None else "mask")
        return answer

    # -- steps

    def _turn(self, request: PredictRequest, interaction: Interaction, champion: Predictor) -> Turn:
        if request.probe:
            return probe_turn(interaction)
        return self._memory.receive(
            interaction,
            touches=lambda click, target: self._touches(request, click, target, champion),
            champion=champion.version,
        )

    def _predictor_of(
        self, target: TargetView | None, project: Project, champion: Predictor
    ) -> Predictor:
        """What was begun with a version finishes on it, whatever was promoted since."""
        began = target.model_version if target else ""
        if began in ("", champion.version):
            return champion
        return self._predictors.begun_with(began, project)

    def _predicted(
        self,
        request: PredictRequest,
        interaction: Interaction,
        turn: Turn,
        predictor: Predictor,
        steps: Steps,
    ) -> tuple[Answer, Outcome]:
        target = turn.target
        assert target is not None, "the memory names a target for every prediction"
        place = _place(request, target.image)
        embedding = self._embeddings.of(
            place,
            predictor,
            shown=None if request.probe else _shown_size(interaction),
            timed=steps.timed,
        )
        self._embeddings.on_screen(place)
        with steps.timed("predict"):
            prediction = predictor.predict(
                embedding,
                [_click(c.x_percent, c.y_percent, c.positive, embedding) for c in target.clicks],
                target.phrase or "",
                _fitting(target.previous_mask, embedding),
            )
            mask = prediction.mask()
        with steps.timed("brush"):
            found = bool(mask.any())
            encoded = rle.encode(mask) if found else None
        result: list[dict[str, Any]] = []
        if encoded is not None:
            result += brush_items(
                target.region_id,
                brush=target.brush,
                to_name=target.image.name,
                label=target.label,
                rle=encoded,
                size=(embedding.width, embedding.height),
                score=prediction.confidence,
            )
        result += self._status(target.image, understood(_said(turn, target, prediction, found)))
        outcome = Outcome(
            mask=mask,
            confidence=prediction.confidence,
            model_version=predictor.version,
            milliseconds=steps.total(),
            steps=steps.milliseconds,
            rle=encoded,
        )
        return self._answer(predictor, result, prediction.confidence), outcome

    def _touches(
        self, request: PredictRequest, click: ClickPrompt, target: TargetView, champion: Predictor
    ) -> bool:
        """Whether the click lies in the target's mask, or its own mask would share a pixel with it.

        A picture that cannot be read fails in the prediction that follows, and says so there.
        """
        previous = target.previous_mask
        if previous is None:
            return False
        predictor = self._predictor_of(target, request.project, champion)
        try:
            embedding = self._embeddings.of(_place(request, target.image), predictor)
            alone = _click(click.x_percent, click.y_percent, True, embedding)
            column = min(int(alone.x), previous.shape[1] - 1)
            if previous[min(int(alone.y), previous.shape[0] - 1), column]:
                return True
            mask = predictor.predict(embedding, [alone], target.phrase or "").mask()
        except PhraseClickError:
            return False
        return previous.shape == mask.shape and bool((previous & mask).any())

    def _record_failure(
        self, turn: Turn | None, sentence: str, predictor: Predictor, steps: Steps
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
            self._memory.record(turn, outcome)
        except Exception:  # the database may be what failed; the annotator is told in any case
            _log.exception("A failure could not be recorded")

    def _remark(
        self, predictor: Predictor, image: ImageControls | None, notes: tuple[str, ...]
    ) -> Answer:
        if image is None or not notes:
            return {"result": []}
        return self._answer(predictor, self._status(image, noted(notes)), 0.0)

    @staticmethod
    def _answer(predictor: Predictor, result: list[dict[str, Any]], score: float) -> Answer:
        return {"result": result, "score": round(score, 4), "model_version": predictor.version}

    @staticmethod
    def _status(image: ImageControls, sentence: str) -> list[dict[str, Any]]:
        return [status_item(image.status, image.name, sentence)] if image.status else []


def place_of(task: Task, image: ImageControls, project: Project) -> Place:
    """Where the picture of this image control lies, for this task."""
    return Place(image.address(task.data), project, task.id)


def _place(request: PredictRequest, image: ImageControls) -> Place:
    return place_of(request.tasks[0], image, request.project)


def _click(x_percent: float, y_percent: float, positive: bool, embedding: Embedding) -> Click:
    """From percents to pixels of the picture as it really is, never as the page announced it."""
    return Click(
        x=x_percent / 100 * embedding.width,
        y=y_percent / 100 * embedding.height,
        positive=positive,
    )


def _shown_size(interaction: Interaction) -> tuple[int, int] | None:
    """Width and height of the picture as the page shows it; a phrase does not tell."""
    for click in interaction.clicks:
        if click.original_width and click.original_height:
            return click.original_width, click.original_height
    return None


def _fitting(previous: np.ndarray | None, embedding: Embedding) -> np.ndarray | None:
    """The mask before, unless the picture at this address has been replaced since."""
    if previous is None or previous.shape != (embedding.height, embedding.width):
        return None
    return previous


def _said(turn: Turn, target: TargetView, prediction: Prediction, found: bool) -> Understood:
    typed = target.phrase_source == "typed"
    return Understood(
        positives=turn.counts.positives,
        negatives=turn.counts.negatives,
        label=target.label.value if target.label is not None else "mask",
        confidence=prediction.confidence,
        found=found,
        phrase=(target.phrase or "") if typed else "",
        known=not typed or bool(prediction.tokens.words),
        corrected=tuple(prediction.tokens.corrected) if typed else (),
        ignored=tuple(prediction.tokens.ignored) if typed else (),
        notes=turn.notes,
    )
