"""Background work: the Celery application, its workers, its clock, and the bell that wakes it.

The database is the truth and the broker only rings the bell: a message carries no news, it says
that there may be some, or names a job. Lost or doubled, it changes nothing, for the worker also
looks at its start and at every tick of the clock.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from celery import Celery
from celery.schedules import schedule
from celery.signals import worker_ready, worker_shutting_down

from backend.settings import Settings
from backend.worker import broker
from backend.worker.broker import SUPPORT_QUEUE, TRAINING_QUEUE

if TYPE_CHECKING:
    from backend.db.models import Job
    from backend.jobs.runner import Runner
    from backend.worker.tasks import Upkeep

_log = logging.getLogger(__name__)

SETTLE = "phraseclick.settle_deliveries"
TICK = "phraseclick.tick_jobs"
TIDY = "phraseclick.tidy"
RECONCILE = "phraseclick.reconcile"
LOOK = "phraseclick.look_at_pictures"
ANNOUNCE = "phraseclick.announce_champions"
DRAW = "phraseclick.draw_costs"
RUN_JOB = "phraseclick.run_job"

_TICK_S = 15.0
# So late at most a job starts that is due, or goes on whose worker died on this machine.
_JOBS_S = 5.0
# So late at most is known what a lost webhook would have told.
_RECONCILE_S = 900.0
_LOOK_S = 60.0
_TIDY_S = 3600.0

_T = TypeVar("_T")

QueueName = Literal["support", "training"]


@dataclass(frozen=True)
class Station:
    """What a worker is told, and what it tells."""

    ending: threading.Event = field(default_factory=threading.Event)
    jobs: list[int] = field(default_factory=list)  # done just now


def build(settings: Settings, station: Station | None = None) -> Celery:
    """The Celery application for these settings; nothing is connected until it is used."""
    here = station or Station()
    app = Celery("phraseclick", set_as_current=False)
    app.conf.update(configuration(settings))

    def ring(job: "Job") -> None:
        call(app, RUN_JOB, job.id)

    # Both are made at the first task: the web server, which only rings, never needs them.
    @_made_once
    def upkeep() -> "Upkeep":
        from backend.worker.tasks import Upkeep

        return Upkeep(settings, ring)

    @_made_once
    def runner() -> "Runner":
        from backend.jobs.runner import Runner

        return Runner.open(settings, stopping=here.ending.is_set)

    @app.task(name=SETTLE, shared=False)  # type: ignore[untyped-decorator]
    def settle_deliveries() -> int:
        settled = upkeep().settle()
        if settled:
            app.send_task(LOOK, expires=_LOOK_S)
        return settled

    @app.task(name=TICK, shared=False)  # type: ignore[untyped-decorator]
    def tick_jobs() -> None:
        upkeep().tick()

    @app.task(name=RECONCILE, shared=False)  # type: ignore[untyped-decorator]
    def reconcile() -> None:
        upkeep().reconcile()

    @app.task(name=LOOK, shared=False)  # type: ignore[untyped-decorator]
    def look_at_pictures() -> int:
        return upkeep().look()

    @app.task(name=DRAW, shared=False)  # type: ignore[untyped-decorator]
    def draw_costs() -> int:
        return upkeep().draw()

    @app.task(name=ANNOUNCE, shared=False)  # type: ignore[untyped-decorator]
    def announce_champions() -> int:
        return upkeep().announce()

    @app.task(name=TIDY, shared=False)  # type: ignore[untyped-decorator]
    def tidy() -> None:
        upkeep().tidy()

    @app.task(name=RUN_JOB, shared=False)  # type: ignore[untyped-decorator]
    def run_job(number: int) -> None:
        here.jobs.append(number)
        try:
            runner().run(number)
        finally:
            here.jobs.remove(number)

    return app


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings, each that is not its default with its why."""

    def every(seconds: float, task: str, worth_s: float | None = None) -> dict[str, Any]:
        # A tick that nobody took in time is worth nothing: the next one comes.
        return {"task": task, "schedule": seconds, "options": {"expires": worth_s or seconds}}

    return {
        **broker.connection(settings),
        # A broker that is away at the start may come, and one that goes may come back.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_default_queue": SUPPORT_QUEUE,
        "task_queues": broker.queues(settings),
        "task_routes": {RUN_JOB: {"queue": TRAINING_QUEUE}},
        # Results lie in the database's own rows; nobody reads Celery's.
        "task_ignore_result": True,
        # Acknowledged when done: a task whose worker died is given to the next one.
        "task_acks_late": True,
        # One at a time: what waits in a busy worker's hands cannot be done by an idle one.
        "worker_prefetch_multiplier": 1,
        # A job goes on while its broker is away. Its message may come again: its row tells.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Our own log format hides secrets; Celery would put its own in place of it.
        "worker_hijack_root_logger": False,
        # Events would keep the file queue busy, and nobody listens.
        "worker_send_task_events": False,
        "timezone": "UTC",
        # In memory: what is done every minute needs no file, over which two schedulers would fight.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_schedule": {
            "settle": every(_TICK_S, SETTLE),
            # Worth more than one tick: the clocks of two machines differ by some seconds.
            "jobs": every(_JOBS_S, TICK, 6 * _JOBS_S),
            "reconcile": every(_RECONCILE_S, RECONCILE),
            "announce": every(_TICK_S, ANNOUNCE),
            "draw": every(_LOOK_S, DRAW),
            "look": every(_LOOK_S, LOOK),
            "tidy": every(_TIDY_S, TIDY),
        },
    }


