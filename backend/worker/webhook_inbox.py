"""The webhook inbox: a webhook becomes a file at once, then a row that a worker processes.

Label Studio waits one second and sends each webhook once. But a row may have to wait, for another
process that writes or a database that restarts. So a request only writes a file, which survives
kill -9 and a power cut, and a thread turns files into rows. Processes share one folder: what one of
them left when it ended, another one writes. A file may then become two rows, which is harmless:
processing is idempotent.
"""

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from sqlalchemy import delete, func, insert, select, update

from backend.db.engine import Database, records
from backend.db.models import Delivery
from model.files import atomic_write, exclusive, private_folder

_log = logging.getLogger(__name__)

_SUFFIX = ".webhook"
# Between two attempts while the database is down; also finds the files of a process that ended.
_RETRY_S = 5.0

# Attempts to process a delivery.
ATTEMPTS = 3
# Long enough to look into a failure after a long weekend.
_KEPT = timedelta(days=14)
_BATCH = 20
# What remains of an attempt that killed the worker: a body too large for its memory, for example.
_ENDED = "The worker ended while it processed this delivery."


@dataclass(frozen=True)
class OpenDeliveries:
    """Deliveries that wait, and those that failed too often."""

    waiting: int
    oldest: datetime | None
    failed: int


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
        return self._database.records(query)

    def open(self) -> OpenDeliveries:
        """How many are not processed."""
        waits = Delivery.attempts < ATTEMPTS
        query = select(
            func.count().filter(waits),
            func.min(Delivery.received_at).filter(waits),
            func.count().filter(~waits),
        ).where(Delivery.processed_at.is_(None))
        with self._database.read() as connection:
            return OpenDeliveries(*connection.execute(query).one())

    def process(self, one: Callable[[Delivery], None]) -> int:
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

    def begin(self, number: int) -> Delivery | None:
        """Count an attempt, and read the delivery; None if another worker has processed it."""
        is_open = (Delivery.id == number) & Delivery.processed_at.is_(None)
        with self._database.write() as connection:
            connection.execute(
                update(Delivery).where(is_open).values(attempts=Delivery.attempts + 1, error=_ENDED)
            )
            return next(iter(records(connection, select(Delivery).where(is_open))), None)

    def _process(self, delivery: Delivery, one: Callable[[Delivery], None]) -> int:
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


class WebhookInbox:
    """Stores webhooks. Thread-safe; processes share the folder."""

    def __init__(
        self,
        folder: Path,
        deliveries: Deliveries,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        """written: called after each new row."""
        self._folder = private_folder(folder)
        self._deliveries = deliveries
        self._written = written
        self._ended = False
        self._wake = threading.Event()
        self._wake.set()  # earlier processes may have left files
        self._writer = threading.Thread(target=self._run, name="webhook inbox", daemon=True)
        self._writer.start()

    def add(self, action: str, project_id: int | None, body: bytes) -> None:
        """Store a webhook's body within a few milliseconds, even if the database is down.

        Raises DatabaseError if neither a file nor a row can be written.
        """
        now = datetime.now(UTC)
        header = {"action": action, "project_id": project_id, "received_at": now}
        # Names sort by time.
        name = f"{now.timestamp():.6f}-{uuid.uuid4().hex}{_SUFFIX}"
        try:
            content = orjson.dumps(header) + b"\n" + body
            atomic_write(self._folder / name, content, private=True)
        except OSError as error:  # such as a full disk; the database may be on another one
            _log.error("A webhook could not be written to a file: %s", error)
            self._deliveries.store(action, project_id, body, now)
            self._written()
        else:
            self._wake.set()

    def close(self) -> None:
        """Write what can be written at once; the rest stays in files for the next start."""
        self._ended = True
        self._wake.set()
        self._writer.join(timeout=5)

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(_RETRY_S)
            self._wake.clear()
            try:
                # One process at a time, so that no file becomes a row twice without need.
                with exclusive(self._folder / "lock"):
                    self._write_rows()
            except OSError as error:
                _log.error("The folder of webhooks cannot be used: %s", error)

    def _write_rows(self) -> None:
        failed: list[Exception] = []
        for file in sorted(self._folder.glob(f"*{_SUFFIX}")):
            try:
                self._write_row(file)
            except Exception as error:  # the row itself may be the cause: go on with the next one
                failed.append(error)
        if failed:
            _log.warning("%d webhooks wait for the database: %s", len(failed), failed[-1])

    def _write_row(self, file: Path) -> None:
        try:
            header, _, body = file.read_bytes().partition(b"\n")
            read = orjson.loads(header)
            received_at = datetime.fromisoformat(read["received_at"])
            action, project_id = read["action"], read["project_id"]
        except (ValueError, KeyError, TypeError) as error:
            _log.error("The stored webhook %s cannot be read: %s", file, error)
            file.rename(file.with_suffix(".damaged"))
            return
        self._deliveries.store(action, project_id, body, received_at)
        file.unlink()
        self._written()
