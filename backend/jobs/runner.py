"""Doing a job: the lease is taken, the heart beats, the work is done, its end is written down.

A message may come twice, to two workers, or long after its job has ended: each of them reads the
row, and one at most gets the lease. Whatever is written afterwards is written in one transaction
with a look at the lease's token.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Connection, Row, func, select, update

from backend.db import job_tables
from backend.db.engine import Database
from backend.errors import (
    CancelledError,
    DatabaseError,
    GiveWayError,
    JobError,
    LostLeaseError,
    OverdueError,
)
from backend.jobs import kinds, new_labels, outcome, process_id, recent_errors, resource_limits
from backend.jobs.lease import Lease, Leases, holds
from backend.jobs.priority import paused, training_waits
from backend.jobs.progress import Progress
from backend.jobs.queue import job_of
from backend.jobs.records import TRAINING, Job
from backend.settings import Settings
from model.errors import PhraseClickError

_log = logging.getLogger(__name__)

# A database that restarts is back within a minute or two.
_INSISTS_S = 600.0
# Work that does not ask whether to go on, so long after it had to end, hangs: its process goes.
_HANGS_S = 300.0

# What an attempt came to, to be written; given the job's row, locked.
_Ending = Callable[[Connection, Row[Any]], object]


@dataclass(frozen=True)
class _Claim:
    job: Job
    lease: Lease


class Runner:
    """Does jobs, for one process. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        leases: Leases,
        *,
        stopping: Callable[[], bool] = lambda: False,
        die: Callable[[], None] = lambda: os._exit(70),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """stopping: whether this worker is told to end. die: end a process whose job hangs."""
        self._settings = settings
        self._database = database
        self._leases = leases
        self._stopping = stopping
        self._die = die
        self._clock = clock

    @classmethod
    def open(cls, settings: Settings, *, stopping: Callable[[], bool]) -> Self:
        """With a database connection of its own."""
        database = Database(settings.resolved_database_url)
        database.migrate()
        return cls(settings, database, Leases(settings.lease_s), stopping=stopping)

    def run(self, number: int) -> None:
        """Do a job, where it is to be done now and nobody else does it."""
        claim = self._claim(number)
        if claim is None:
            return
        job = claim.job
        progress = Progress(
            self._database,
            job,
            claim.lease,
            lease_s=self._settings.lease_s,
            longest_s=self._settings.longest_job_hours * 3600,
            stopping=self._stopping,
            hung=lambda: self._hung(job, claim.lease),
            hangs_s=_HANGS_S,
            clock=self._clock,
        )
        _log.info("Job %d (%s of project %s) begins", job.id, job.kind, job.project)
        progress.start()
        try:
            ending = self._do(job, progress)
        finally:
            progress.close()
        if ending is not None:
            self._write(job, progress, ending)

    # -- inside

    def _claim(self, number: int) -> _Claim | None:
        with self._database.write() as connection:
            query = select(job_tables.jobs.c.kind, job_tables.jobs.c.project).where(
                job_tables.jobs.c.id == number
            )
            known = connection.execute(query).first()
            if known is None:
                _log.error("There is no job %d, which a message named", number)
                return None
            name = job_tables.lease_name(known.kind, known.project)
            held = job_tables.lock(connection, name)
            if not self._is_to_be_done(connection, number) or not self._leases.free(held):
                return None
            # The lease is free: whatever still seems to run under its name does not.
            for other in _running(connection, known.kind, known.project):
                end_of_the_dead(connection, other)
            row = _row(connection, number)
            if row.state != "queued":
                return None
            lease = self._leases.take(connection, name, process_id.this_process())
            assert lease is not None, "it is free, and locked"
            _begin(connection, row)
            if known.kind == TRAINING:
                new_labels.read(connection, known.project, number)
            return _Claim(job_of(_row(connection, number)), lease)

    def _is_to_be_done(self, connection: Connection, number: int) -> bool:
        row = _row(connection, number)
        if row.state == "running":
            return True  # unless its holder lives, which the lease tells
        if row.state != "queued" or row.due_at > datetime.now(UTC):
            return False
        if row.trigger in ("labels", "schedule") and paused(connection, row.project):
            return False
        return row.kind == TRAINING or not training_waits(connection)

    def _do(self, job: Job, progress: Progress) -> _Ending | None:
        """Do the work; what is to be written of its end."""
        try:
            if kinds.computes(job.kind):
                resource_limits.of_thread(self._settings)
            work = kinds.work_of(job.kind)
            result = work(job, self._settings, self._database, progress)
        except LostLeaseError as error:
            _log.warning("Job %d: %s", job.id, error)
            return None
        except GiveWayError as error:
            why = str(error)
            _log.info("Job %d: %s", job.id, why)
            return lambda connection, row: outcome.set_aside(connection, row, why)
        except OverdueError as error:
            return self._failure(job, str(error))
        except CancelledError as error:
            why = str(error)
            _log.info("Job %d: %s", job.id, why)
            return lambda connection, row: outcome.cancelled(connection, row, why)
        except JobError as error:
            return self._failure(job, str(error))
        except PhraseClickError as error:
            return self._failure(job, str(error), again=True)
        except Exception as error:
            _log.exception("Job %d failed", job.id)
            return self._failure(job, f"{type(error).__name__}: {error}", again=True)
        return self._success(job, result)

    @staticmethod
    def _success(job: Job, result: Mapping[str, Any]) -> _Ending:
        _log.info("Job %d is done", job.id)
        return lambda connection, row: outcome.done(connection, row, result)

    def _failure(self, job: Job, why: str, *, again: bool = False) -> _Ending:
        _log.error("Job %d: %s", job.id, why)
        recent_errors.note(self._database, job.kind, f"Job {job.id}: {why}")
        if again:
            return lambda connection, row: outcome.again(connection, row, why, pause=True)
        return lambda connection, row: outcome.failed(connection, row, why)

    def _write(self, job: Job, progress: Progress, ending: _Ending) -> None:
        """Write the end down, however long the database is away; unless the lease was lost."""
        until = self._clock() + _INSISTS_S
        while True:
            try:
                with self._database.write() as connection:
                    progress.held(connection)
                    progress.write(connection)
                    ending(connection, _row(connection, job.id))
            except LostLeaseError as error:
                _log.warning("Job %d: %s", job.id, error)
                return
            except DatabaseError as error:
                if self._clock() > until:
                    # Its lease falls silent, and it is done once more.
                    _log.error("The end of job %d could not be written: %s", job.id, error)
                    return
                time.sleep(1.0)
            else:
                return

    def _hung(self, job: Job, lease: Lease) -> None:
        why = (
            f"It was ended: it took longer than {self._settings.longest_job_hours:.3g} hours and "
            "did not heed that; its worker was started anew."
        )
        ending = self._failure(job, why)
        with self._database.write() as connection:
            if holds(connection, lease):
                ending(connection, _row(connection, job.id))
        self._die()


