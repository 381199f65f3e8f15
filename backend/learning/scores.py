"""The scores of a project's tasks: what a task's pictures would cost an annotator, as the serving
version expects; in the database, and as predictions in Label Studio.

What is stored in the database lets a scoring job resume. Label Studio keeps a task's score as the
``score`` of a prediction of the serving version. A task gets one prediction of ours: with several,
Label Studio would take the lowest score, and nobody sees those of earlier versions. Predictions by
others are left alone.

Label Studio serves the lowest score first. When a few tasks join ten thousand that are already in
order, only the new ones need a number: `rank_keys` keeps the longest run of old numbers that still
rises in the new order, and spreads the others over the gaps between them.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.orm import Session

from backend.db.engine import Database
from backend.db.models import ScoreRow
from backend.images.embeddings import Embeddings, TaskPicture
from backend.images.loader import Pictures
from backend.interaction.preannotate import Preannotation
from backend.label_studio.client import LabelStudio
from backend.label_studio.controls import ImageControls, LabelConfig
from backend.label_studio.host import Json
from backend.label_studio.payloads import PredictRequest, Project, Task
from backend.label_studio.projects import LabelStudioHosts
from backend.metrics import Metrics
from backend.settings import Settings
from model.errors import PhraseClickError
from model.predictor import Predictor
from training import acquisition
from training.acquisition import Method
from training.finetune.labels import first_learned

_log = logging.getLogger(__name__)

# Each picture is scored once: only what belongs to it and a few others is kept.
_CACHE_BYTES = 64 * 2**20


class TaskScorer:
    """Scores one project's tasks with one version. Close it when done."""

    def __init__(
        self,
        checkpoints: Sequence[Path],
        settings: Settings,
        hosts: LabelStudioHosts,
        project: Project,
        config: LabelConfig,
        method: Method,
    ) -> None:
        """checkpoints: the version, then those that serve labels which it has not learned."""
        self._predictor = Predictor(
            checkpoints[0],
            device=settings.training_device,
            cache_bytes=_CACHE_BYTES,
            threads=settings.training_threads,
        )
        self._checkpoints = checkpoints
        self._predictors = [self._predictor]  # those that were needed
        self._project = project
        self._config = config
        self._method = method
        self._pictures = Pictures(settings, hosts)
        metrics = Metrics()
        self._embeddings = Embeddings(self._pictures, metrics)
        self._preannotation = Preannotation(
            self._embeddings, self._predictor, metrics, self._serving, "always"
        )

    def close(self) -> None:
        self._embeddings.close()

    def score(self, task: Task) -> ScoreRow:
        """The task's score, or why it has none; Label Studio has none yet."""
        number = task.id or 0
        try:
            images = [self._image(task, image) for image in self._config.images_of(task.data)]
        except Exception as error:  # one broken picture must not cost the others their scores
            if not isinstance(error, PhraseClickError):
                _log.exception("Task %s of project %s", number, self._project.key)
            return _scored(number, error=(str(error) or type(error).__name__)[:1000])
        costs, uncertainties, descriptors = zip(*images, strict=True)
        return _scored(
            number,
            expected=float(np.mean(costs)),
            uncertainty=float(np.mean(uncertainties)),
            descriptor=np.mean(descriptors, axis=0).astype("<f2").tobytes(),
        )

    def masks(self, task: Task) -> list[Json]:
        """Regions by the task's phrase or the label names, as for "Retrieve predictions"."""
        request = PredictRequest(self._project, (task,), "", interactive=False)
        (answer,) = self._preannotation.answers(request, self._config)
        return list(answer["result"]) if isinstance(answer, dict) else []

    def _serving(self, label: str) -> Predictor:
        """The predictor that serves a label, as in ``backend.registry.serving``."""
        return first_learned(self._loaded(), label)

    def _loaded(self) -> Iterator[Predictor]:
        """The predictors in order, each loaded when it is first needed."""
        for number, checkpoint in enumerate(self._checkpoints):
            if number == len(self._predictors):
                self._predictors.append(Predictor(checkpoint, beside=self._predictor))
            yield self._predictors[number]

    def _image(self, task: Task, image: ImageControls) -> tuple[float, float, np.ndarray]:
        """One picture's expected cost, the network's uncertainty, and its descriptor."""
        place = TaskPicture.of(task, image, self._project)
        picture = self._pictures.read(place.address, self._project, place.task_id)
        phrase = image.batch_phrase(task.data)
        names = (phrase,) if phrase else tuple(label.value for _, label in image.labels)
        shown = self._predictor, picture.array, picture.key
        cost, uncertainty = acquisition.value(*shown, names, self._method, seed=task.id or 0)
        return cost, uncertainty, acquisition.descriptor(*shown)


