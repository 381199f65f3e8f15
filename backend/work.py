"""Background work: the Celery application, its clock, and the bell that wakes it.

The database is the truth and the broker only rings the bell: a message carries no news, it says
that there may be some. Lost or doubled, it changes nothing, for the worker also looks at its start
and at every tick of its clock.
"""

import logging
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.signals import worker_ready

from backend import spool
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.upkeep import Upkeep

_log = logging.getLogger(__name__)

# What must be done soon, for clicks depend on it; training will have a queue of its own.
SUPPORT_QUEUE = "interactive-support"

SETTLE = "phraseclick.settle_deliveries"
TIDY = "phraseclick.tidy"
RECONCILE = "phraseclick.reconcile"
LOOK = "phraseclick.look_at_pictures"
ANNOUNCE = "phraseclick.announce_champions"
DRAW = "phraseclick.draw_costs"

_TICK_S = 15.0
# So late at most is known what a lost webhook would have told.
_RECONCILE_S = 900.0
_LOOK_S = 60.0
_TIDY_S = 3600.0


def build(settings: Settings) -> Celery:
    """The Celery application for these settings; nothing is connected until it is used."""
    app = Celery("phraseclick", set_as_current=False)
    app.conf.update(configuration(settings))

    @cache
    def upkeep() -> "Upkeep":
        # Made at the first task: the web server, which only rings, never needs it.
        from backend.upkeep import Upkeep

        return Upkeep(settings)

    @app.task(name=SETTLE, shared=False)  # type: ignore[untyped-decorator]
    def settle_deliveries() -> int:
        settled = upkeep().settle()
        if settled:
            app.send_task(LOOK, expires=_LOOK_S)
        return settled

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

    return app


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings, each that is not its default with its why."""
    configured: dict[str, Any] = {
        "broker_url": settings.broker_url,
        # A broker that is away at the start may come; the clock of the worker waits with it.
        "broker_connection_retry_on_startup": True,
        "task_default_queue": SUPPORT_QUEUE,
        # Results lie in the database's own rows; nobody reads Celery's.
        "task_ignore_result": True,
        # Acknowledged when done: a task whose worker died is given to the next one.
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # Our own log format hides secrets; Celery would put its own in place of it.
        "worker_hijack_root_logger": False,
        # Control messages and events would keep the file queue busy, and nobody listens.
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "timezone": "UTC",
        "beat_schedule_filename": str(settings.data / "celery-beat"),
        "beat_schedule": {
            # A tick that nobody took in time is worth nothing: the next one comes.
            "settle": {"task": SETTLE, "schedule": _TICK_S, "options": {"expires": _TICK_S}},
            "reconcile": {
                "task": RECONCILE,
                "schedule": _RECONCILE_S,
                "options": {"expires": _RECONCILE_S},
            },
            "announce": {"task": ANNOUNCE, "schedule": _TICK_S, "options": {"expires": _TICK_S}},
            "draw": {"task": DRAW, "schedule": _LOOK_S, "options": {"expires": _LOOK_S}},
            "look": {"task": LOOK, "schedule": _LOOK_S, "options": {"expires": _LOOK_S}},
            "tidy": {"task": TIDY, "schedule": _TIDY_S, "options": {"expires": _TIDY_S}},
        },
    }
    if not settings.broker_url:
        configured["broker_url"] = f"{spool.SCHEME}://localhost"
        configured["broker_transport_options"] = spool.transport_options(settings.data / "queue")
    return configured


def run_worker(settings: Settings) -> None:
    """Work until told to end: what waits in the database first, then what the bell announces."""
    settings.data.mkdir(parents=True, exist_ok=True)
    app = build(settings)

    def look_at_once(**_: Any) -> None:
        app.send_task(SETTLE)
        app.send_task(RECONCILE, expires=_RECONCILE_S)

    worker_ready.connect(look_at_once, weak=False)
    app.worker_main(
        [
            "worker",
            "--beat",
            "--pool=threads",
            # One that asks Label Studio, one that waits for pictures, and one for what is urgent.
            "--concurrency=3",
            "--without-mingle",
            "--without-gossip",
            "--without-heartbeat",
            "--loglevel=INFO",
        ]
    )


def call(app: Celery, task: str) -> None:
    """Have the worker do a task soon. Raises whatever the broker's client raises."""
    # By itself Celery would try for ever to reach a broker that is away.
    with app.connection_for_write(connect_timeout=2) as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        app.send_task(task, connection=connection, retry=False)


class Bell:
    """Wakes the worker from the web server, never making a request wait for the broker.

    Rings that come while one is on its way are one ring. A broker that is away is logged and left:
    the worker's clock makes up for it.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._wake = threading.Event()
        self._rung = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """There is something to do; returns at once."""
        self._rung = True
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
            if not self._rung:
                continue
            self._rung = False
            try:
                call(self._app, SETTLE)
            except Exception as error:  # whatever the broker's client raises
                _log.warning("The worker could not be called (%s); it looks by itself.", error)
