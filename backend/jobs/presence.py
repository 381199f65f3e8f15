"""Servers, workers and schedulers say every few seconds that they live, and what they do."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as version_of
from typing import Any, Self

from sqlalchemy import Table, delete, insert, select, update

from backend.db.engine import Database
from backend.db.models.reports import ProcessRow
from backend.errors import DatabaseError

_log = logging.getLogger(__name__)

_processes: Table = ProcessRow.__table__  # type: ignore[assignment]

_EVERY_S = 10.0
# Three times silent: it is gone, or the machine is too busy to be of use.
_SILENT = timedelta(seconds=35)
# What died without a word is shown for a day, so that somebody may notice.
_FORGOTTEN = timedelta(days=1)


@dataclass(frozen=True)
class Process:
    """A process as it last spoke. ``kind``: server, worker, training, scheduler."""

    name: str
    kind: str
    started_at: datetime
    seen_at: datetime
    about: Mapping[str, Any]

    def lives(self, now: datetime | None = None) -> bool:
        """Whether it has spoken lately."""
        return (now or datetime.now(UTC)) - self.seen_at < _SILENT


class Presence:
    """This process's row, kept fresh by a thread until it is closed."""

    def __init__(
        self,
        database: Database,
        kind: str,
        about: Callable[[], Mapping[str, Any]] = dict,
        every_s: float = _EVERY_S,
        migrate: bool = False,
    ) -> None:
        """about: any JSON, asked for each time. migrate: this process may be the first to speak."""
        self._database = database
        self._kind = kind
        self._about = about
        self._every_s = every_s
        self._migrate = migrate
        self._name = f"{socket.gethostname()}:{os.getpid()}:{kind}"[:254]
        self._started_at = datetime.now(UTC)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> Self:
        """Speak now and from now on."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Say good-bye."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=15)

    def _run(self) -> None:
        while True:
            try:
                if self._migrate:
                    self._database.migrate()
                    self._migrate = False
                self._speak()
            except DatabaseError as error:
                _log.warning("This process could not say that it lives: %s", error)
            except Exception:
                _log.exception("This process could not say what it does")
            if self._ended.wait(self._every_s):
                break
        try:
            with self._database.write() as connection:
                connection.execute(delete(_processes).where(_processes.c.name == self._name))
        except DatabaseError as error:
            _log.warning("This process could not say good-bye: %s", error)

    def _speak(self) -> None:
        now = datetime.now(UTC)
        about = {
            "version": version_of("phraseclick-label-studio"),
            "host": socket.gethostname(),
            "process": os.getpid(),
            **self._about(),
        }
        told = {"kind": self._kind, "seen_at": now, "about": about}
        with self._database.write() as connection:
            here = _processes.c.name == self._name
            told_before = connection.execute(update(_processes).where(here).values(told))
            if not told_before.rowcount:
                row = {"name": self._name, "started_at": self._started_at, **told}
                connection.execute(insert(_processes).values(row))
                old = _processes.c.seen_at < now - _FORGOTTEN
                connection.execute(delete(_processes).where(old))


def processes(database: Database) -> list[Process]:
    """All that spoke within a day, servers first."""
    order = {"server": 0, "worker": 1, "training": 2, "scheduler": 3}
    with database.read() as connection:
        found = [Process(**row) for row in connection.execute(select(_processes)).mappings()]
    return sorted(found, key=lambda it: (order.get(it.kind, 9), it.started_at))