def _scored(task: int, **values: Any) -> ScoreRow:
    empty = dict.fromkeys(("expected", "uncertainty", "descriptor", "score", "rank", "written_at"))
    return ScoreRow(task_id=task, **{**empty, "error": "", **values})


class Scores:
    """The stored scores of one project, by one version and one method."""

    def __init__(self, database: Database, project: str, version: str, method: Method) -> None:
        self._database = database
        self._project = project
        self._version = version
        self._method = method

    def all(self) -> dict[int, ScoreRow]:
        scores = self._database.records(select(ScoreRow).where(self._ours))
        return {score.task_id: score for score in scores}

    def keep(self, scores: Iterable[ScoreRow]) -> None:
        """Store scores; they replace those of other versions and methods."""
        with self._database.write() as connection, Session(connection) as session:
            for score in scores:
                score.project, score.version, score.method = (
                    self._project,
                    self._version,
                    self._method,
                )
                score.scored_at = datetime.now(UTC)
                session.merge(score)
            session.flush()

    def ranked(self, tasks: Sequence[int]) -> None:
        """Store the order of the tasks; rank 1 is served first."""
        with self._database.write() as connection:
            for rank, task in enumerate(tasks, 1):
                row = update(ScoreRow).where(self._ours, ScoreRow.task_id == task)
                connection.execute(row.values(rank=rank))

    def written(self, task: int, score: float) -> None:
        """Store that Label Studio has this score of a task."""
        with self._database.write() as connection:
            row = update(ScoreRow).where(self._ours, ScoreRow.task_id == task)
            connection.execute(row.values(score=score, written_at=datetime.now(UTC)))

    @property
    def _ours(self) -> ColumnElement[bool]:
        of_project = ScoreRow.project == self._project
        return and_(of_project, ScoreRow.version == self._version, ScoreRow.method == self._method)


class Predictions:
    """Writes one version's scores to Label Studio. Repeating a call is harmless."""

    def __init__(self, label_studio: LabelStudio, version: str, ours: Collection[str]) -> None:
        """ours: names of all versions whose predictions this backend may replace."""
        self._label_studio = label_studio
        self._version = version
        self._ours = frozenset(ours) | {version}

    def put(self, task: int, score: float, result: Sequence[Json] | None) -> None:
        """Write a task's score, and its masks; a ``result`` of None keeps those it has.

        Raises LabelStudioError.
        """
        ours = [
            prediction
            for prediction in self._label_studio.predictions(task)
            if prediction.get("model_version") in self._ours
        ]
        current = next((p for p in ours if p.get("model_version") == self._version), None)
        fields: dict[str, Any] = {"score": score}
        if result is not None:
            fields["result"] = list(result)
        if current is None:
            # The new one first, so that the task is never without.
            self._label_studio.create_prediction(
                task, {"result": [], "model_version": self._version, **fields}
            )
        else:
            self._label_studio.patch_prediction(current["id"], **fields)
        for prediction in ours:
            if prediction is not current:
                self._label_studio.delete_prediction(prediction["id"])


# Numbers closer than this may become equal when they are written as text and read again.
_CLOSEST = 1e-9


def rank_keys(order: Sequence[int], current: Mapping[int, float]) -> dict[int, float]:
    """A number for each task of ``order``, rising, each strictly between 0 and 1.

    current: numbers that tasks already have; kept where possible.
    """
    kept = _rising([(task, current[task]) for task in order if 0.0 < current.get(task, 0.0) < 1.0])
    keys = _between(order, kept)
    if any(later - earlier < _CLOSEST for earlier, later in pairwise([0.0, *keys.values(), 1.0])):
        # After thousands of changes the gaps are used up: number all of them again.
        keys = _between(order, {})
    return keys


def _between(order: Sequence[int], kept: Mapping[int, float]) -> dict[int, float]:
    keys: dict[int, float] = {}
    waiting: list[int] = []
    low = 0.0
    for task in [*order, None]:
        if task is not None and task not in kept:
            waiting.append(task)
            continue
        high = 1.0 if task is None else kept[task]
        step = (high - low) / (len(waiting) + 1)
        keys.update({other: low + step * place for place, other in enumerate(waiting, 1)})
        waiting = []
        if task is not None:
            keys[task] = low = high
    return keys


def _rising(numbers: Sequence[tuple[int, float]]) -> dict[int, float]:
    """The longest subsequence whose numbers rise (patience sorting)."""
    ends: list[float] = []  # the lowest end of a rising subsequence of each length
    at: list[int] = []
    before: list[int] = []
    for place, (_, number) in enumerate(numbers):
        length = bisect_left(ends, number)
        before.append(at[length - 1] if length else -1)
        if length == len(ends):
            ends.append(number)
            at.append(place)
        else:
            ends[length], at[length] = number, place
    kept: dict[int, float] = {}
    place = at[-1] if at else -1
    while place >= 0:
        task, number = numbers[place]
        kept[task] = number
        place = before[place]
    return kept
