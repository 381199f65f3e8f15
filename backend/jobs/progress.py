"""What a running job receives: report progress, learn whether to stop, and guard its writes.

Reporting is cheap: a thread writes it about once a second, with the heartbeat. So a training can
report and check at every step.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from backend.db.engine import Database
from backend.db.models import lock_job
from backend.db.models.jobs import TRAINING, Job, LogLine
from backend.errors import (
    CancelledError,
    DatabaseError,
    GiveWayError,
    LostLeaseError,
    OverdueError,
)
from backend.jobs import lease
from backend.jobs.lease import Lease
from backend.jobs.queue import cancelled_by, log_line, training_waits

_log = logging.getLogger(__name__)

# How often ``check`` asks the database: more often than a training steps.
_CHECK_S = 0.2
# How often reports are written to the database.
_WRITE_S = 1.0
# Heartbeats within the time after which the lease would be taken over.
_BEATS = 9
# A training that waits longer than this found no free worker: other jobs give way.
_TRAINING_WAITS = timedelta(seconds=15)
_LONGEST_LINE = 8_000


class Progress:
    """Progress of one attempt at a job. Thread-safe."""

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
        """
        Args:
            lease_s: seconds without a heartbeat after which the lease is lost.
            longest_s: seconds that the attempt may take.
            stopping: whether this worker is shutting down.
            hung: called if the job still runs ``hangs_s`` seconds after ``longest_s``.
        """
        self.job = job
        self._database = database
        self._lease = lease
        self._beat_s = lease_s / _BEATS
        self._longest_s = longest_s
        self._stopping = stopping
        self._hung = hung
        self._hangs_s = hangs_s
        self._clock = clock
        self._started = clock()
        self._checked = clock()
        self._reason: CancelledError | None = None
        self._lock = threading.Lock()
        self._before, self._share = 0.0, 1.0
        self._values: dict[str, Any] = {}
        self._lines: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run_heartbeat, name=f"heartbeat of job {job.id}", daemon=True
        )

    # -- for the job

    def phase(self, name: str, share: float) -> None:
        """Begin a phase. ``share`` is its part of the whole job; all shares add up to 1."""
        with self._lock:
            started = self._values.get("phase")
            self._before = min(1.0, self._before + self._share) if started else 0.0
            self._share = share
            self._values |= {"phase": name[:24], "progress": self._before, "message": ""}
        self.line(f"Phase: {name}")

    def at(self, progress: float, message: str = "") -> None:
        """Report how much of the phase is done, 0 to 1, and the current step in a sentence."""
        with self._lock:
            whole = self._before + self._share * min(1.0, max(0.0, progress))
            self._values["progress"] = min(1.0, whole)
            if message:
                self._values["message"] = message

    def line(self, text: str, level: str = "info") -> None:
        """Add a line to the job's log. level: info, warning or error."""
        with self._lock:
            self._lines.append(log_line(self.job, text[:_LONGEST_LINE], level))

    def point(self, figures: Mapping[str, Any]) -> None:
        """Add a point to the job's curves: any JSON, for example a step and its loss."""
        with self._lock:
            self._lines.append(log_line(self.job, "", figures=dict(figures)))

    def check(self) -> None:
        """Raise CancelledError if the job must stop. Call it at least once a step.

        It asks the database a few times a second at most.
        """
        if self._reason is None and self._clock() - self._checked >= _CHECK_S:
            self._check_database()
        if self._reason is not None:
            raise self._reason

    def fenced(self, connection: Connection) -> None:
        """Make sure that this worker still has the job and nobody cancelled it, until this write
        transaction ends. Call it in each transaction that a worker that lost its lease must not
        make, such as a promotion.

        Raises CancelledError; then nothing may be written.
        """
        self.held(connection)
        job = lock_job(connection, self.job.id)
        if job is not None and job.cancel_asked_at is not None:
            raise self._stop(CancelledError(cancelled_by(job.cancel_asked_by)))

    # -- for the runner

    def held(self, connection: Connection) -> None:
        """Raise LostLeaseError unless this worker has the job until the transaction ends."""
        if not lease.holds(connection, self._lease):
            raise self._stop(_lost())

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop the heartbeat. Call ``write`` for the last reports."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def write(self, connection: Connection) -> int:
        """Write what was reported, in a transaction that has checked the lease. After the commit,
        pass the returned number of lines to ``written``."""
        with self._lock:
            values, lines = dict(self._values), list(self._lines)
        values["heartbeat_at"] = datetime.now(UTC)
        connection.execute(update(Job).where(Job.id == self.job.id).values(**values))
        if lines:
            connection.execute(insert(LogLine), lines)
        return len(lines)

    def written(self, number: int) -> None:
        """Forget this number of lines: they are in the database."""
        with self._lock:
            del self._lines[:number]

    def overdue_for(self) -> float:
        """Seconds since the attempt should have ended; negative before."""
        return self._clock() - self._started - self._longest_s

    def beat(self) -> None:
        """Write one heartbeat with the reports, and check whether to stop."""
        with self._database.write() as connection:
            held = lease.beat(connection, self._lease)
            number = self.write(connection) if held else 0
        if not held:
            self._stop(_lost())
            return
        self.written(number)
        self._check_database()

    # -- inside

    def _run_heartbeat(self) -> None:
        last = self._clock()
        while not self._ended.wait(_WRITE_S / 4):
            silent = self._clock() - last
            if self.overdue_for() > self._hangs_s:
                self._hung()
                return
            if silent < self._beat_s and not (self._lines and silent >= _WRITE_S):
                continue
            try:
                self.beat()
            except Exception as error:  # the database is down: so no one can take the lease either
                _log.warning("Job %d could not write its heartbeat: %s", self.job.id, error)
            last = self._clock()
            if isinstance(self._reason, LostLeaseError):
                return

    def _check_database(self) -> None:
        self._checked = self._clock()
        if self.overdue_for() > 0:
            hours = self._longest_s / 3600
            self._stop(OverdueError(f"Stopped: it took longer than {hours:.3g} hours."))
            return
        if self._stopping():
            self._stop(GiveWayError("Its worker is shutting down; another one continues."))
            return
        try:
            with self._database.read() as connection:
                query = select(Job.cancel_asked_at, Job.cancel_asked_by)
                row = connection.execute(query.where(Job.id == self.job.id)).first()
                if row is not None and row.cancel_asked_at is not None:
                    self._stop(CancelledError(cancelled_by(row.cancel_asked_by)))
                elif self.job.kind != TRAINING and training_waits(connection, _TRAINING_WAITS):
                    self._stop(GiveWayError("Paused for a training; it continues afterwards."))
        except DatabaseError as error:
            _log.warning("Job %d could not check whether to stop: %s", self.job.id, error)

    def _stop(self, reason: CancelledError) -> CancelledError:
        # A lost lease outranks all other reasons: nothing at all may be written then.
        if self._reason is None or isinstance(reason, LostLeaseError):
            self._reason = reason
        return self._reason


def _lost() -> LostLeaseError:
    return LostLeaseError("Another worker has taken over this job.")
