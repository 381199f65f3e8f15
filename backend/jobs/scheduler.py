"""The scheduler: every few seconds it starts due jobs, enqueues trainings and requeues lost jobs.

It works only on rows, so any number of processes may run it at the same time. Lost messages are
sent again, and jobs of dead workers go back to the queue.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cachetools import TTLCache
from sqlalchemy import Connection, select, update

from backend.db.engine import Database
from backend.db.models import lease_name, lock_job, lock_lease, lock_schedule
from backend.db.models.jobs import TRAINING, Job, LeaseRow, Schedule
from backend.jobs import presence
from backend.jobs.lease import Leases
from backend.jobs.queue import LONGEST_RETRY_DELAY, enqueue, runnable, worker_died
from backend.jobs.schedules import NewLabels, count_new_labels, next_run, read_schedule
from backend.settings import Settings

_log = logging.getLogger(__name__)

# A message that no worker took yet may be lost: send it again.
_RESEND_S = 60.0
_SENT = 10_000
# New labels are counted when a webhook arrives; this catches the ones without a webhook.
_COUNT_S = 30.0


class Scheduler:
    """Starts and requeues jobs. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        leases: Leases,
        send: Callable[[Job], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            send: send a job to a worker. Errors are logged, and it is sent again later.
            clock: monotonic seconds.
        """
        self._settings = settings
        self._database = database
        self._leases = leases
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        # Job and attempt, as long as the message counts as on its way.
        self._sent: TTLCache[tuple[int, int], None] = TTLCache(_SENT, _RESEND_S, clock)
        self._counted = float("-inf")

    def tick(self, now: datetime | None = None) -> None:
        """Run once; returns at once if another thread is at it."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            now = now or datetime.now(UTC)
            self._requeue_lost_jobs()
            self._bound_waits(now)
            self._run_schedules(now)
            if self._clock() - self._counted >= _COUNT_S:
                self.labels_changed(now)
            self._send_due(now)
        finally:
            self._lock.release()

    def labels_changed(self, now: datetime | None = None) -> None:
        """Enqueue a training for each project with enough new labels."""
        self._counted = self._clock()
        if not self._settings.learn:
            return
        now = now or datetime.now(UTC)
        with self._database.read() as connection:
            counts = count_new_labels(connection)
        for project, labels in counts.items():
            job = self._after_labels(project, labels.untried, now)
            if job is not None:
                _log.info("Job %d: project %s has new labels", job.id, project)

    # -- lost jobs and clocks

    def _requeue_lost_jobs(self) -> None:
        same = LeaseRow.name == Job.kind + ":" + Job.project
        query = select(Job.id, LeaseRow).join(LeaseRow, same).where(Job.state == "running")
        with self._database.session() as session:
            running = session.execute(query).all()
        for job_id, lease in running:
            if self._leases.free(lease) and (state := self._requeue(job_id, lease.name)):
                _log.warning("Job %d: its worker died; it is %s", job_id, state)
                if state == "failed":
                    why = f"Job {job_id} failed: its worker died several times."
                    presence.note_error(self._database, "worker", why)

    def _requeue(self, job_id: int, name: str) -> str | None:
        with self._database.write() as connection:
            lease = lock_lease(connection, name)
            job = lock_job(connection, job_id)
            if job is None or job.state != "running" or not self._leases.free(lease):
                return None
            return worker_died(connection, job)

    def _bound_waits(self, now: datetime) -> None:
        """Start jobs whose wait is longer than any real one: the wall clock was set back."""
        longest = max(LONGEST_RETRY_DELAY, timedelta(seconds=self._settings.learn_debounce_s))
        late = (Job.state == "queued") & (Job.due_at > now + longest)
        if self._database.records(select(Job.id).where(late).limit(1)):
            with self._database.write() as connection:
                connection.execute(update(Job).where(late).values(due_at=now))

    # -- what starts a training

    def _run_schedules(self, now: datetime) -> None:
        for project in self._database.records(select(Schedule.project).where(Schedule.cron != "")):
            with self._database.write() as connection:
                self._run_schedule(connection, project, now)

    def _run_schedule(self, connection: Connection, project: str, now: datetime) -> None:
        lock_lease(connection, lease_name(TRAINING, project))
        schedule = lock_schedule(connection, project)
        if not schedule.cron:
            return
        due_at = next_run(schedule.cron, now)
        here = update(Schedule).where(Schedule.project == project)
        if schedule.due_at is None or schedule.due_at > now:
            if due_at != schedule.due_at:  # the wall clock was set back: the run comes earlier
                connection.execute(here.values(due_at=due_at))
            return
        connection.execute(here.values(due_at=due_at, ran_at=now))
        if schedule.paused or not self._settings.learn:
            return
        if count_new_labels(connection, project).get(project, NewLabels()).new:
            enqueue(connection, project, TRAINING, trigger="schedule", by=schedule.cron, now=now)
        else:
            _log.info("Project %s: its schedule is due, but it has no new labels.", project)

    def _after_labels(self, project: str, untried: int, now: datetime) -> Job | None:
        with self._database.read() as connection:
            schedule = read_schedule(connection, project)
        enough = schedule.after_labels or self._settings.learn_after_labels
        if schedule.paused or untried < enough:
            return None
        with self._database.write() as connection:
            lock_lease(connection, lease_name(TRAINING, project))
            waiting = connection.execute(
                select(Job.trigger, Job.request).where(
                    Job.project == project, Job.kind == TRAINING, Job.state == "queued"
                )
            ).first()
            if waiting is None:
                # Count again under the lock: a training may just have started and read them.
                untried = count_new_labels(connection, project).get(project, NewLabels()).untried
                if untried < enough:
                    return None
            elif waiting.trigger != "labels" or waiting.request.get("labels", 0) >= untried:
                return None  # a training waits, and no label is newer than its last delay
            return enqueue(
                connection,
                project,
                TRAINING,
                trigger="labels",
                due_at=now + timedelta(seconds=self._settings.learn_debounce_s),
                request={"labels": untried},
                now=now,
            )

    # -- messages

    def _send_due(self, now: datetime) -> None:
        """Send due jobs to workers: trainings first, then the oldest."""
        query = (
            select(Job)
            .where(Job.due_at <= now, runnable())
            .order_by((Job.kind != TRAINING), Job.id)
        )
        for job in self._database.records(query):
            if (key := (job.id, job.attempts)) in self._sent:
                continue
            try:
                self._send(job)
            except Exception as error:  # any error of the broker's client
                _log.warning("Job %d could not be sent: %s", job.id, error)
            else:
                self._sent[key] = None