def run_worker(settings: Settings, queue: QueueName = "support") -> None:
    """Work until told to end: what waits in the database first, then what the bell announces."""
    settings.data.mkdir(parents=True, exist_ok=True)
    if queue == "training":
        from backend.jobs import kinds

        kinds.limit_process(settings)
    station = Station()
    app = build(settings, station)
    _quiet()

    def look_at_once(**_: Any) -> None:
        if queue == "support":
            app.send_task(SETTLE)
            app.send_task(RECONCILE, expires=_RECONCILE_S)
            app.send_task(TIDY, expires=_TIDY_S)

    def told_to_end(**_: Any) -> None:
        station.ending.set()

    worker_ready.connect(look_at_once, weak=False)
    worker_shutting_down.connect(told_to_end, weak=False)
    kind, name, threads = _WORKERS[queue]
    with _present(settings, kind, lambda: {"queue": name, "jobs": list(station.jobs)}):
        app.worker_main(
            [
                "worker",
                f"--queues={name}",
                # Threads, so that the heart of job and broker beats on while a network computes,
                # and nothing that holds a GPU is ever forked.
                "--pool=threads",
                f"--concurrency={threads}",
                "--without-mingle",
                "--without-gossip",
                "--without-heartbeat",
                "--loglevel=INFO",
            ]
        )


# Of the support worker's threads one asks Label Studio, one waits for pictures, and one is for
# what is urgent. Trainings come one at a time: two would only take twice as long each.
_WORKERS: dict[QueueName, tuple[str, str, int]] = {
    "support": ("worker", SUPPORT_QUEUE, 3),
    "training": ("training", TRAINING_QUEUE, 1),
}


def run_scheduler(settings: Settings) -> None:
    """Ring for what is done every so often, until told to end. Any number of them may run."""
    settings.data.mkdir(parents=True, exist_ok=True)
    app = build(settings)
    app.conf.beat_schedule = {
        name: {**entry, "schedule": schedule(entry["schedule"], nowfun=_steadily(), app=app)}
        for name, entry in app.conf.beat_schedule.items()
    }
    _quiet()
    with _present(settings, "scheduler"):
        app.Beat(loglevel="WARNING", quiet=True).run()


def _made_once(make: Callable[[], _T]) -> Callable[[], _T]:
    """As functools.cache, where threads come for the first one at the same time."""
    lock = threading.Lock()
    made: list[_T] = []

    def get() -> _T:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return get


def _steadily() -> Callable[[], datetime]:
    """A clock that goes on evenly: with the wall's, which jumps, a day back would be a day's
    silence."""
    start, began = datetime.now(UTC), time.monotonic()
    return lambda: start + timedelta(seconds=time.monotonic() - began)


@contextmanager
def _present(
    settings: Settings, kind: str, about: Callable[[], Mapping[str, Any]] = dict
) -> Iterator[None]:
    """Say in the database that this process lives."""
    from backend.db.engine import Database
    from backend.jobs.presence import Presence

    database = Database(settings.resolved_database_url)
    presence = Presence(database, kind, about, migrate=True).start()
    try:
        yield
    finally:
        presence.close()
        database.close()


def _quiet() -> None:
    """A line for every tick would hide the lines that tell something."""
    for name in ("celery.beat", "celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


def call(app: Celery, task: str, *arguments: Any) -> None:
    """Have a worker do a task soon. Raises whatever the broker's client raises."""
    # By itself Celery would try for ever to reach a broker that is away.
    with app.connection_for_write(connect_timeout=2) as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        app.send_task(task, arguments, connection=connection, retry=False)


class Bell:
    """Wakes the worker from the web server, never making a request wait for the broker.

    Rings that come while one is on its way are one ring. A broker that is away is logged and left:
    the worker's clock makes up for it.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._wake = threading.Event()
        self._rung: set[str] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
        self._thread.start()

    def ring(self, task: str = SETTLE) -> None:
        """There is something to do; returns at once."""
        with self._lock:
            self._rung.add(task)
        self._wake.set()

    def close(self) -> None:
        """Send what is still to be sent, and end."""
        self._ended = True
        self._wake.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                rung, self._rung = self._rung, set()
            for task in sorted(rung):
                try:
                    call(self._app, task)
                except Exception as error:  # whatever the broker's client raises
                    _log.warning("The worker could not be called (%s); it looks by itself.", error)
