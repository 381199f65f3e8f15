"""Webhooks are stored within milliseconds, whether or not the database answers; none is lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from backend.db.engine import Database
from backend.errors import DatabaseError
from backend.worker import webhook_inbox
from backend.worker.webhook_inbox import Deliveries, Stored, WebhookInbox


@pytest.fixture(autouse=True)
def _as_served(monkeypatch: pytest.MonkeyPatch, _patient_webhooks: None) -> None:
    monkeypatch.setattr(webhook_inbox, "WAIT_S", 0.025)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[Deliveries], WebhookInbox]]:
    inboxes: list[WebhookInbox] = []

    def opening(deliveries: Any) -> WebhookInbox:
        inboxes.append(WebhookInbox(tmp_path / "webhooks", deliveries))
        return inboxes[-1]

    yield opening
    for inbox in inboxes:
        inbox.close()


def bodies(database: Database) -> list[bytes]:
    with database.read() as connection:
        rows = connection.execute(text("select body from deliveries order by id")).scalars()
        return [bytes(row) for row in rows]


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "webhooks").rglob("*.webhook"))


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Another process locks the database."""
    other = Database(database.url.render_as_string(hide_password=False))
    with other.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE"))
        yield
    other.close()


def test_a_webhook_becomes_a_row(
    database: Database, opened: Callable[[Deliveries], WebhookInbox], tmp_path: Path
) -> None:
    inbox = opened(Deliveries(database))
    for number in range(20):
        inbox.add("ANNOTATION_CREATED", 6, b"%d" % number)

    until(lambda: len(bodies(database)) == 20)
    assert bodies(database) == [b"%d" % number for number in range(20)]
    until(lambda: files(tmp_path) == [])


@pytest.mark.timed
def test_a_locked_database_delays_no_webhook_and_loses_none(
    database: Database, opened: Callable[[Deliveries], WebhookInbox], tmp_path: Path
) -> None:
    # given
    inbox = opened(Deliveries(database))
    with locked(database):
        # when
        started = time.monotonic()
        for number in range(10):
            inbox.add("ANNOTATION_CREATED", 6, b"%d" % number)
        spent = time.monotonic() - started
        # then: none waited for the lock, and each is stored
        assert spent < 5
        assert len(files(tmp_path)) == 10
    until(lambda: len(bodies(database)) == 10)
    assert bodies(database) == [b"%d" % number for number in range(10)]
    until(lambda: files(tmp_path) == [])


class DownAtFirst:
    """A database that is down at first."""

    def __init__(self, deliveries: Deliveries) -> None:
        self.deliveries = deliveries
        self.back = threading.Event()

    def store(self, *what: Any) -> None:
        if not self.back.is_set():
            raise DatabaseError("The database failed: no connection.")
        self.deliveries.store(*what)


def test_webhooks_not_written_before_the_end_are_written_after_the_next_start(
    database: Database, opened: Callable[[Any], WebhookInbox], tmp_path: Path
) -> None:
    # given: a server that ended while the database was down
    first = opened(DownAtFirst(Deliveries(database)))
    for number in range(3):
        first.add("ANNOTATION_CREATED", 6, b"%d" % number)
    first.close()
    assert bodies(database) == []
    # when
    opened(Deliveries(database))
    # then
    until(lambda: len(bodies(database)) == 3)
    assert bodies(database) == [b"0", b"1", b"2"]
    until(lambda: files(tmp_path) == [])


def test_the_files_of_a_running_process_are_left_to_it(
    database: Database, opened: Callable[[Any], WebhookInbox], tmp_path: Path
) -> None:
    away = DownAtFirst(Deliveries(database))
    first = opened(away)
    first.add("ANNOTATION_CREATED", 6, b"mine")

    opened(Deliveries(database))
    time.sleep(0.3)
    assert bodies(database) == []

    away.back.set()
    until(lambda: bodies(database) == [b"mine"])


def test_processes_that_start_at_once_take_over_only_from_dead_ones(
    database: Database, tmp_path: Path
) -> None:
    # given: a lock belongs to an open file, so threads compete for it as processes do
    def start_and_end(_: int) -> None:
        inbox = WebhookInbox(tmp_path / "webhooks", Deliveries(database))
        inbox.add("ANNOTATION_CREATED", 1, b"{}")
        inbox.close()

    # when
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(start_and_end, range(80)))

    # then
    assert len(bodies(database)) + len(files(tmp_path)) >= 80
    leftover = {path.name for path in (tmp_path / "webhooks").iterdir() if path.is_dir()}
    assert leftover == {file.parent.name for file in files(tmp_path)}


def test_a_damaged_file_is_reported_and_the_others_are_processed(
    database: Database, opened: Callable[[Any], WebhookInbox], tmp_path: Path, caplog: Any
) -> None:
    first = opened(DownAtFirst(Deliveries(database)))
    first.add("ANNOTATION_CREATED", 6, b"whole")
    first.close()
    (folder,) = {file.parent for file in files(tmp_path)}
    (folder / "0.webhook").write_bytes(b"{half")

    opened(Deliveries(database))
    until(lambda: bodies(database) == [b"whole"])
    assert "0.webhook cannot be read" in caplog.text


@pytest.mark.slow
def test_kill_9_loses_no_webhook(
    database: Database, opened: Callable[[Any], WebhookInbox], tmp_path: Path
) -> None:
    # given: a process that received three while the database was locked, and was then killed
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from backend.db.engine import Database\n"
        "from backend.worker.webhook_inbox import Deliveries\n"
        "from backend.worker.webhook_inbox import WebhookInbox\n"
        "inbox = WebhookInbox(Path(sys.argv[1]), Deliveries(Database(sys.argv[2])))\n"
        "for number in range(3):\n"
        "    inbox.add('ANNOTATION_CREATED', 6, b'%d' % number)\n"
        "print('stored', flush=True)\n"
        "time.sleep(600)\n"
    )
    url = database.url.render_as_string(hide_password=False)
    folder = str(tmp_path / "webhooks")
    with locked(database):
        process = subprocess.Popen(
            [sys.executable, "-c", script, folder, url], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"stored\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    # when
    opened(Deliveries(database))
    # then
    until(lambda: {b"0", b"1", b"2"} <= set(bodies(database)))


class _KilledError(BaseException):
    """Stands in for the kernel, which ends the worker in the middle of its work."""


def test_a_delivery_that_kills_the_worker_is_set_aside(
    database: Database,
) -> None:
    # given a delivery too large for the worker's memory, and one behind it
    deliveries = Deliveries(database)
    deliveries.store("ANNOTATION_CREATED", 6, b"bomb")
    deliveries.store("ANNOTATION_CREATED", 6, b"label")
    seen: list[bytes] = []

    def work(delivery: Stored) -> None:
        seen.append(delivery.body)
        if delivery.body == b"bomb":
            raise _KilledError

    # when the worker is started again each time
    for _ in range(6):
        with suppress(_KilledError):
            deliveries.process(work)
    # then
    assert seen.count(b"bomb") == webhook_inbox.ATTEMPTS
    assert seen[:2] == [b"bomb", b"label"]
    assert deliveries.waiting() == []
    with database.read() as connection:
        query = text("select error from deliveries where processed_at is null")
        assert "worker ended" in connection.execute(query).scalar_one()
