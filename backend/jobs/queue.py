"""The jobs in the database: asked for, joined, listed, cancelled.

Whoever wants work done asks; whoever asks for what waits already joins it. So a burst of labels is
one training, and a button that is pressed twice starts one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from backend.db import job_tables
from backend.db.engine import Database
from backend.errors import JobError
from backend.jobs.records import ENDS, Job, LogLine, Trigger

# However long labels keep coming: so many times the quiet that is waited for, and it starts.
_PUSHED_AT_MOST = 10


class Jobs:
    """The table of jobs. Thread-safe; processes share the database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def ask(
        self,
        project: str,
        kind: str,
        *,
        trigger: Trigger,
        by: str = "",
        due_at: datetime | None = None,
        request: Mapping[str, Any] | None = None,
        now: datetime | None = None,
    ) -> Job:
        """Have a job done, not before ``due_at``; the one that waits already, where one does.

        project: its key. request: options of this kind of job; what waits takes them over.
        """
        with self.database.write() as connection:
            return ask(
                connection,
                project,
                kind,
                trigger=trigger,
                by=by,
                due_at=due_at,
                request=request,
                now=now,
            )

    def get(self, number: int) -> Job:
        """Raises JobError where there is none."""
        with self.database.read() as connection:
            row = connection.execute(
                select(job_tables.jobs).where(job_tables.jobs.c.id == number)
            ).first()
        if row is None:
            raise JobError(f"There is no job {number}. phraseclick jobs lists those there are.")
        return job_of(row)

    def listed(
        self,
        project: str | None = None,
        kind: str | None = None,
        state: str | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> list[Job]:
        """The newest first; ``before``: only those with a lower number, for the next page."""
        query = select(job_tables.jobs).order_by(job_tables.jobs.c.id.desc()).limit(limit)
        for column, wanted in (("project", project), ("kind", kind), ("state", state)):
            if wanted is not None:
                query = query.where(job_tables.jobs.c[column] == wanted)
        if before is not None:
            query = query.where(job_tables.jobs.c.id < before)
        with self.database.read() as connection:
            return [job_of(row) for row in connection.execute(query)]

    def cancel(self, number: int, by: str, now: datetime | None = None) -> Job:
        """End a job: at once where it waits, within a step where it runs.

        Raises JobError where there is none, or where it has ended.
        """
        now = now or datetime.now(UTC)
        with self.database.write() as connection:
            row = job_tables.locked_job(connection, number)
            if row is None:
                raise JobError(f"There is no job {number}. phraseclick jobs lists those there are.")
            if row.state in ENDS:
                raise JobError(f"Job {number} has ended already: it is {row.state}.")
            asked: dict[str, Any] = {"cancel_asked_at": now, "cancel_asked_by": by[:254]}
            if row.state == "queued":
                asked |= {"state": "cancelled", "ended_at": now, "error": cancelled_by(by)}
            here = job_tables.jobs.c.id == number
            connection.execute(update(job_tables.jobs).where(here).values(asked))
            return job_of(connection.execute(select(job_tables.jobs).where(here)).one())

    def log(self, number: int, after: int = 0) -> list[LogLine]:
        """A job's log, oldest first; ``after``: only lines with a higher ``id``."""
        query = (
            select(job_tables.log)
            .where(job_tables.log.c.job_id == number, job_tables.log.c.id > after)
            .order_by(job_tables.log.c.id)
        )
        with self.database.read() as connection:
            return [LogLine(**row) for row in connection.execute(query).mappings()]

    def counts(self) -> dict[tuple[str, str], int]:
        """(kind, state) -> number of jobs."""
        by = (job_tables.jobs.c.kind, job_tables.jobs.c.state)
        with self.database.read() as connection:
            found = connection.execute(select(*by, func.count()).group_by(*by))
            return {(kind, state): number for kind, state, number in found}


def ask(
    connection: Connection,
    project: str,
    kind: str,
    *,
    trigger: Trigger,
    by: str = "",
    due_at: datetime | None = None,
    request: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> Job:
    """As ``Jobs.ask``, inside a writing transaction."""
    now = now or datetime.now(UTC)
    job_tables.lock(connection, job_tables.lease_name(kind, project))
    waits = connection.execute(
        select(job_tables.jobs)
        .where(
            job_tables.jobs.c.project == project,
            job_tables.jobs.c.kind == kind,
            job_tables.jobs.c.state == "queued",
        )
        .order_by(job_tables.jobs.c.id)
        .with_for_update()
    ).first()
    if waits is not None:
        changes = _joined(waits, trigger, by, due_at or now, request or {}, now)
        here = job_tables.jobs.c.id == waits.id
        connection.execute(update(job_tables.jobs).where(here).values(changes))
        return job_of(connection.execute(select(job_tables.jobs).where(here)).one())
    values: dict[str, Any] = {
        "project": project,
        "kind": kind,
        "state": "queued",
        "trigger": trigger,
        "asked_by": by[:254],
        "request": dict(request or {}),
        "created_at": now,
        "due_at": due_at or now,
        "attempts": 0,
    }
    made = connection.execute(insert(job_tables.jobs).values(values)).inserted_primary_key
    assert made is not None
    return job_of(
        connection.execute(select(job_tables.jobs).where(job_tables.jobs.c.id == made[0])).one()
    )


def note_line(connection: Connection, job: Job | Row[Any], line: str, level: str = "info") -> None:
    """One more line of a job's log."""
    values = {
        "job_id": job.id,
        "at": datetime.now(UTC),
        "attempt": max(1, job.attempts),
        "level": level,
        "line": line,
    }
    connection.execute(insert(job_tables.log).values(values))


def job_of(row: Row[Any]) -> Job:
    """A row as a record."""
    return Job(**row._mapping)


def cancelled_by(name: str) -> str:
    """The sentence of a job's end."""
    return f"Cancelled by {name}." if name else "Cancelled."


def _joined(
    waits: Row[Any],
    trigger: Trigger,
    by: str,
    due_at: datetime,
    request: Mapping[str, Any],
    now: datetime,
) -> dict[str, Any]:
    """How one that waits changes when it is asked for again."""
    changes: dict[str, Any] = {"request": {**waits.request, **request}}
    if trigger != "labels":
        # Whoever asks in person does not wait for the quiet after a burst.
        changes["due_at"] = min(waits.due_at, due_at)
        if waits.trigger == "labels":
            changes |= {"trigger": trigger, "asked_by": by[:254]}
    elif waits.trigger == "labels" and waits.attempts == 0:
        quiet = max(due_at - now, timedelta())
        changes["due_at"] = min(due_at, waits.created_at + _PUSHED_AT_MOST * quiet)
    return changes
