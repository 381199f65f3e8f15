"""The job queue in the database: enqueue, list, cancel, priority of trainings, ends of attempts.

A request for a job that already waits joins it. So a burst of labels is one training, and pressing
a button twice starts one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Required, TypedDict, Unpack

from sqlalchemy import ColumnElement, Connection, func, insert, select, update
from sqlalchemy.orm import aliased

from backend.db.engine import Database, records
from backend.db.models import lease_name, lock_job, lock_lease
from backend.db.models.jobs import (
    AUTOMATIC,
    TRAINING,
    Job,
    LogLine,
    Schedule,
    State,
    Trigger,
)
from backend.errors import JobError
from backend.jobs.lease import release, short_process_id

# Labels that keep coming delay their training by at most this many debounce periods.
_MAX_DELAYS = 10

MAX_ATTEMPTS = 3
# Before the second and the third attempt: time for a full disk or a restarting Label Studio.
_RETRY_DELAYS = (timedelta(seconds=30), timedelta(minutes=3))
LONGEST_RETRY_DELAY = max(_RETRY_DELAYS)


class Options(TypedDict, total=False):
    trigger: Required[Trigger]
    by: str
    """Who asked for it."""
    due_at: datetime
    """The job starts no earlier; default now."""
    request: Mapping[str, Any]
    """Options of this kind of job; a waiting job takes them over."""
    now: datetime


class Jobs:
    """The table of jobs. Thread-safe; processes share the database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def enqueue(self, project: str, kind: str, **options: Unpack[Options]) -> Job:
        """Enqueue a job, or join the one of this kind that already waits for this project.

        project: its key.
        """
        with self.database.write() as connection:
            return enqueue(connection, project, kind, **options)

    def get(self, job_id: int) -> Job:
        """Raises JobError if there is no such job."""
        jobs = self.database.records(select(Job).where(Job.id == job_id))
        if not jobs:
            raise _unknown(job_id)
        return jobs[0]

    def listed(
        self,
        project: str | None = None,
        kind: str | None = None,
        state: str | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> list[Job]:
        """Jobs, the newest first. ``before``: only lower ids, for the next page."""
        query = select(Job).order_by(Job.id.desc()).limit(limit)
        for column, wanted in ((Job.project, project), (Job.kind, kind), (Job.state, state)):
            if wanted is not None:
                query = query.where(column == wanted)
        if before is not None:
            query = query.where(Job.id < before)
        return self.database.records(query)

    def cancel(self, job_id: int, by: str, now: datetime | None = None) -> Job:
        """Cancel a job: at once if it waits, within one step if it runs.

        Raises JobError if there is no such job, or if it has ended.
        """
        now = now or datetime.now(UTC)
        with self.database.write() as connection:
            job = lock_job(connection, job_id)
            if job is None:
                raise _unknown(job_id)
            if job.ended:
                raise JobError(f"Job {job_id} has already ended: it is {job.state}.")
            changes: dict[str, Any] = {"cancel_asked_at": now, "cancel_asked_by": by[:254]}
            if job.state == "queued":
                changes |= {"state": "cancelled", "ended_at": now, "error": cancelled_by(by)}
            return _updated(connection, job_id, changes)

    def log(self, job_id: int, after: int = 0) -> list[LogLine]:
        """The log of a job, oldest line first. ``after``: only lines with a higher id."""
        lines = select(LogLine).where(LogLine.job_id == job_id, LogLine.id > after)
        return self.database.records(lines.order_by(LogLine.id))

    def counts(self) -> dict[tuple[str, str], int]:
        """(kind, state) -> number of jobs."""
        query = select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)
        with self.database.read() as connection:
            return {(kind, state): n for kind, state, n in connection.execute(query)}


