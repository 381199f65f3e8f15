"""Background work: the Celery application, its workers, and its periodic tasks.

The database is the truth; the broker only rings the bell. A message carries no data: it says that
there may be work, or names a job. Lost or duplicate messages are harmless, because the workers also
check the database when they start and periodically.
"""

import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from cachetools import cached
from celery import Celery
from celery.exceptions import SecurityWarning
from celery.schedules import schedule
from celery.signals import worker_ready, worker_shutting_down

from backend.settings import Settings
from backend.worker import broker
from backend.worker.broker import SUPPORT_QUEUE, TRAINING_QUEUE
from model.files import private_folder

if TYPE_CHECKING:
    from backend.db.models import Job
    from backend.jobs.runner import Runner
    from backend.worker.tasks import Tasks

_log = logging.getLogger(__name__)

# Names of tasks: methods of ``Tasks``, and the one that runs a job.
PROCESS_DELIVERIES = "process_deliveries"
TICK = "tick"
RECONCILE = "reconcile"
ANNOUNCE = "announce"
CHECK_PICTURES = "check_pictures"
TIDY = "tidy"
RUN_JOB = "run_job"

# What the scheduler has a worker call, every so many seconds.
PERIODIC: dict[str, float] = {
    PROCESS_DELIVERIES: 15,
    # A due job starts within this time, and so does one whose worker died on this machine.
    TICK: 5,
    # The changes of lost webhooks are found within this time.
    RECONCILE: 900,
    ANNOUNCE: 15,
    "compute_costs": 60,
    CHECK_PICTURES: 60,
    TIDY: 3600,
}
# A message that no worker took within a period expires: the next one comes. These are valid for
# several, since the clocks of two machines differ by some seconds.
_EXPIRES_S: dict[str, float] = {TICK: 30}

QueueName = Literal["support", "training"]


@dataclass(frozen=True)
class WorkerState:
    """State of a worker process: whether it shuts down, and which jobs it runs."""

    stopping: threading.Event = field(default_factory=threading.Event)
    jobs: list[int] = field(default_factory=list)


