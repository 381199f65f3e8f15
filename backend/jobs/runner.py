"""Runs a job: take the lease, write heartbeats, do the work of its kind, record how it ended.

A message may arrive twice, at two workers, or after its job has ended. Each worker reads the row,
and at most one gets the lease. All later writes check the lease's token in their transaction.

On a machine that also serves, limits keep clicks fast while a network trains.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from sqlalchemy import Connection, func, select, update
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from backend.db.engine import Database, records
from backend.db.models import lease_name, lock_job, lock_lease
from backend.db.models.jobs import AUTOMATIC, REPLAY, SCORING, TRAINING, Job
from backend.errors import (
    CancelledError,
    DatabaseError,
    GiveWayError,
    JobError,
    LostLeaseError,
    OverdueError,
)
from backend.jobs import queue
from backend.jobs.lease import Lease, Leases, holds, this_process
from backend.jobs.presence import note_error
from backend.jobs.progress import Progress
from backend.jobs.queue import training_waits
from backend.jobs.schedules import mark_labels_read, read_schedule
from backend.settings import Settings
from model.errors import PhraseClickError

_log = logging.getLogger(__name__)

# Returns the job's result, any JSON. JobError means that a retry cannot help: the job fails with
# that message. Any other error is retried.
Work = Callable[[Job, Settings, Database, Progress], Mapping[str, Any]]

# How long to retry writing the outcome: a database restarts within a minute or two.
_WRITE_FOR_S = 600.0
# A job that runs this long after it should have ended hangs: its process exits.
_HANGS_S = 300.0

# Records an outcome in the job's locked row.
_Outcome = Callable[[Connection, Job], object]


class Runner:
    """Runs jobs in this process. Thread-safe."""

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
        """
        Args:
            stopping: whether this worker is shutting down.
            die: end this process, because its job hangs.
            clock: monotonic seconds.
        """
        self._settings = settings
        self._database = database
        self._leases = leases
        self._stopping = stopping
        self._die = die
        self._clock = clock

    def run(self, job_id: int) -> None:
        claim = self._claim(job_id)
        if claim is None:
            return
        job, lease = claim
        progress = Progress(
            self._database,
            job,
            lease,
            lease_s=self._settings.lease_s,
            longest_s=self._settings.longest_job_hours * 3600,
            stopping=self._stopping,
            hung=lambda: self._hung(job, lease),
            hangs_s=_HANGS_S,
            clock=self._clock,
        )
        _log.info("Job %d (%s of project %s) starts", job.id, job.kind, job.project)
        progress.start()
        try:
            ended = self._work(job, progress)
        finally:
            progress.close()
        if ended is not None:
            self._write(job, progress, ended)

    # -- inside

    def _claim(self, job_id: int) -> tuple[Job, Lease] | None:
        with self._database.write() as connection:
            query = select(Job.kind, Job.project).where(Job.id == job_id)
            known = connection.execute(query).first()
            if known is None:
                _log.error("A message names job %d, which does not exist", job_id)
                return None
            name = lease_name(known.kind, known.project)
            row = lock_lease(connection, name)
            if not self._may_run(connection, job_id) or not self._leases.free(row):
                return None
            # The lease is free, so the workers of jobs that seem to run under it are dead.
            same = (Job.kind == known.kind) & (Job.project == known.project)
            seem_to_run = select(Job).where(same, Job.state == "running").with_for_update()
            for other in records(connection, seem_to_run):
                queue.worker_died(connection, other)
            if _locked(connection, job_id).state != "queued":
                return None
            lease = self._leases.take(connection, name, this_process())
            assert lease is not None, "it is free, and locked"
            _mark_running(connection, job_id)
            if known.kind == TRAINING:
                mark_labels_read(connection, known.project, job_id)
            return _locked(connection, job_id), lease

    def _may_run(self, connection: Connection, job_id: int) -> bool:
        job = _locked(connection, job_id)
        if job.state == "running":
            return True  # if its worker is dead, which the lease shows
        if job.state != "queued" or job.due_at > datetime.now(UTC):
            return False
        if job.trigger in AUTOMATIC and read_schedule(connection, job.project).paused:
            return False
        return job.kind == TRAINING or not training_waits(connection)

    def _work(self, job: Job, progress: Progress) -> _Outcome | None:
        """Do the work. Returns how to record its outcome; None if the lease was lost."""
        try:
            work = load(job.kind, self._settings)
            result = work(job, self._settings, self._database, progress)
        except LostLeaseError as error:
            _log.warning("Job %d: %s", job.id, error)
            return None
        except GiveWayError as error:
            why, wait = str(error), error.wait
            _log.info("Job %d: %s", job.id, why)
            return lambda connection, job: queue.interrupted(connection, job, why, wait)
        except OverdueError as error:
            return self._failure(job, str(error))
        except CancelledError as error:
            why = str(error)
            _log.info("Job %d: %s", job.id, why)
            return lambda connection, job: queue.cancelled(connection, job, why)
        except JobError as error:
            return self._failure(job, str(error))
        except PhraseClickError as error:
            return self._failure(job, str(error), retry=True)
        except Exception as error:
            _log.exception("Job %d failed", job.id)
            return self._failure(job, f"{type(error).__name__}: {error}", retry=True)
        _log.info("Job %d is done", job.id)
        return lambda connection, job: queue.done(connection, job, result)

    def _failure(self, job: Job, why: str, *, retry: bool = False) -> _Outcome:
        _log.error("Job %d: %s", job.id, why)
        note_error(self._database, job.kind, f"Job {job.id}: {why}")
        if retry:
            return lambda connection, job: queue.retry(connection, job, why, delay=True)
        return lambda connection, job: queue.failed(connection, job, why)

    def _write(self, job: Job, progress: Progress, ended: _Outcome) -> None:
        """Record the outcome, waiting for the database if it is down; not if the lease is lost."""
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(DatabaseError),
                stop=stop_after_delay(_WRITE_FOR_S),
                wait=wait_fixed(1.0),
                reraise=True,
            ):
                with attempt, self._database.write() as connection:
                    progress.held(connection)
                    progress.write(connection)
                    ended(connection, _locked(connection, job.id))
        except LostLeaseError as error:
            _log.warning("Job %d: %s", job.id, error)
        except DatabaseError as error:
            # Its heartbeats have stopped, so it will run again.
            _log.error("The outcome of job %d could not be written: %s", job.id, error)

    def _hung(self, job: Job, lease: Lease) -> None:
        why = (
            f"Stopped: it took longer than {self._settings.longest_job_hours:.3g} hours and did "
            "not react; its worker was restarted."
        )
        ended = self._failure(job, why)
        with self._database.write() as connection:
            if holds(connection, lease):
                ended(connection, _locked(connection, job.id))
        self._die()


def _locked(connection: Connection, job_id: int) -> Job:
    job = lock_job(connection, job_id)
    assert job is not None, "jobs are never deleted"
    return job


def _mark_running(connection: Connection, job_id: int) -> None:
    now = datetime.now(UTC)
    values = {
        "state": "running",
        "attempts": Job.attempts + 1,
        "started_at": func.coalesce(Job.started_at, now),
        "heartbeat_at": now,
        "worker": this_process()[:254],
        "phase": "",
        "progress": 0.0,
        "message": "",
        "error": "",
    }
    connection.execute(update(Job).where(Job.id == job_id).values(**values))


# -- the work of each kind

# Named by module, so that torch loads only in the process that needs it.
_KINDS = {
    TRAINING: "backend.learning.train_job:train",
    SCORING: "backend.learning.score_job:score",
    REPLAY: "backend.learning.comparison:replay",
}


def load(kind: str, settings: Settings) -> Work:
    """The function that runs this kind of job, with the limits of the calling thread set.

    Raises JobError for an unknown kind.
    """
    if kind not in _KINDS:
        raise JobError(f"This worker does not know the job kind {kind!r}.")
    limit_thread(settings)
    work: Work = resolve_name(_KINDS[kind])
    return work


# -- resource limits: on a machine that also serves, clicks stay fast while a network trains

_AUTOGROUP = Path("/proc/self/autogroup")
_MATH_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")


def limit_process(settings: Settings) -> None:
    """Limit priority and threads of this process. Call it before torch and numpy are imported."""
    # Threads that wait must sleep instead of spinning: a click needs the core.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    for library in _MATH_LIBRARIES:
        os.environ[f"{library}_NUM_THREADS"] = str(settings.training_threads)
    if settings.training_device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # Threads started later inherit it.
    os.nice(settings.training_nice)
    _lower_session(settings.training_nice)


def _lower_session(niceness: int) -> None:
    """Give the session that this process leads the same niceness.

    With autogroups (sched(7), the default of most distributions), Linux shares the cores between
    sessions first: a process with a session of its own gets as much as the server, however nice it
    is. A session with another leader is left alone, since the server may be part of it.
    """
    if os.getsid(0) != os.getpid():
        return
    with suppress(OSError):  # no Linux, a kernel without autogroups, or /proc is not writable
        _AUTOGROUP.write_text(str(niceness))


def limit_thread(settings: Settings) -> None:
    """Limit torch in the thread that computes; torch counts its workers per thread."""
    import torch

    torch.set_num_threads(settings.training_threads)
    if settings.training_device != "cpu" and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(settings.training_gpu_share)