def enqueue(connection: Connection, project: str, kind: str, **options: Unpack[Options]) -> Job:
    """Like ``Jobs.enqueue``, inside a write transaction."""
    trigger, by = options["trigger"], options.get("by", "")
    now = options.get("now") or datetime.now(UTC)
    due_at = options.get("due_at") or now
    request = options.get("request") or {}
    lock_lease(connection, lease_name(kind, project))
    query = select(Job).where(Job.project == project, Job.kind == kind, Job.state == "queued")
    if waiting := records(connection, query.order_by(Job.id).limit(1).with_for_update()):
        changes = _joined(waiting[0], trigger, by, due_at, request, now)
        return _updated(connection, waiting[0].id, changes)
    values: dict[str, Any] = {
        "project": project,
        "kind": kind,
        "state": "queued",
        "trigger": trigger,
        "asked_by": by[:254],
        "request": dict(request),
        "created_at": now,
        "due_at": due_at,
    }
    added = connection.execute(insert(Job).values(values)).inserted_primary_key
    assert added is not None
    return records(connection, select(Job).where(Job.id == added[0]))[0]


def add_line(connection: Connection, job: Job, line: str, level: str = "info") -> None:
    connection.execute(insert(LogLine).values(log_line(job, line, level)))


def log_line(
    job: Job, line: str, level: str = "info", figures: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A row of a job's log, written now."""
    return {
        "job_id": job.id,
        "at": datetime.now(UTC),
        "attempt": max(1, job.attempts),
        "level": level,
        "line": line,
        "figures": figures,
    }


def cancelled_by(name: str) -> str:
    return f"Cancelled by {name}." if name else "Cancelled."


# -- priority: trainings run before other jobs


def runnable() -> ColumnElement[bool]:
    """The jobs that wait only for a worker: not for another job of their kind and project, and not
    for a paused project, unless a person asked for them."""
    other = aliased(Job)
    same_kind_runs = select(other.id).where(
        other.project == Job.project, other.kind == Job.kind, other.state == "running"
    )
    paused_projects = select(Schedule.project).where(Schedule.paused.is_(True))
    return (
        (Job.state == "queued")
        & ~same_kind_runs.exists()
        & ~(Job.trigger.in_(AUTOMATIC) & Job.project.in_(paused_projects))
    )


def training_waits(connection: Connection, at_least: timedelta = timedelta()) -> bool:
    """Whether a training has waited for a worker for at least this long."""
    query = select(Job.id).where(
        Job.kind == TRAINING, Job.due_at <= datetime.now(UTC) - at_least, runnable()
    )
    return connection.execute(query.limit(1)).first() is not None


# -- how an attempt ends: done, failed, cancelled, or back in the queue. Each function takes the job
# as ``lock_job`` read it in the same transaction.


def done(connection: Connection, job: Job, result: Mapping[str, Any]) -> None:
    _end(connection, job, "done", result=dict(result), progress=1.0, message="", error="")


def failed(connection: Connection, job: Job, why: str) -> None:
    add_line(connection, job, why, "error")
    _end(connection, job, "failed", error=why)


def cancelled(connection: Connection, job: Job, why: str) -> None:
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


# -- inside


def _unknown(job_id: int) -> JobError:
    return JobError(f"There is no job {job_id}. List the jobs with: phraseclick jobs")


def _updated(connection: Connection, job_id: int, changes: Mapping[str, Any]) -> Job:
    connection.execute(update(Job).where(Job.id == job_id).values(**changes))
    return records(connection, select(Job).where(Job.id == job_id))[0]


def _joined(
    waiting: Job,
    trigger: Trigger,
    by: str,
    due_at: datetime,
    request: Mapping[str, Any],
    now: datetime,
) -> dict[str, Any]:
    """How a waiting job changes when it is requested again."""
    changes: dict[str, Any] = {"request": {**waiting.request, **request}}
    if trigger != "labels":
        # A person who asks does not wait for a burst of labels to end.
        changes["due_at"] = min(waiting.due_at, due_at)
        if waiting.trigger == "labels":
            changes |= {"trigger": trigger, "asked_by": by[:254]}
    elif waiting.trigger == "labels" and waiting.attempts == 0:
        debounce = max(due_at - now, timedelta())
        changes["due_at"] = min(due_at, waiting.created_at + _MAX_DELAYS * debounce)
    return changes


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
