"""The event log, summed by target, and read incrementally.

The log is append-only, so what was summed once stays valid and a page reads only what came since.
The events of a request are completed when it is answered, so those of the last minutes are read
each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, CursorResult, Select, case, distinct, func, select
from sqlalchemy.sql import ColumnElement

from backend.db.models import INTERACTIONS, EventRow

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# What is counted for every target, in this order.
COUNTS = ("positive", "negative", "phrases", "boxes", "undos", "predictions")

# Longer than a model takes to answer, or a transaction to write an event. *choice*
_OPEN_FOR = timedelta(minutes=10)
# Parts are merged by reading all again once this many targets occur in several parts. *choice*
_SPARE = 20_000


@dataclass(frozen=True, eq=False)
class EventTotals:
    """N sums by target; one target may have several, from consecutive parts of the log.

    ``through``: the newest event included. ``target`` is -1 for events without one.
    """

    through: int
    task: Ints
    target: Ints
    last_at: Floats  # seconds since 1970
    counts: Ints  # COUNTS,N

    def followed_by(self, later: "EventTotals") -> "EventTotals":
        """With the totals of a later part of the log."""
        return EventTotals(
            max(self.through, later.through),
            np.concatenate([self.task, later.task]),
            np.concatenate([self.target, later.target]),
            np.concatenate([self.last_at, later.last_at]),
            np.concatenate([self.counts, later.counts], axis=1),
        )

    @property
    def scattered(self) -> bool:
        """Whether reading the whole log again would save much."""
        return len(self.target) - len(np.unique(self.target)) > _SPARE


def stamp(connection: Connection) -> tuple[Any, ...]:
    """Changes whenever the totals may have changed; cheap to read."""
    since = datetime.now(UTC) - _OPEN_FOR
    answered = select(func.count(EventRow.answered_at)).where(EventRow.created_at >= since)
    newest = connection.execute(select(func.max(EventRow.id))).scalar() or 0
    return newest, connection.execute(answered).scalar()


def read(
    connection: Connection, project: str, before: EventTotals | None
) -> tuple[EventTotals, EventTotals]:
    """The totals that cannot change any more, and all totals. before: an earlier first result."""
    settled = _settled(connection)
    done = _sums(connection, project, 0, settled) if before is None or before.scattered else before
    if done.through < settled:
        done = done.followed_by(_sums(connection, project, done.through, settled))
    return done, done.followed_by(_sums(connection, project, settled, None))


def _settled(connection: Connection) -> int:
    """The newest event before the first one that may still change."""
    since = datetime.now(UTC) - _OPEN_FOR
    first = select(func.min(EventRow.id)).where(EventRow.created_at >= since)
    recent = connection.execute(first).scalar()
    if recent is not None:
        return int(recent) - 1
    return connection.execute(select(func.max(EventRow.id))).scalar() or 0


def _sums(connection: Connection, project: str, after: int, until: int | None) -> EventTotals:
    query = _query(connection).where(EventRow.project == project, EventRow.id > after)
    if until is not None:
        query = query.where(EventRow.id <= until)
    task, target, last_at, *counts = transposed(connection.execute(query), 3 + len(COUNTS))
    return EventTotals(
        until if until is not None else after,
        np.array(task, np.int64),
        np.array(target, np.int64),
        np.array(last_at, np.float64),
        np.array(counts, np.int64).reshape(len(COUNTS), len(task)),
    )


def _query(connection: Connection) -> Select[Any]:
    def count(condition: ColumnElement[bool]) -> Any:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    answered = (
        EventRow.answered_at.is_not(None) & (EventRow.error == "") & (EventRow.request_id != "")
    )
    target = func.coalesce(EventRow.target_id, -1)
    return (
        select(
            EventRow.task_id,
            target,
            epoch(connection, func.max(EventRow.created_at)),
            *(count(EventRow.kind == kind) for kind in (*INTERACTIONS, "undo")),
            func.count(distinct(case((answered, EventRow.request_id)))),
        )
        .group_by(EventRow.task_id, target)
        .order_by(EventRow.task_id, target)
    )


def transposed(result: CursorResult[Any], width: int) -> list[Sequence[Any]]:
    """A result by column: one object per row would cost more than the sums themselves."""
    rows = result.all()
    return list(zip(*rows, strict=True)) if rows else [()] * width


def epoch(connection: Connection, moment: Any) -> Any:
    """Seconds since 1970, computed by the database: parsing 100,000 datetimes would take longer
    than everything else."""
    if connection.dialect.name == "sqlite":
        return (func.julianday(moment) - 2440587.5) * 86400.0
    return func.extract("epoch", moment)
