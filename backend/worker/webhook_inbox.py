"""The webhook inbox: a webhook's body is stored within milliseconds, and processed by a worker.

Label Studio waits one second and sends each webhook once. But a row may have to wait, for another
process that writes or a database that restarts. So one thread writes the rows, and a request waits
for it only a few milliseconds. After that the body goes into a file, which survives kill -9, and
the row is written later. Files of a process that died are taken over by the next one that starts.
A body may then become two rows, which is harmless: processing is idempotent.
"""

import base64
import contextlib
import fcntl
import logging
import os
import queue
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import orjson
from sqlalchemy import delete, insert, select, update

from backend.db.engine import Database
from backend.db.models import Delivery
from backend.errors import DatabaseError
from model.files import atomic_write, exclusive, private_folder

_log = logging.getLogger(__name__)

# A webhook may take 50 ms; writing a row takes 1 to 5 ms if nothing is in the way.
WAIT_S = 0.012
_FIRST_RETRY_S = 0.2
_LONGEST_RETRY_S = 5.0
_SUFFIX = ".webhook"
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)

# Attempts to process a delivery.
ATTEMPTS = 3
# Long enough to look into a failure after a long weekend.
_KEPT = timedelta(days=14)
_BATCH = 20
# What remains of an attempt that killed the worker: a body too large for its memory, for example.
_ENDED = "The worker ended while it processed this delivery."


@dataclass(frozen=True)
class Stored:
    """A delivery that waits to be processed."""

    id: int
    action: str
    body: bytes


