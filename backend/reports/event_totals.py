"""The event log added up by target, a little at a time.

The log is only ever appended to, so what was added up once stays so: a page reads what came since.
A request's events are completed when it is answered; so those of the last minutes are read anew
each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, CursorResult, Table, case, distinct, func, select
from sqlalchemy.sql import ColumnElement

from backend.db.models.core import INTERACTIONS, EventRow

_events: Table = EventRow.__table__  # type: ignore[assignment]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# What is counted of every event, in this order.
COUNTS = ("positive", "negative", "phrases", "undos", "predictions")

# No model takes so long to answer, and no transaction to write an event.
_OPEN_FOR = timedelta(minutes=10)
# Parts that are read one by one are put together when there are so many entries too many.
_SPARE = 20_000


@dataclass(frozen=True, eq=False)
class LogSums:
    """Sums by target, which may come in several parts. ``through``: the newest event in them.
    ``target`` is -1 for what was said of none."""

    through: int
    task: Ints
    target: Ints
    last_at: Floats  # seconds since 1970
    counts: Ints  # COUNTS,N

    def and_then(self, other: "LogSums") -> "LogSums":
        """With what came after it."""
        return LogSums(
            max(self.through, other.through),
            np.concatenate([self.task, other.task]),
            np.concatenate([self.target, other.target]),
            np.concatenate([self.last_at, other.last_at]),
            np.concatenate([self.counts, other.counts], axis=1),
        )

    @property
    def scattered(self) -> bool:
        """Whether reading all of it anew would save much."""
        return len(self.target) - len(np.unique(self.target)) > _SPARE


def stamp(connection: Connection) -> tuple[Any, ...]:
    """Changes with everything that the sums are made of; cheap."""
    since = datetime.now(UTC) - _OPEN_FOR
    answered = select(func.count(_events.c.answered_at)).where(_events.c.created_at >= since)
    newest = select(func.max(_events.c.id))
    return connection.execute(newest).scalar() or 0, connection.execute(answered).scalar()


def read(connection: Connection, project: str, before: LogSums | None) -> tuple[LogSums, LogSums]:
    """(What will not change any more, all there is.) ``before``: the former, of an earlier look."""
    settled = _settled(connection)
    done = _sums(connection, project, 0, settled) if before is None or before.scattered else before
    if done.through < settled:
        done = done.and_then(_sums(connection, project, done.through, settled))
    return done, done.and_then(_sums(connection, project, settled, None))


def _settled(connection: Connection) -> int:
    """The newest event before the first that may still change."""
    since = datetime.now(UTC) - _OPEN_FOR
    first = select(func.min(_events.c.id)).where(_events.c.created_at >= since)
    recent = connection.execute(first).scalar()
    if recent is not None:
        return int(recent) - 1
    return connection.execute(select(func.max(_events.c.id))).scalar() or 0


def _sums(connection: Connection, project: str, after: int, until: int | None) -> LogSums:
    query = _query(connection).where(_events.c.project == project, _events.c.id > after)
    if until is not None:
        query = query.where(_events.c.id <= until)
    task, target, last_at, *counts = columns(connection.execute(query), 3 + len(COUNTS))
    return LogSums(
        until if until is not None else after,
        np.array(task, np.int64),
        np.array(target, np.int64),
        np.array(last_at, np.float64),
        np.array(counts, np.int64).reshape(len(COUNTS), len(task)),
    )


def _query(connection: Connection) -> Any:
    def count(condition: ColumnElement[bool]) -> Any:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    it = _events.c
    answered = it.answered_at.is_not(None) & (it.error == "") & (it.request_id != "")
    target = func.coalesce(it.target_id, -1)
    return (
        select(
            it.task_id,
            target,
            seconds_of(connection, func.max(it.created_at)),
            *(count(it.kind == kind) for kind in (*INTERACTIONS, "undo")),
            func.count(distinct(case((answered, it.request_id)))),
        )
        .group_by(it.task_id, target)
        .order_by(it.task_id, target)
    )


def columns(result: CursorResult[Any], width: int) -> list[Sequence[Any]]:
    """A result turned on its side: a row as an object of its own costs more than adding it up."""
    found = result.all()
    return list(zip(*found, strict=True)) if found else [()] * width


def seconds_of(connection: Connection, moment: Any) -> Any:
    """A time as seconds since 1970, worked out by the database: reading 100,000 of them as datetime
    takes longer than all the rest."""
    if connection.dialect.name == "sqlite":
        return (func.julianday(moment) - 2440587.5) * 86400.0
    return func.extract("epoch", moment)