def build(settings: Settings, state: WorkerState | None = None) -> Celery:
    """The Celery application for these settings; nothing is connected until it is used."""
    here = state or WorkerState()
    app = Celery("phraseclick", set_as_current=False)
    app.conf.update(configuration(settings))

    def send(job: "Job") -> None:
        call(app, RUN_JOB, job.id)

    # Both are created by the first task: the web server only sends messages and needs neither.
    @cached({}, condition=threading.Condition())
    def tasks() -> "Tasks":
        from backend.worker.tasks import Tasks

        return Tasks(settings, send)

    @cached({}, condition=threading.Condition())
    def runner() -> "Runner":
        from backend.db.migrations import open_database
        from backend.jobs.lease import Leases
        from backend.jobs.runner import Runner

        leases = Leases(settings.lease_s)
        return Runner(settings, open_database(settings), leases, stopping=here.stopping.is_set)

    def register(name: str) -> None:
        def run() -> None:
            done = getattr(tasks(), name)()
            if name == PROCESS_DELIVERIES and done:
                app.send_task(CHECK_PICTURES, expires=PERIODIC[CHECK_PICTURES])

        app.task(name=name, shared=False)(run)

    for name in PERIODIC:
        register(name)

    def run_job(number: int) -> None:
        here.jobs.append(number)
        try:
            runner().run(number)
        finally:
            here.jobs.remove(number)

    app.task(name=RUN_JOB, shared=False)(run_job)
    return app


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings. Each that is not the default has its reason."""
    return {
        **broker.connection(settings),
        # The broker may start later, and restart.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_default_queue": SUPPORT_QUEUE,
        "task_queues": broker.queues(settings),
        "task_routes": {RUN_JOB: {"queue": TRAINING_QUEUE}},
        # Results are in the database; nothing reads Celery's.
        "task_ignore_result": True,
        # Acknowledged when done: the task of a dead worker goes to another one.
        "task_acks_late": True,
        # One at a time: an idle worker cannot take messages that a busy one has fetched.
        "worker_prefetch_multiplier": 1,
        # A job continues without its broker. If its message comes again, its row decides.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Keep our log format, which hides secrets.
        "worker_hijack_root_logger": False,
        # Nothing reads events, and they would keep the file queue busy.
        "worker_send_task_events": False,
        "timezone": "UTC",
        # In memory: a file of its state would be a conflict between two schedulers.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_schedule": {
            name: {
                "task": name,
                "schedule": seconds,
                "options": {"expires": _EXPIRES_S.get(name, seconds)},
            }
            for name, seconds in PERIODIC.items()
        },
    }


def run_worker(settings: Settings, queue: QueueName = "support") -> None:
    """Run a worker until SIGTERM. It starts with the work that waits in the database.

    Exits with 1 if Celery gives up by itself, which it only logs.
    """
    private_folder(settings.data)
    if queue == "training":
        from backend.jobs import runner

        runner.limit_process(settings)
    state = WorkerState()
    app = build(settings, state)
    _quiet_logs()

    def check_database(**_: Any) -> None:
        if queue == "support":
            for task in (PROCESS_DELIVERIES, RECONCILE, TIDY):
                app.send_task(task, expires=PERIODIC[task])

    def stop(**_: Any) -> None:
        state.stopping.set()

    worker_ready.connect(check_database, weak=False)
    worker_shutting_down.connect(stop, weak=False)
    kind, name, threads = _WORKERS[queue]
    with _present(settings, kind, lambda: {"queue": name, "jobs": list(state.jobs)}):
        app.worker_main(
            [
                "--quiet",  # no banner
                "worker",
                f"--queues={name}",
                # Threads: heartbeats of job and broker continue while a network computes, and a
                # process that uses a GPU is never forked.
                "--pool=threads",
                f"--concurrency={threads}",
                "--without-mingle",
                "--without-gossip",
                "--without-heartbeat",
                f"--loglevel={settings.log_level.upper()}",
            ]
        )
    if not state.stopping.is_set():
        sys.exit(1)


# The support worker's threads: one for Label Studio, one for pictures, one for urgent tasks. The
# training worker has one: two trainings at once would each take twice as long.
_WORKERS: dict[QueueName, tuple[str, str, int]] = {
    "support": ("worker", SUPPORT_QUEUE, 3),
    "training": ("training", TRAINING_QUEUE, 1),
}


def run_scheduler(settings: Settings) -> None:
    """Send the periodic tasks until SIGTERM. Any number of schedulers may run."""
    private_folder(settings.data)
    app = build(settings)
    app.conf.beat_schedule = {
        name: {**entry, "schedule": schedule(entry["schedule"], nowfun=_monotonic_now(), app=app)}
        for name, entry in app.conf.beat_schedule.items()
    }
    _quiet_logs()
    with _present(settings, "scheduler"):
        app.Beat(loglevel=settings.log_level.upper(), quiet=True).run()


def _monotonic_now() -> Callable[[], datetime]:
    """A clock that does not jump: Celery's would stop for a day if the wall clock were set back."""
    start, started = datetime.now(UTC), time.monotonic()
    return lambda: start + timedelta(seconds=time.monotonic() - started)


@contextmanager
def _present(
    settings: Settings, kind: str, about: Callable[[], Mapping[str, Any]] = dict
) -> Iterator[None]:
    from backend.db.engine import Database
    from backend.jobs.presence import Presence

    database = Database(settings.resolved_database_url)
    presence = Presence(database, kind, about).start()
    try:
        yield
    finally:
        presence.close()
        database.close()


def _quiet_logs() -> None:
    """A line for each periodic task would hide the others. Messages are JSON with ids, so a worker
    that runs as root is no risk to warn of."""
    warnings.simplefilter("ignore", SecurityWarning)
    for name in ("celery.beat", "celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


def call(app: Celery, task: str, *arguments: Any) -> None:
    """Send a task to a worker. Raises any error of the broker's client."""
    # By default, Celery retries forever if the broker is down.
    with app.connection_for_write(connect_timeout=2) as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        app.send_task(task, arguments, connection=connection, retry=False)


class Enqueuer:
    """Sends tasks from the web server, without making a request wait for the broker.

    The same task requested again before it is sent is sent once. If the broker is down, that is
    only logged: the periodic tasks do the work later.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._waiting: set[str] = set()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="enqueuer")

    def enqueue(self, task: str = PROCESS_DELIVERIES) -> None:
        """Send a task soon; returns at once."""
        with self._lock:
            if task in self._waiting:
                return
            self._waiting.add(task)
        self._thread.submit(self._send, task)

    def close(self) -> None:
        """Send the remaining tasks, and stop."""
        self._thread.shutdown()

    def _send(self, task: str) -> None:
        with self._lock:
            self._waiting.discard(task)
        try:
            call(self._app, task)
        except Exception as error:  # any error of the broker's client
            _log.warning(
                "The worker could not be notified (%s); it checks the database by itself.", error
            )
