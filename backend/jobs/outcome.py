"""How an attempt at a job ends: done, failed, cancelled, or back in the queue.

Each function takes the job as ``lock_job`` read it in the same transaction.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, update

from backend.db.engine import lease_name
from backend.db.models.jobs import Job, State
from backend.jobs.lease import release, short_process_id
from backend.jobs.queue import add_line, cancelled_by

MAX_ATTEMPTS = 3
# Before the second and the third attempt: time for a full disk or a restarting Label Studio.
_RETRY_DELAYS = (timedelta(seconds=30), timedelta(minutes=3))
LONGEST_RETRY_DELAY = max(_RETRY_DELAYS)


def done(connection: Connection, job: Job, result: Mapping[str, Any]) -> None:
    """The job has succeeded."""
    _end(connection, job, "done", result=dict(result), progress=1.0, message="", error="")


def failed(connection: Connection, job: Job, why: str) -> None:
    """The job has failed for good."""
    add_line(connection, job, why, "error")
    _end(connection, job, "failed", error=why)


def cancelled(connection: Connection, job: Job, why: str) -> None:
    """Somebody cancelled the job."""
    add_line(connection, job, why, "warning")
    _end(connection, job, "cancelled", error=why)


def retry(connection: Connection, job: Job, why: str, *, delay: bool) -> State:
    """The attempt failed: queue the next one, or fail after the last. Returns the new state.

    delay: wait before the next attempt, so that the cause can go away.
    """
    if job.cancel_asked_at is not None:
        cancelled(connection, job, cancelled_by(job.cancel_asked_by))
        return "cancelled"
    if job.attempts >= MAX_ATTEMPTS:
        failed(connection, job, f"Gave up after {job.attempts} attempts. The last error: {why}")
        return "failed"
    wait = _RETRY_DELAYS[min(job.attempts, len(_RETRY_DELAYS)) - 1] if delay else timedelta()
    add_line(connection, job, f"{why} It will be retried.", "warning")
    _requeue(connection, job, wait=wait, error=why)
    return "queued"


def interrupted(connection: Connection, job: Job, why: str, wait: timedelta = timedelta()) -> None:
    """The job gave way: to people, a training or a shutdown. It does not count as an attempt."""
    if job.cancel_asked_at is not None:
        cancelled(connection, job, cancelled_by(job.cancel_asked_by))
        return
    add_line(connection, job, why)
    _requeue(connection, job, wait, attempts=max(0, job.attempts - 1))


def worker_died(connection: Connection, job: Job) -> State:
    """The worker of a running job is gone: retry at once, or fail. Returns the new state."""
    phase = f" in phase {job.phase}" if job.phase else ""
    worker = short_process_id(job.worker)
    return retry(
        connection, job, f"Its worker ({worker}) died{phase} or stopped responding.", delay=False
    )


def _requeue(
    connection: Connection, job: Job, wait: timedelta = timedelta(), **values: Any
) -> None:
    values |= {"state": "queued", "due_at": datetime.now(UTC) + wait, "message": ""}
    _write(connection, job, values)


def _end(connection: Connection, job: Job, state: State, **values: Any) -> None:
    _write(connection, job, values | {"state": state, "ended_at": datetime.now(UTC)})


def _write(connection: Connection, job: Job, values: Mapping[str, Any]) -> None:
    connection.execute(update(Job).where(Job.id == job.id).values(**values))
    release(connection, lease_name(job.kind, job.project))
