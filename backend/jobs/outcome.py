"""How an attempt at a job ends: with a result, with a reason, or with another attempt."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, update

from backend.db import job_tables
from backend.jobs import lease
from backend.jobs.queue import cancelled_by, note_line
from backend.jobs.records import State

_log = logging.getLogger(__name__)

ATTEMPTS = 3
# Time for what was in the way (a full disk, a Label Studio that restarts) to go.
_PAUSES = (timedelta(seconds=30), timedelta(minutes=3))
LONGEST_PAUSE = max(_PAUSES)


def done(connection: Connection, row: Row[Any], result: Mapping[str, Any]) -> None:
    """It is done."""
    _end(connection, row, "done", result=dict(result), progress=1.0, message="", error="")


def failed(connection: Connection, row: Row[Any], why: str) -> None:
    """It is given up."""
    note_line(connection, row, why, "error")
    _end(connection, row, "failed", error=why)


def cancelled(connection: Connection, row: Row[Any], why: str) -> None:
    """Somebody asked for its end."""
    note_line(connection, row, why, "warning")
    _end(connection, row, "cancelled", error=why)


def again(connection: Connection, row: Row[Any], why: str, *, pause: bool) -> State:
    """It failed this time, and goes back to the queue unless it has often enough.

    pause: what was in the way needs time to go. Gives the state that it has now.
    """
    if row.cancel_asked_at is not None:
        cancelled(connection, row, cancelled_by(row.cancel_asked_by))
        return "cancelled"
    if row.attempts >= ATTEMPTS:
        failed(connection, row, f"Given up after {row.attempts} attempts. The last: {why}")
        return "failed"
    wait = _PAUSES[min(row.attempts, len(_PAUSES)) - 1] if pause else timedelta()
    note_line(connection, row, f"{why} It is tried again.", "warning")
    _requeue(connection, row, wait=wait, error=why)
    return "queued"


def set_aside(connection: Connection, row: Row[Any], why: str) -> None:
    """It goes on later, through no fault of its own: this was no attempt."""
    if row.cancel_asked_at is not None:
        cancelled(connection, row, cancelled_by(row.cancel_asked_by))
        return
    note_line(connection, row, why)
    _requeue(connection, row, attempts=max(0, row.attempts - 1))


def _requeue(
    connection: Connection, row: Row[Any], wait: timedelta = timedelta(), **values: Any
) -> None:
    told = {"state": "queued", "due_at": datetime.now(UTC) + wait, "message": "", **values}
    connection.execute(update(job_tables.jobs).where(job_tables.jobs.c.id == row.id).values(told))
    lease.release(connection, job_tables.lease_name(row.kind, row.project))


def _end(connection: Connection, row: Row[Any], state: State, **values: Any) -> None:
    told = {"state": state, "ended_at": datetime.now(UTC), **values}
    connection.execute(update(job_tables.jobs).where(job_tables.jobs.c.id == row.id).values(told))
    lease.release(connection, job_tables.lease_name(row.kind, row.project))