class Deliveries:
    """The table of deliveries. Thread-safe.

    A delivery that cannot be processed is retried a few times, then kept with its error. An attempt
    is counted before it begins, so that a delivery which kills the worker is set aside as well.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(
        self,
        action: str,
        project_id: int | None,
        body: bytes,
        received_at: datetime | None = None,
    ) -> None:
        """Store a webhook as received. received_at: default now."""
        with self._database.write() as connection:
            connection.execute(
                insert(Delivery).values(
                    received_at=received_at or datetime.now(UTC),
                    action=action[:64],
                    project_id=project_id,
                    body=body,
                )
            )

    def waiting(self) -> list[int]:
        """The ids of the oldest deliveries that are not processed."""
        query = (
            select(Delivery.id)
            .where(Delivery.processed_at.is_(None), Delivery.attempts < ATTEMPTS)
            .order_by(Delivery.attempts, Delivery.id)
            .limit(_BATCH)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def process(self, one: Callable[[Stored], None]) -> int:
        """Pass all waiting deliveries to ``one``, oldest first. Returns how many it processed.

        ``one`` may see a delivery twice, in two workers or after a crash: it must be idempotent.
        """
        processed = 0
        tried: set[int] = set()
        # Failed ones are retried at the next call, not at once: the cause needs time to go away.
        while waiting := [number for number in self.waiting() if number not in tried]:
            for number in waiting:
                tried.add(number)
                # One body at a time in memory: each may have some MB.
                delivery = self.begin(number)
                if delivery is not None:
                    processed += self._process(delivery, one)
        return processed

    def delete_old(self) -> None:
        """Delete deliveries that were processed, or failed, long ago."""
        with self._database.write() as connection:
            connection.execute(
                delete(Delivery).where(
                    Delivery.received_at < datetime.now(UTC) - _KEPT,
                    Delivery.processed_at.is_not(None) | (Delivery.attempts >= ATTEMPTS),
                )
            )

    def begin(self, number: int) -> Stored | None:
        """Count an attempt, and read the delivery; None if another worker has processed it."""
        is_open = (Delivery.id == number) & Delivery.processed_at.is_(None)
        with self._database.write() as connection:
            connection.execute(
                update(Delivery).where(is_open).values(attempts=Delivery.attempts + 1, error=_ENDED)
            )
            row = connection.execute(
                select(Delivery.id, Delivery.action, Delivery.body).where(is_open)
            ).one_or_none()
        return None if row is None else Stored(*row)

    def _process(self, delivery: Stored, one: Callable[[Stored], None]) -> int:
        changes: dict[str, object] = {"processed_at": datetime.now(UTC), "error": None}
        try:
            one(delivery)
        except Exception as error:
            _log.exception("Delivery %d (%s) could not be processed", delivery.id, delivery.action)
            reason = f"{type(error).__name__}: {error}"
            changes = {"error": reason}
        with self._database.write() as connection:
            connection.execute(update(Delivery).where(Delivery.id == delivery.id).values(**changes))
        return int("processed_at" in changes)


@dataclass(eq=False)
class _Webhook:
    action: str
    project_id: int | None
    received_at: datetime
    body: bytes | None  # None: in the file
    file: Path | None = None
    written: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class WebhookInbox:
    """Stores webhooks. Thread-safe; each process has its own folder inside ``folder``."""

    def __init__(
        self,
        folder: Path,
        deliveries: Deliveries,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        """written: called after each new row."""
        self._root = folder
        self._deliveries = deliveries
        self._written = written
        self._own = folder / uuid.uuid4().hex
        private_folder(folder)
        self._waiting: queue.SimpleQueue[_Webhook | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        # One process starts at a time: a folder not locked yet looks like that of a dead process.
        with exclusive(folder / "starting"):
            private_folder(self._own)
            self._lock = _lock_folder(self._own)
            self._take_over()
        self._writer = threading.Thread(target=self._run, name="webhook inbox", daemon=True)
        self._writer.start()

    def add(self, action: str, project_id: int | None, body: bytes) -> None:
        """Store a webhook's body within a few milliseconds, even if the database is down.

        Raises OSError if neither a row nor a file can be written.
        """
        webhook = _Webhook(action, project_id, datetime.now(UTC), body)
        self._waiting.put(webhook)
        if webhook.written.wait(WAIT_S):
            return
        with webhook.lock:
            if not webhook.written.is_set():
                webhook.file = self._write_file(webhook)
                webhook.body = None

    def close(self) -> None:
        """Write what can be written at once; the rest stays in files for the next start."""
        self._ended.set()
        self._waiting.put(None)
        self._writer.join(timeout=5)
        # Removed while it is locked: a process that starts now would take it over.
        if not _files_in(self._own):
            _remove(self._own)
        self._lock.close()

    # -- inside

    def _run(self) -> None:
        while (webhook := self._waiting.get()) is not None:
            pause = _FIRST_RETRY_S
            while not self._write_row(webhook):
                if self._ended.wait(pause):
                    self._write_files(webhook)
                    return
                pause = min(_LONGEST_RETRY_S, pause * 2)

    def _write_row(self, webhook: _Webhook) -> bool:
        """False: the database cannot be written now."""
        try:
            body = webhook.body
            if body is None:
                assert webhook.file is not None, "a webhook is in memory or in a file"
                body = _read(webhook.file).body
            if body is not None:
                self._deliveries.store(
                    webhook.action, webhook.project_id, body, webhook.received_at
                )
        except DatabaseError as error:
            _log.warning("A webhook waits for the database: %s", error)
            return False
        except _UNREADABLE as error:
            _log.error("The file of a webhook cannot be read, so the webhook is lost: %s", error)
        with webhook.lock:
            webhook.written.set()
            if webhook.file is not None:
                webhook.file.unlink(missing_ok=True)
        self._written()
        return True

    def _write_files(self, webhook: _Webhook | None) -> None:
        while webhook is not None:
            with webhook.lock:
                if webhook.file is None:
                    webhook.file = self._write_file(webhook)
            try:
                webhook = self._waiting.get_nowait()
            except queue.Empty:
                return

    def _write_file(self, webhook: _Webhook) -> Path:
        # Names sort by time.
        name = f"{webhook.received_at.timestamp():.6f}-{uuid.uuid4().hex}{_SUFFIX}"
        content = {
            "action": webhook.action,
            "project_id": webhook.project_id,
            "received_at": webhook.received_at,
            "body": base64.b64encode(webhook.body or b"").decode(),
        }
        atomic_write(self._own / name, orjson.dumps(content), private=True)
        return self._own / name

    def _take_over(self) -> None:
        """Queue the files of processes that ended, oldest first."""
        for folder in sorted(self._root.iterdir()):
            if folder == self._own or not folder.is_dir():
                continue
            try:
                lock = _lock_folder(folder)
            except OSError:  # its process runs, or has just removed it
                continue
            with lock:
                for file in _files_in(folder):
                    moved = file.rename(self._own / file.name)
                    try:
                        self._waiting.put(_read(moved))
                    except _UNREADABLE as error:
                        _log.error("The stored webhook %s cannot be read: %s", moved, error)
                _remove(folder)


def _read(file: Path) -> _Webhook:
    content = orjson.loads(file.read_bytes())
    return _Webhook(
        action=content["action"],
        project_id=content["project_id"],
        received_at=datetime.fromisoformat(content["received_at"]),
        body=base64.b64decode(content["body"]),
        file=file,
    )


def _files_in(folder: Path) -> list[Path]:
    """The stored webhooks, oldest first; none if the folder was removed meanwhile."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)
    except FileNotFoundError:
        return []


def _lock_folder(folder: Path) -> IO[bytes]:
    """Lock the folder for as long as this process runs. Raises OSError if it is locked."""
    handle = (folder / "lock").open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise
    return handle


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for leftover in folder.iterdir():
            os.unlink(leftover)
        folder.rmdir()
