"""Processes that say that they live, and failures that are kept for an admin."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from backend.db.engine import Database
from backend.jobs import recent_errors
from backend.jobs.presence import Presence, _processes, processes


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_speaks_until_it_says_good_bye(database: Database) -> None:
    jobs: list[int] = []
    worker = Presence(database, "worker", lambda: {"jobs": list(jobs)}, every_s=0.02).start()
    server = Presence(database, "server", every_s=0.02).start()
    until(lambda: len(processes(database)) == 2)
    jobs.append(7)
    until(lambda: processes(database)[1].about["jobs"] == [7])

    assert [it.kind for it in processes(database)] == ["server", "worker"]
    assert all(it.lives() for it in processes(database))
    assert processes(database)[0].about["version"]
    worker.close()
    assert [it.kind for it in processes(database)] == ["server"]
    server.close()


def test_what_is_silent_lives_no_more_and_is_forgotten_in_the_end(database: Database) -> None:
    Presence(database, "server", every_s=1000)._speak()
    now = datetime.now(UTC)
    (found,) = processes(database)
    assert found.lives(now)
    assert not found.lives(now + timedelta(minutes=1))

    with database.write() as connection:
        connection.execute(update(_processes).values(seen_at=now - timedelta(days=2)))
    Presence(database, "worker", every_s=1000)._speak()
    assert [it.kind for it in processes(database)] == ["worker"]


def test_the_first_to_speak_makes_the_tables(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'fresh.db'}")
    scheduler = Presence(database, "scheduler", every_s=0.02, migrate=True).start()
    database.migrate()
    until(lambda: len(processes(database)) == 1)
    scheduler.close()


def test_the_newest_failures_are_kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_errors, "KEPT", 3)
    for number in range(10):
        recent_errors.note(database, "worker", f"Failure {number}.")

    found = recent_errors.recent(database)
    assert [it.sentence for it in found] == ["Failure 9.", "Failure 8.", "Failure 7."]
    assert recent_errors.recent(database, limit=1) == found[:1]


def test_noting_a_failure_never_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    without_tables = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    recent_errors.note(without_tables, "worker", "The disk is full.")
    assert "The disk is full. (could not be kept" in caplog.text