def end_of_the_dead(connection: Connection, row: Row[Any]) -> str:
    """A job whose worker is gone goes back to the queue, or is given up; its state by then."""
    where = f" in phase {row.phase}" if row.phase else ""
    why = f"Its worker ({process_id.short(row.worker)}) died{where}, or was silent for too long."
    return outcome.again(connection, row, why, pause=False)


def _running(connection: Connection, kind: str, project: str) -> list[Row[Any]]:
    query = select(job_tables.jobs).where(
        job_tables.jobs.c.kind == kind,
        job_tables.jobs.c.project == project,
        job_tables.jobs.c.state == "running",
    )
    return list(connection.execute(query.with_for_update()))


def _row(connection: Connection, number: int) -> Row[Any]:
    """A job's row, locked. Jobs are never deleted."""
    row = job_tables.locked_job(connection, number)
    assert row is not None
    return row


def _begin(connection: Connection, row: Row[Any]) -> None:
    now = datetime.now(UTC)
    values = {
        "state": "running",
        "attempts": row.attempts + 1,
        "started_at": func.coalesce(job_tables.jobs.c.started_at, now),
        "heartbeat_at": now,
        "worker": process_id.this_process()[:254],
        "phase": "",
        "progress": 0.0,
        "message": "",
        "error": "",
    }
    connection.execute(update(job_tables.jobs).where(job_tables.jobs.c.id == row.id).values(values))
