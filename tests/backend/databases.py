"""Databases for tests: SQLite and, in slow tests, PostgreSQL."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.db.models import EventRow
from backend.settings import Settings
from backend.worker.child_process import Child, free_port

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with all tables; tests copy it, which is faster than creating one."""
    path = tmp_path_factory.mktemp("migrated") / "empty.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


def copy_tables(migrated: Path, settings: Settings) -> None:
    """Give the settings' SQLite database its tables, if it does not exist yet."""
    path = Path(settings.resolved_database_url.removeprefix("sqlite:///"))
    if not settings.database_url and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(migrated, path)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL, without a database, of a PostgreSQL on a free port.

    Its database ``template`` has all tables.
    """
    tools = _postgres_tools()
    # Not pytest's folder, which only its owner may enter: PostgreSQL refuses to run as root.
    home = Path(tempfile.mkdtemp(prefix="phraseclick-postgres-"))
    user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    data, port = home / "data", free_port()
    make = [*user, str(tools / "initdb"), "-D", str(data), "-U", "tests", "-A", "trust", "-N"]
    subprocess.run(make, check=True, capture_output=True, cwd=home)
    serve = [*user, str(tools / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port)]
    quick = ["-k", str(home), "-c", "fsync=off", "-c", "full_page_writes=off"]
    log = tmp_path_factory.mktemp("postgres") / "log"
    url = f"postgresql://tests@127.0.0.1:{port}"
    try:
        with Child("PostgreSQL", [*serve, *quick], log=log, environment=os.environ) as child:
            child.wait_until(
                lambda: _answers(url), seconds=120, progress=lambda _: None, doing="starting"
            )
            _run_sql(url, 'CREATE DATABASE "template"')
            template = Database(f"{url}/template")
            migrate(template)
            template.close()
            yield url
            # SIGTERM would wait for open connections.
            os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGINT)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _postgres_tools() -> Path:
    """The folder of initdb and postgres, which Debian does not put on the PATH."""
    for attempt in ("look", "install"):
        on_path = shutil.which("initdb")
        programs = (
            [Path(on_path)] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        )
        if programs:
            return programs[-1].parent
        if attempt == "look" and os.geteuid() == 0 and shutil.which("apt-get"):
            quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["apt-get", "update", "-q"], env=quiet, check=False)
            subprocess.run(["apt-get", "install", "-qy", "postgresql"], env=quiet, check=False)
    pytest.fail("PostgreSQL is not installed; on Debian: apt-get install postgresql")


def _run_sql(url: str, sql: str) -> None:
    with psycopg.connect(f"{url}/postgres", autocommit=True, connect_timeout=5) as connection:
        connection.execute(sql)  # type: ignore[call-overload]


def _answers(url: str) -> bool:
    try:
        _run_sql(url, "SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


class DatabasePool:
    """Empty databases of a PostgreSQL. Emptying one is much faster than creating one."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._empty: list[str] = []

    def take(self) -> str:
        """The URL of an empty database."""
        if not self._empty:
            name = f"test{next(_numbers)}"
            _run_sql(self._server, f'CREATE DATABASE "{name}" TEMPLATE "template"')
            self._empty.append(f"{self._server}/{name}")
        return self._empty.pop()

    def give_back(self, url: str) -> None:
        """Empty it for another test, unless it has other connections."""
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            others = connection.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchone()
            if others != (0,):
                return
            tables = connection.execute(
                "SELECT tablename FROM pg_tables"
                " WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            ).fetchall()
            counters = connection.execute("SELECT sequencename FROM pg_sequences").fetchall()
            empty = [
                "SET session_replication_role = replica",  # ignores foreign keys
                *(f'DELETE FROM "{name}"' for (name,) in tables),
                *(f'ALTER SEQUENCE "{name}" RESTART' for (name,) in counters),
            ]
            connection.execute("; ".join(empty))  # type: ignore[call-overload]
        self._empty.append(url)


@pytest.fixture(scope="session")
def spares(postgres: str) -> DatabasePool:
    """Empty databases of the tests' PostgreSQL."""
    return DatabasePool(postgres)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh database: a test that asks for it runs on both kinds."""
    if request.param == "sqlite":
        migrated = request.getfixturevalue("migrated")
        fresh = Database(f"sqlite:///{shutil.copy(migrated, tmp_path / 'memory.db')}")
        yield fresh
        fresh.close()
        return
    spares = request.getfixturevalue("spares")
    url = spares.take()
    fresh = Database(url)
    yield fresh
    fresh.close()
    spares.give_back(url)


def kinds(database: Database) -> list[str]:
    """The kinds of all logged events, oldest first."""
    with database.read() as connection:
        return list(connection.execute(select(EventRow.kind).order_by(EventRow.id)).scalars())
