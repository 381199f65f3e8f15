"""What the clock does with jobs every few seconds: start what is due, and mend what broke.

All of it rests on rows, so any number of workers may do it, at the same time too. A message that
was lost is sent again, a job whose worker died goes back to the queue, a clock that jumped makes
nothing wait for years.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select, update

from backend.db import job_tables
from backend.db.engine import Database
from backend.jobs import outcome, recent_errors, triggers
from backend.jobs.lease import Leases
from backend.jobs.queue import job_of
from backend.jobs.records import Job
from backend.jobs.runner import end_of_the_dead
from backend.settings import Settings

_log = logging.getLogger(__name__)

# A message that nobody took yet lies in the broker: it is sent again in case it was lost.
_RING_AGAIN_S = 60.0
# New labels are counted at each settling; this is for those whose settling was not seen.
_COUNT_S = 30.0

_NAME = job_tables.jobs.c.kind + ":" + job_tables.jobs.c.project


class Clockwork:
    """The jobs' side of a worker's clock. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        leases: Leases,
        ring: Callable[[Job], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """ring: have a worker do a job. Whatever it raises is logged; it is rung again later."""
        self._settings = settings
        self._database = database
        self._leases = leases
        self._ring = ring
        self._clock = clock
        self._lock = threading.Lock()
        self._rung: dict[tuple[int, int], float] = {}
        self._counted = float("-inf")

    def tick(self, now: datetime | None = None) -> None:
        """One round."""
        if not self._lock.acquire(blocking=False):
            return  # one is under way
        try:
            now = now or datetime.now(UTC)
            self._bury_the_dead()
            self._mend_times(now)
            triggers.by_schedule(self._database, self._settings, now)
            if self._clock() - self._counted >= _COUNT_S:
                self.labels_came(now)
            self._ring_due(now)
        finally:
            self._lock.release()

    def labels_came(self, now: datetime | None = None) -> None:
        """There may be new labels: ask for the trainings that they start."""
        self._counted = self._clock()
        now = now or datetime.now(UTC)
        for job in triggers.by_labels(self._database, self._settings, now):
            _log.info("Job %d: project %s has new labels", job.id, job.project)

    # -- inside

    def _bury_the_dead(self) -> None:
        with self._database.read() as connection:
            found = connection.execute(
                select(job_tables.jobs.c.id, job_tables.leases)
                .join(job_tables.leases, job_tables.leases.c.name == _NAME)
                .where(job_tables.jobs.c.state == "running")
            ).all()
            dead = [row for row in found if self._leases.free(row)]
        for each in dead:
            state = self._bury(each.id, each.name)
            if state is None:
                continue
            _log.warning("Job %d: its worker is gone; it is %s", each.id, state)
            if state == "failed":
                why = f"Job {each.id} was given up: its worker died again and again."
                recent_errors.note(self._database, "worker", why)

    def _bury(self, number: int, lease: str) -> str | None:
        with self._database.write() as connection:
            held = job_tables.lock(connection, lease)
            row = job_tables.locked_job(connection, number)
            if row is None or row.state != "running" or not self._leases.free(held):
                return None
            return end_of_the_dead(connection, row)

    def _mend_times(self, now: datetime) -> None:
        """Where the clock went back, what waits would wait as much longer."""
        with self._database.read() as connection:
            query = select(job_tables.jobs).where(
                job_tables.jobs.c.state == "queued", job_tables.jobs.c.due_at > now
            )
            late = [job for row in connection.execute(query) if self._late(job := job_of(row), now)]
        for job in late:
            with self._database.write() as connection:
                here = (job_tables.jobs.c.id == job.id) & (job_tables.jobs.c.due_at == job.due_at)
                due_at = now + self._wait(job)
                connection.execute(update(job_tables.jobs).where(here).values(due_at=due_at))

    def _late(self, job: Job, now: datetime) -> bool:
        if job.attempts == 0 and job.trigger != "labels":
            return now < job.created_at <= job.due_at
        return job.due_at > now + self._wait(job)

    def _wait(self, job: Job) -> timedelta:
        """The longest that it can have to wait from any moment on."""
        if job.attempts:
            return outcome.LONGEST_PAUSE
        if job.trigger == "labels":
            return timedelta(seconds=self._settings.learn_debounce_s)
        return job.due_at - job.created_at

    def _ring_due(self, now: datetime) -> None:
        with self._database.read() as connection:
            due = _due(connection, now)
        present = self._clock()
        fresh = {}
        for job in due:
            mark = (job.id, job.attempts)
            rung = self._rung.get(mark)
            if rung is None or present - rung >= _RING_AGAIN_S:
                try:
                    self._ring(job)
                except Exception as error:  # whatever the broker's client raises
                    _log.warning("Job %d could not be rung for: %s", job.id, error)
                    continue
                rung = present
            fresh[mark] = rung
        self._rung = fresh


def _due(connection: Connection, now: datetime) -> list[Job]:
    """Trainings first, then the oldest. Those of a project that pauses wait with it; those behind
    another one of their kind are rung for once that has ended."""
    other = job_tables.jobs.alias()
    behind = select(other.c.id).where(
        other.c.project == job_tables.jobs.c.project,
        other.c.kind == job_tables.jobs.c.kind,
        other.c.state == "running",
    )
    pauses = select(job_tables.plans.c.project).where(job_tables.plans.c.paused.is_(True))
    by_itself = job_tables.jobs.c.trigger.in_(("labels", "schedule"))
    query = (
        select(job_tables.jobs)
        .where(
            job_tables.jobs.c.state == "queued",
            job_tables.jobs.c.due_at <= now,
            ~behind.exists(),
            ~(by_itself & job_tables.jobs.c.project.in_(pauses)),
        )
        .order_by((job_tables.jobs.c.kind != "training"), job_tables.jobs.c.id)
    )
    return [job_of(row) for row in connection.execute(query)]
