"""The database: transactions, locks, types, and a sentence for each failure."""

import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import StatementError

from backend.db.engine import Database
from backend.db.migrations import check, migrate
from backend.db.models import ProjectRow, TargetRow, TaskRow
from backend.errors import DatabaseError, UnstorableError
from backend.settings import Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path):
    fresh = Database(f"sqlite:///{tmp_path}/data/phraseclick.db")
    migrate(fresh)
    yield fresh
    fresh.close()


def task(number=1):
    return {"project": "1.2", "task_id": number, "updated_at": NOW}


def test_wal_and_foreign_keys_are_on(database):
    with database.read() as connection:
        modes = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in (
            "journal_mode", "synchronous", "foreign_keys",
        )]  # fmt: skip
    assert modes == ["wal", 1, 1]


_READ = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall())"


def test_writes_beside_a_second_database_object_are_seen_by_other_processes(database):
    def read_elsewhere():
        command = [sys.executable, "-c", _READ, database.url.database, "SELECT task_id FROM tasks"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    # given a second object for the same file in this process, which must not drop the locks
    # of the first, and a process that opened and closed the file meanwhile
    second = Database(database.url.render_as_string())
    assert read_elsewhere() == "[]"
    # when the first one writes
    with database.write() as connection:
        connection.execute(insert(TaskRow).values(**task()))
    # then other processes see it: the journal was not deleted under it
    assert read_elsewhere() == "[(1,)]"
    second.close()


def test_a_failing_transaction_leaves_nothing(database):
    def fail():
        with database.write() as connection:
            connection.execute(insert(TaskRow).values(**task()))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as connection:
        assert connection.execute(select(TaskRow.task_id)).all() == []


def test_threads_that_count_lose_no_update(database):
    with database.write() as connection:
        connection.execute(insert(TaskRow).values(**task(), revision=0))

    def count():
        for _ in range(25):
            with database.write() as connection:
                now = connection.execute(select(TaskRow.revision)).scalar_one()
                time.sleep(0.0005)
                connection.execute(text("UPDATE tasks SET revision = :n"), {"n": now + 1})

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(select(TaskRow.revision)).scalar_one() == 150


def test_a_reader_does_not_wait_for_a_writer(database):
    with database.write() as writer:
        writer.execute(insert(TaskRow).values(**task()))
        with database.read() as reader:
            assert reader.execute(select(TaskRow.task_id)).all() == []


def test_a_locked_database_raises_a_sentence(database, monkeypatch):
    impatient = Database(f"{database.url}?timeout=0.1")
    other = sqlite3.connect(str(database.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseError, match="locked"), impatient.write():
        pass
    other.close()


@pytest.mark.parametrize("value", [2**70, "\ud800", pytest.param("\0", marks=pytest.mark.slow)])
def test_what_no_column_can_hold_is_the_fault_of_who_asks(database, value, request):
    if value == "\0":  # which SQLite holds
        database = Database(request.getfixturevalue("spares").take())
    column = TaskRow.task_id if isinstance(value, int) else TaskRow.project

    with pytest.raises(UnstorableError) as refused, database.read() as connection:
        connection.execute(select(TaskRow).where(column == value))

    assert refused.value.status == 422
    database.close()


def test_times_come_back_in_utc_and_need_a_zone(database):
    elsewhere = datetime(2026, 11, 22, 13, tzinfo=timezone(timedelta(hours=1)))
    with database.write() as connection:
        connection.execute(insert(TaskRow).values(**{**task(), "updated_at": elsewhere}))
        assert connection.execute(select(TaskRow.updated_at)).scalar_one() == NOW
    with (
        pytest.raises(StatementError, match="without a zone"),
        database.write() as connection,
    ):
        connection.execute(insert(TaskRow).values(**{**task(2), "updated_at": datetime.now()}))


def test_objects_of_a_session_stay_usable_after_it(database):
    with database.write() as connection:
        connection.execute(
            insert(ProjectRow).values(key="1.2", project_id=1, created_at=NOW, updated_at=NOW)
        )
    with database.session() as session:
        project = session.scalars(select(ProjectRow)).one()
    assert (project.project_id, project.hostname, project.updated_at) == (1, "", NOW)


def test_the_number_of_a_deleted_object_is_not_reused(database):
    values = {
        "project": "1.2", "task_id": 1, "region_id": "r", "image": "image", "brush": "brush",
        "label": "Cat", "state": "open", "sequence": 1, "turn": 1, "clicks": [],
        "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    with database.write() as connection:
        first = connection.execute(insert(TargetRow).values(values)).inserted_primary_key[0]
        connection.execute(text("DELETE FROM targets"))
        second = connection.execute(insert(TargetRow).values(values)).inserted_primary_key[0]
    assert second > first


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("no url", "is not valid"),
        ("mysql://host/name", "Only SQLite and PostgreSQL"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:////proc/nowhere/x.db", "folder cannot be created"),
    ],
)
def test_an_unusable_url_is_refused_with_a_sentence(url, says):
    with pytest.raises(DatabaseError, match=says):
        Database(url)


@pytest.mark.parametrize("url", ["postgres://u@h/n", "postgresql://u@h/n"])
def test_postgresql_uses_the_installed_driver(url):
    assert Database(url).url.drivername == "postgresql+psycopg"


def test_a_database_that_is_down_raises_a_sentence_without_the_password():
    down = Database("postgresql://u:secret@127.0.0.1:1/n?connect_timeout=1")
    with pytest.raises(DatabaseError) as failed, down.read():
        pass
    assert "The database failed" in str(failed.value)
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("folder", ["cats%20and%20dogs", "which?", "50%"])
def test_the_database_is_in_the_data_folder_whatever_that_is_called(tmp_path, folder):
    database = Database(Settings(data=tmp_path / folder).resolved_database_url)
    migrate(database)
    database.close()
    assert (tmp_path / folder / "phraseclick.db").exists()


def test_the_database_is_for_its_owner_alone(tmp_path):
    # given a usual umask, when a database is made and written
    database = Database(f"sqlite:///{tmp_path / 'new' / 'phraseclick.db'}")
    migrate(database)
    with database.write() as connection:
        connection.execute(text("SELECT 1"))
        files = list((tmp_path / "new").glob("phraseclick.db*"))
    # then neither it nor its journal can be read by others, nor its folder
    assert all(file.stat().st_mode & 0o077 == 0 for file in files if file.suffix != ".lock")
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    database.close()


@pytest.mark.parametrize("content", [b"nothing " * 999, b"SQLite format 3\0" + b"\1" * 5000])
def test_a_damaged_database_is_a_sentence(tmp_path, content):
    (tmp_path / "phraseclick.db").write_bytes(content)
    database = Database(f"sqlite:///{tmp_path / 'phraseclick.db'}")
    with pytest.raises(DatabaseError, match=r"database (is damaged|failed)"):
        migrate(database)


def test_a_database_that_is_gone_replaced_or_damaged_is_noticed(tmp_path):
    path = tmp_path / "phraseclick.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    check(database)
    # when a newer version of the backend has changed it
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="another version of this backend"):
        check(database)
    # when it is replaced, for example by an older copy
    path.rename(tmp_path / "moved.db")
    path.write_bytes(b"")
    with pytest.raises(DatabaseError, match="was replaced"):
        check(database)
    # when it is gone
    path.unlink()
    with pytest.raises(DatabaseError, match="is gone"):
        check(database)
    database.close()
