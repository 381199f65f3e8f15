"""Webhooks are stored within milliseconds, whether or not the database answers; none is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from backend.db.engine import Database
from backend.db.models import Delivery
from backend.errors import DatabaseError
from backend.worker import webhook_inbox
from backend.worker.webhook_inbox import ATTEMPTS, Deliveries, WebhookInbox
from tests.backend.programs import until

Opened = Callable[[Any], WebhookInbox]
_add = WebhookInbox.add


@pytest.fixture(autouse=True)
def _as_served(monkeypatch: pytest.MonkeyPatch, _patient_webhooks: None) -> None:
    monkeypatch.setattr(WebhookInbox, "add", _add)
    monkeypatch.setattr(webhook_inbox, "_RETRY_S", 0.2)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
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


def test_a_webhook_becomes_a_row(database: Database, opened: Opened, tmp_path: Path) -> None:
    inbox = opened(Deliveries(database))
    for number in range(20):
        inbox.add("ANNOTATION_CREATED", 6, b"%d" % number)

    until(lambda: len(bodies(database)) == 20)
    assert bodies(database) == [b"%d" % number for number in range(20)]
    until(lambda: files(tmp_path) == [])


@pytest.mark.timed
def test_a_locked_database_delays_no_webhook_and_loses_none(
    database: Database, opened: Opened, tmp_path: Path
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


class Down(Deliveries):
    """The table of a database that is down."""

    def store(self, *_: object) -> None:
        raise DatabaseError("The database failed: no connection.")


def test_webhooks_not_written_before_the_end_are_written_after_the_next_start(
    database: Database, opened: Opened, tmp_path: Path
) -> None:
    # given: a server that ended while the database was down
    first = opened(Down(database))
    for number in range(3):
        first.add("ANNOTATION_CREATED", 6, b"%d\n" % number)
    first.close()
    assert bodies(database) == []
    # when
    opened(Deliveries(database))
    # then
    until(lambda: files(tmp_path) == [])
    assert bodies(database) == [b"0\n", b"1\n", b"2\n"]


def test_processes_that_share_the_folder_write_each_webhook_once(
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
    assert len(bodies(database)) + len(files(tmp_path)) == 80


def test_a_damaged_file_is_set_aside_and_the_others_are_processed(
    database: Database, opened: Opened, tmp_path: Path, caplog: Any
) -> None:
    first = opened(Down(database))
    first.add("ANNOTATION_CREATED", 6, b"whole")
    first.close()
    (tmp_path / "webhooks" / "0.webhook").write_bytes(b"{half")

    opened(Deliveries(database))
    until(lambda: bodies(database) == [b"whole"])
    assert "0.webhook cannot be read" in caplog.text
    assert (tmp_path / "webhooks" / "0.damaged").exists()


def test_a_row_that_the_database_refuses_holds_up_no_other(
    database: Database, opened: Opened
) -> None:
    class Picky(Deliveries):
        def store(self, *webhook: Any) -> None:
            if webhook[0] == "BAD":
                raise DatabaseError("The database failed: invalid text.")
            super().store(*webhook)

    inbox = opened(Picky(database))
    inbox.add("BAD", 6, b"refused")
    inbox.add("ANNOTATION_CREATED", 6, b"fine")

    until(lambda: bodies(database) == [b"fine"])


def test_a_full_disk_loses_no_webhook(
    database: Database, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(webhook_inbox, "atomic_write", full)
    opened(Deliveries(database)).add("ANNOTATION_CREATED", 6, b"kept")

    assert bodies(database) == [b"kept"]


@pytest.mark.slow
def test_kill_9_loses_no_webhook(database: Database, opened: Opened, tmp_path: Path) -> None:
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


# -- the table of deliveries


def test_a_delivery_is_processed_once(database: Database) -> None:
    deliveries = Deliveries(database)
    for number in range(50):
        deliveries.store("ANNOTATION_CREATED", 1, b"%d" % number)
    seen: list[bytes] = []

    first = deliveries.process(lambda delivery: seen.append(delivery.body))
    again = deliveries.process(lambda delivery: seen.append(delivery.body))

    assert (first, again) == (50, 0)
    assert seen == [b"%d" % number for number in range(50)]


def test_a_failing_delivery_is_retried_a_few_times_and_kept(database: Database) -> None:
    deliveries = Deliveries(database)
    deliveries.store("ANNOTATION_CREATED", 1, b"bad")
    deliveries.store("ANNOTATION_CREATED", 1, b"good")
    tried: list[bytes] = []

    def one(delivery: Delivery) -> None:
        tried.append(delivery.body)
        if delivery.body == b"bad":
            raise ValueError("no good")

    for _ in range(ATTEMPTS + 2):
        deliveries.process(one)

    assert tried.count(b"bad") == ATTEMPTS
    assert tried.count(b"good") == 1
    with database.read() as connection:
        error = connection.execute(text("select error from deliveries where body = 'bad'"))
        assert "no good" in str(error.scalar_one_or_none() or "no good")


def test_old_deliveries_are_deleted_unless_they_wait(database: Database) -> None:
    deliveries = Deliveries(database)
    deliveries.store("A", 1, b"settled long ago")
    deliveries.process(lambda stored: None)
    deliveries.store("A", 1, b"still waiting")
    long_ago = datetime.now(UTC) - timedelta(days=30)
    with database.write() as connection:
        connection.execute(
            text("update deliveries set received_at = :then"),
            {"then": long_ago.replace(tzinfo=None).isoformat(sep=" ")},
        )

    deliveries.delete_old()

    (waiting,) = deliveries.waiting()
    delivery = deliveries.begin(waiting)
    assert delivery is not None
    assert delivery.body == b"still waiting"
    with database.read() as connection:
        count = connection.execute(text("select count(*) from deliveries")).scalar_one()
    assert count == 1


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

    def work(delivery: Delivery) -> None:
        seen.append(delivery.body)
        if delivery.body == b"bomb":
            raise _KilledError

    # when the worker is started again each time
    for _ in range(6):
        with suppress(_KilledError):
            deliveries.process(work)
    # then
    assert seen.count(b"bomb") == ATTEMPTS
    assert seen[:2] == [b"bomb", b"label"]
    assert deliveries.waiting() == []
    with database.read() as connection:
        query = text("select error from deliveries where processed_at is null")
        assert "worker ended" in connection.execute(query).scalar_one()
