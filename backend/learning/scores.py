"""What the re-scoring found of each task, in the database: the reason that it can be stopped and
goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, update

from backend.db.engine import Database, insert_of
from backend.db.models import ScoreRow

Method = Literal["clicks", "saving", "uncertainty", "random"]
METHODS: tuple[Method, ...] = ("clicks", "saving", "uncertainty", "random")


@dataclass(frozen=True, eq=False)
class Found:
    """Of one task.

    expected: what the method looks for, the more the sooner. error: why it could not be looked at;
    then the others are None.
    """

    task: int
    expected: float | None = None
    uncertainty: float | None = None
    descriptor: NDArray[np.float32] | None = None
    error: str = ""
    written: float | None = None  # the score that Label Studio has; None: none of this version


class Scores:
    """The scores of one project under one version by one method; others count for nothing."""

    def __init__(self, database: Database, project: str, version: str, method: Method) -> None:
        self._database = database
        self._project = project
        self._version = version
        self._method = method

    def all(self) -> dict[int, Found]:
        """By task."""
        query = select(ScoreRow).where(
            ScoreRow.project == self._project,
            ScoreRow.version == self._version,
            ScoreRow.method == self._method,
        )
        with self._database.read() as connection:
            return {
                row["task_id"]: Found(
                    row["task_id"],
                    row["expected"],
                    row["uncertainty"],
                    None if row["descriptor"] is None else _unpacked(row["descriptor"]),
                    row["error"],
                    row["score"] if row["written_at"] is not None else None,
                )
                for row in connection.execute(query).mappings()
            }

    def keep(self, found: Iterable[Found]) -> None:
        """Write down what was found; what another version or method found there gives way."""
        now = datetime.now(UTC)
        with self._database.write() as connection:
            for it in found:
                values: dict[str, Any] = {
                    "version": self._version,
                    "method": self._method,
                    "expected": it.expected,
                    "uncertainty": it.uncertainty,
                    "descriptor": None if it.descriptor is None else _packed(it.descriptor),
                    "score": None,
                    "rank": None,
                    "error": it.error[:1000],
                    "scored_at": now,
                    "written_at": None,
                }
                row = {"project": self._project, "task_id": it.task, **values}
                statement = (
                    insert_of(connection, ScoreRow)
                    .values(**row)
                    .on_conflict_do_update(
                        index_elements=[ScoreRow.project, ScoreRow.task_id], set_=values
                    )
                )
                connection.execute(statement)

    def ranked(self, ranks: Mapping[int, int]) -> None:
        """Write down where tasks stand, 1 for the one that is served first."""
        with self._database.write() as connection:
            for task, rank in ranks.items():
                connection.execute(update(ScoreRow).where(self._row(task)).values(rank=rank))

    def written(self, task: int, score: float | None) -> None:
        """Label Studio has this score of a task by now; None: it has none."""
        at = None if score is None else datetime.now(UTC)
        with self._database.write() as connection:
            here = update(ScoreRow).where(self._row(task))
            connection.execute(here.values(score=score, written_at=at))

    def _row(self, task: int) -> Any:
        return (
            (ScoreRow.project == self._project)
            & (ScoreRow.task_id == task)
            & (ScoreRow.version == self._version)
            & (ScoreRow.method == self._method)
        )


def _packed(descriptor: NDArray[np.float32]) -> bytes:
    return descriptor.astype("<f2").tobytes()


def _unpacked(content: bytes) -> NDArray[np.float32]:
    return np.frombuffer(content, "<f2").astype(np.float32)
