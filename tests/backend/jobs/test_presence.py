"""The status of processes and the recent errors, for the health page."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import inspect, update

from backend.db.engine import Database
from backend.db.models import Process
from backend.jobs import presence
from backend.jobs.presence import Presence, note_error, processes, recent_errors
from tests.backend.programs import until


def test_a_process_is_listed_until_it_closes(database: Database) -> None:
    jobs: list[int] = []
    worker = Presence(database, "worker", lambda: {"jobs": list(jobs)}, every_s=0.02).start()
    server = Presence(database, "server", every_s=0.02).start()
    until(lambda: len(processes(database)) == 2)
    jobs.append(7)
    until(lambda: processes(database)[1].about["jobs"] == [7])

    assert [process.kind for process in processes(database)] == ["server", "worker"]
    assert all(process.is_running() for process in processes(database))
    assert processes(database)[0].about["version"]
    worker.close()
    assert [process.kind for process in processes(database)] == ["server"]
    server.close()


def test_a_silent_process_is_not_alive_and_is_removed_after_a_day(database: Database) -> None:
    Presence(database, "server", every_s=1000)._update()
    now = datetime.now(UTC)
    (server,) = processes(database)
    assert server.is_running(now)
    assert not server.is_running(now + timedelta(minutes=1))

    with database.write() as connection:
        connection.execute(update(Process).values(seen_at=now - timedelta(days=2)))
    Presence(database, "worker", every_s=1000)._update()
    assert [process.kind for process in processes(database)] == ["worker"]


def test_the_first_process_creates_the_tables(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'fresh.db'}")
    scheduler = Presence(database, "scheduler", every_s=0.02).start()
    until(lambda: inspect(database.engine).has_table("processes"))
    until(lambda: len(processes(database)) == 1)
    scheduler.close()


def test_the_newest_errors_are_kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "ERRORS_KEPT", 3)
    for number in range(10):
        note_error(database, "worker", f"Failure {number}.")

    errors = recent_errors(database)
    assert [error.sentence for error in errors] == ["Failure 9.", "Failure 8.", "Failure 7."]
    assert recent_errors(database, limit=1) == errors[:1]


def test_storing_an_error_never_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    without_tables = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    note_error(without_tables, "worker", "The disk is full.")
    assert "The disk is full. (not stored" in caplog.text
