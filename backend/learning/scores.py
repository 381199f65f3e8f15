"""The scores of a project's tasks: in the database, and as predictions in Label Studio.

What is stored in the database lets a scoring job resume. Label Studio keeps a task's score as the
``score`` of a prediction of the serving version. A task gets one prediction of ours: with several,
Label Studio would take the lowest score, and nobody sees those of earlier versions. Predictions by
others are left alone.

Label Studio serves the lowest score first. When a few tasks join ten thousand that are already in
order, only the new ones need a number: `rank_keys` keeps the longest run of old numbers that still
rises in the new order, and spreads the others over the gaps between them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, select, update

from backend.db.engine import Database, insert_of
from backend.db.models import ScoreRow
from backend.label_studio.client import LabelStudio
from backend.label_studio.host import Json
from training.acquisition import Method


@dataclass(frozen=True, eq=False)
class TaskScore:
    """What is known of one task.

    expected: the method's value; tasks with more of it come first. error: why the task could not be
    scored; then the others are None. written: the score that Label Studio has, None without one.
    """

    task: int
    expected: float | None = None
    uncertainty: float | None = None
    descriptor: NDArray[np.float32] | None = None
    error: str = ""
    written: float | None = None


class Scores:
    """The stored scores of one project, by one version and one method."""

    def __init__(self, database: Database, project: str, version: str, method: Method) -> None:
        self._database = database
        self._project = project
        self._version = version
        self._method = method

    def all(self) -> dict[int, TaskScore]:
        """By task."""
        with self._database.session() as session:
            return {
                row.task_id: TaskScore(
                    row.task_id,
                    row.expected,
                    row.uncertainty,
                    None if row.descriptor is None else _unpacked(row.descriptor),
                    row.error,
                    row.score if row.written_at is not None else None,
                )
                for row in session.scalars(select(ScoreRow).where(self._ours))
            }

    def keep(self, scores: Iterable[TaskScore]) -> None:
        """Store scores; they replace those of other versions and methods."""
        now = datetime.now(UTC)
        with self._database.write() as connection:
            for score in scores:
                values: dict[str, Any] = {
                    "version": self._version,
                    "method": self._method,
                    "expected": score.expected,
                    "uncertainty": score.uncertainty,
                    "descriptor": None if score.descriptor is None else _packed(score.descriptor),
                    "score": None,
                    "rank": None,
                    "error": score.error[:1000],
                    "scored_at": now,
                    "written_at": None,
                }
                row = {"project": self._project, "task_id": score.task, **values}
                added = insert_of(connection, ScoreRow).values(**row)
                key = [ScoreRow.project, ScoreRow.task_id]
                connection.execute(added.on_conflict_do_update(index_elements=key, set_=values))

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


def _packed(descriptor: NDArray[np.float32]) -> bytes:
    return descriptor.astype("<f2").tobytes()


def _unpacked(content: bytes) -> NDArray[np.float32]:
    return np.frombuffer(content, "<f2").astype(np.float32)


# Numbers closer than this may become equal when they are written as text and read again.
_CLOSEST = 1e-9


def rank_keys(order: Sequence[int], current: Mapping[int, float]) -> dict[int, float]:
    """A number for each task of ``order``, rising, each strictly between 0 and 1.

    current: numbers that tasks already have; kept where possible.
    """
    kept = _rising([(task, current[task]) for task in order if 0.0 < current.get(task, 0.0) < 1.0])
    keys = _between(order, kept)
    if any(later - earlier < _CLOSEST for earlier, later in _pairs(list(keys.values()))):
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


def _pairs(numbers: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip([0.0, *numbers], [*numbers, 1.0], strict=True))
