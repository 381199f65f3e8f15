"""What a running job is given: to tell how far it is, to hear that it shall stop, and to be certain
that it may still write.

Telling is cheap: a thread writes it down about once a second, with the heartbeat. So a step of a
training can tell and ask every time.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from backend.db import job_tables
from backend.db.engine import Database
from backend.errors import (
    CancelledError,
    DatabaseError,
    GiveWayError,
    LostLeaseError,
    OverdueError,
)
from backend.jobs import lease
from backend.jobs.lease import Lease
from backend.jobs.priority import training_waits
from backend.jobs.queue import cancelled_by
from backend.jobs.records import TRAINING, Job

_log = logging.getLogger(__name__)

# How often the database is asked whether to stop: well within a step of a training.
_LOOK_S = 0.2
# What was told is written so often, and shown about as soon.
_WRITE_S = 1.0
# A lease is beaten so many times in the silence after which it would be given up.
_BEATS = 9
# A training that waits longer than this finds no worker free: what is less urgent gives way.
_WAITED = timedelta(seconds=15)
_LONGEST_LINE = 8_000


class Progress:
    """Of one attempt at a job. Thread-safe."""

    def __init__(
        self,
        database: Database,
        job: Job,
        lease: Lease,
        *,
        lease_s: float,
        longest_s: float,
        stopping: Callable[[], bool] = lambda: False,
        hung: Callable[[], None] = lambda: None,
        hangs_s: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """stopping: whether this worker is told to end. hung: called where the job still runs so
        many seconds after it had to end."""
        self.job = job
        self._database = database
        self._lease = lease
        self._beat_s = lease_s / _BEATS
        self._longest_s = longest_s
        self._stopping = stopping
        self._hung = hung
        self._hangs_s = hangs_s
        self._clock = clock
        self._began = clock()
        self._looked = clock()
        self._reason: CancelledError | None = None
        self._lock = threading.Lock()
        self._before, self._share = 0.0, 1.0
        self._told: dict[str, Any] = {}
        self._lines: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._beating, name=f"beat of job {job.id}", daemon=True
        )

    # -- for the job

    def phase(self, name: str, share: float) -> None:
        """A part of the job begins; ``share`` is its part of the whole (all together: 1)."""
        with self._lock:
            self._before = min(1.0, self._before + self._share if self._told.get("phase") else 0.0)
            self._share = share
            self._told |= {"phase": name[:24], "progress": self._before, "message": ""}
        self.line(f"Phase: {name}")

    def at(self, progress: float, message: str = "") -> None:
        """How far the phase is, 0 to 1, and what is being done, in a sentence."""
        with self._lock:
            whole = self._before + self._share * min(1.0, max(0.0, progress))
            self._told["progress"] = min(1.0, whole)
            if message:
                self._told["message"] = message

    def line(self, text: str, level: str = "info") -> None:
        """A line of the job's log. level: info, warning or error."""
        self._note(level, text[:_LONGEST_LINE], None)

    def point(self, figures: Mapping[str, Any]) -> None:
        """A point of the job's curves: any JSON, such as a step and its loss."""
        self._note("info", "", dict(figures))

    def check(self) -> None:
        """Raise CancelledError where the job shall stop; to be called at least at every step.

        Asks the database a few times a second at most.
        """
        if self._reason is None and self._clock() - self._looked >= _LOOK_S:
            self._look()
        if self._reason is not None:
            raise self._reason

    def fenced(self, connection: Connection) -> None:
        """Be certain, until this writing transaction ends, that this worker still has the job and
        that nobody asked for its end. To be called in every transaction whose effect must not come
        from a worker that was given up: promotion above all.

        Raises CancelledError; then nothing may be written.
        """
        self.held(connection)
        asked = job_tables.locked_job(connection, self.job.id)
        if asked is not None and asked.cancel_asked_at is not None:
            raise self._stop(CancelledError(cancelled_by(asked.cancel_asked_by)))

    # -- for whoever runs the job

    def held(self, connection: Connection) -> None:
        """Raise LostLeaseError unless this worker still has the job, until the transaction ends."""
        if not lease.holds(connection, self._lease):
            raise self._stop(_lost())

    def start(self) -> None:
        """Let the heart beat."""
        self._thread.start()

    def close(self) -> None:
        """End the heartbeat. What was told last is written by ``write``."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def write(self, connection: Connection) -> int:
        """Write down what was told since, in a transaction that knows the job is this worker's;
        to be followed by ``written`` with this number of lines, once that has been committed."""
        with self._lock:
            told, lines = dict(self._told), list(self._lines)
        here = job_tables.jobs.c.id == self.job.id
        told["heartbeat_at"] = datetime.now(UTC)
        connection.execute(update(job_tables.jobs).where(here).values(told))
        if lines:
            connection.execute(insert(job_tables.log), lines)
        return len(lines)

    def written(self, number: int) -> None:
        """So many lines are in the database."""
        with self._lock:
            del self._lines[:number]

    def overdue_for(self) -> float:
        """Seconds since this attempt should have ended; negative before."""
        return self._clock() - self._began - self._longest_s

    def beat(self) -> None:
        """One heartbeat: it lives, this is how far it is, and is it to go on?"""
        with self._database.write() as connection:
            lives = lease.beat(connection, self._lease)
            number = self.write(connection) if lives else 0
        if not lives:
            self._stop(_lost())
            return
        self.written(number)
        self._look()

    # -- inside

    def _beating(self) -> None:
        beaten = written = self._clock()
        while not self._ended.wait(_WRITE_S / 4):
            now = self._clock()
            if self.overdue_for() > self._hangs_s:
                self._hung()
                return
            due = now - beaten >= self._beat_s or (self._lines and now - written >= _WRITE_S)
            if not due:
                continue
            try:
                self.beat()
            except Exception as error:  # the database is away: whoever looks on cannot look either
                _log.warning("Job %d could not say that it lives: %s", self.job.id, error)
            beaten = written = self._clock()
            if isinstance(self._reason, LostLeaseError):
                return

    def _look(self) -> None:
        self._looked = self._clock()
        if self.overdue_for() > 0:
            hours = self._longest_s / 3600
            self._stop(OverdueError(f"It was ended: it took longer than {hours:.3g} hours."))
            return
        if self._stopping():
            self._stop(GiveWayError("Its worker is told to end; it goes on in the next one."))
            return
        try:
            with self._database.read() as connection:
                if not lease.looks_held(connection, self._lease):
                    self._stop(_lost())
                    return
                asked = connection.execute(
                    select(
                        job_tables.jobs.c.cancel_asked_at, job_tables.jobs.c.cancel_asked_by
                    ).where(job_tables.jobs.c.id == self.job.id)
                ).first()
                if asked is not None and asked.cancel_asked_at is not None:
                    self._stop(CancelledError(cancelled_by(asked.cancel_asked_by)))
                elif self.job.kind != TRAINING and training_waits(connection, _WAITED):
                    self._stop(GiveWayError("It lets a training pass, and goes on afterwards."))
        except DatabaseError as error:
            _log.warning("Job %d could not ask whether to go on: %s", self.job.id, error)

    def _note(self, level: str, text: str, figures: dict[str, Any] | None) -> None:
        line = {
            "job_id": self.job.id,
            "at": datetime.now(UTC),
            "attempt": self.job.attempts,
            "level": level,
            "line": text,
            "figures": figures,
        }
        with self._lock:
            self._lines.append(line)

    def _stop(self, reason: CancelledError) -> CancelledError:
        # A lease that is lost outweighs every other reason: then nothing may be written at all.
        if self._reason is None or isinstance(reason, LostLeaseError):
            self._reason = reason
        return self._reason


def _lost() -> LostLeaseError:
    return LostLeaseError("Another worker has this job by now; this one leaves it.")
