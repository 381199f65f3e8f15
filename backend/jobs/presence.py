"""Which processes run, and the recent errors: what the health page shows.

Servers, workers and schedulers update their row every few seconds.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as version_of
from typing import Any, Self

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.db.models import Process, RecentError
from backend.errors import DatabaseError

_log = logging.getLogger(__name__)

_EVERY_S = 10.0
# Processes that died without removing their row are shown for a day.
_KEPT = timedelta(days=1)

ERRORS_KEPT = 500
_LONGEST_ERROR = 4_000


class Presence:
    """The row of this process, updated by a thread until it is closed."""

    def __init__(
        self,
        database: Database,
        kind: str,
        about: Callable[[], Mapping[str, Any]] = dict,
        every_s: float = _EVERY_S,
    ) -> None:
        """
        Args:
            kind: server, worker, training or scheduler.
            about: returns any JSON to show; called before each update.
        """
        self._database = database
        self._kind = kind
        self._about = about
        self._every_s = every_s
        self._name = f"{socket.gethostname()}:{os.getpid()}:{kind}"[:254]
        self._started_at = datetime.now(UTC)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> Self:
        """Write the row now, and keep it up to date."""
        self._thread.start()
        return self

    def close(self) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=15)

    def _run(self) -> None:
        has_tables = False
        while True:
            try:
                if not has_tables:  # this may be the first process, or the database comes later
                    migrate(self._database)
                    has_tables = True
                self._update()
            except DatabaseError as error:
                _log.warning("This process could not update its status: %s", error)
            except Exception:
                _log.exception("This process could not update its status")
            if self._ended.wait(self._every_s):
                break
        try:
            with self._database.write() as connection:
                connection.execute(delete(Process).where(Process.name == self._name))
        except DatabaseError as error:
            _log.warning("This process could not remove its status: %s", error)

    def _update(self) -> None:
        now = datetime.now(UTC)
        about = {
            "version": version_of("phraseclick-label-studio"),
            "host": socket.gethostname(),
            "process": os.getpid(),
            **self._about(),
        }
        row = Process(
            name=self._name,
            kind=self._kind,
            started_at=self._started_at,
            seen_at=now,
            about=about,
        )
        with self._database.write() as connection, Session(connection) as session:
            session.merge(row)
            session.execute(delete(Process).where(Process.seen_at < now - _KEPT))


def processes(database: Database) -> list[Process]:
    """All processes that were seen within a day, servers first."""
    order = {"server": 0, "worker": 1, "training": 2, "scheduler": 3}
    known = database.records(select(Process))
    return sorted(known, key=lambda process: (order.get(process.kind, 9), process.started_at))


def runs(database: Database, kind: str) -> bool:
    """Whether a process of this kind reported itself lately, on any machine."""
    return any(process.kind == kind and process.is_running() for process in processes(database))


def note_error(database: Database, where: str, sentence: str) -> None:
    """Keep an error for the health page. Never raises.

    where: server, worker, or the kind of job.
    """
    try:
        with database.write() as connection:
            connection.execute(
                insert(RecentError).values(
                    at=datetime.now(UTC), where=where[:64], sentence=sentence[:_LONGEST_ERROR]
                )
            )
            newest = select(func.max(RecentError.id)).scalar_subquery()
            connection.execute(delete(RecentError).where(RecentError.id <= newest - ERRORS_KEPT))
    except Exception as error:
        _log.warning("%s: %s (not stored: %s)", where, sentence, error)


def recent_errors(database: Database, limit: int = 50) -> list[RecentError]:
    """The newest first."""
    query = select(RecentError).order_by(RecentError.id.desc()).limit(limit)
    return database.records(query)
