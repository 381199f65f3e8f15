"""Databases for tests: SQLite and, in slow tests, PostgreSQL."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.db.models import EventRow
from backend.label_studio.payloads import Project, SetupRequest
from backend.label_studio.projects import Projects
from backend.settings import Settings
from backend.worker.child_process import free_port
from tests.backend.programs import until

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with all tables; tests copy it, which is faster than creating one."""
    path = tmp_path_factory.mktemp("migrated") / "empty.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


def connect(database: Database, key: str, hostname: str = "http://x") -> None:
    """Register a project like ``/setup``, without any interaction."""
    setup = SetupRequest(Project.read(key), "<View/>", hostname, "")
    Projects(database).remember(setup)


def copy_tables(migrated: Path, settings: Settings) -> None:
    """Give the settings' SQLite database its tables, if it does not exist yet."""
    path = Path(settings.resolved_database_url.removeprefix("sqlite:///"))
    if not settings.database_url and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(migrated, path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL, without a database, of a PostgreSQL on a free port.

    Its database ``template`` has all tables.
    """
    with postgres_server() as server:
        server.sql('CREATE DATABASE "template"')
        template = Database(f"{server.address}/template")
        migrate(template)
        template.close()
        yield server.address


# A process that waits for this lock is where the test wants it.
_GATE = 4_711


class Postgres:
    """One server with one database, at the same port after each start."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
            self._user = ["runuser", "-u", "postgres", "--"]
        self._tools = _postgres_tools()
        self._port = free_port()
        self.address = f"postgresql://tests@127.0.0.1:{self._port}"
        self.url = f"{self.address}/postgres"
        make = ["initdb", "-D", str(home / "data"), "-U", "tests", "-A", "trust", "-N"]
        self._run(*make).wait()
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quick = ["-k", str(self._home), "-c", "fsync=off", "-c", "full_page_writes=off"]
        where = ["-D", str(self._home / "data"), "-h", "127.0.0.1", "-p", str(self._port)]
        self._server = self._run("postgres", *where, *quick)
        until(self._answers, self._home / "log", 120)

    def stop(self) -> None:
        """Stop at once, without waiting for transactions; what was committed is kept."""
        number = int((self._home / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(number, signal.SIGQUIT)
        assert self._server is not None
        self._server.wait(60)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def held_up(self, when: str) -> Iterator[Callable[[], bool]]:
        """Block every process at ``when`` (a trigger's: "BEFORE INSERT ON promotions ..."), in the
        middle of its transaction. Yields a function that says whether one is blocked. In the end
        their connections are closed, as the server does when it notices that a client died."""
        self.sql(
            "CREATE OR REPLACE FUNCTION held_up() RETURNS trigger AS $$ BEGIN "
            f"PERFORM pg_advisory_xact_lock({_GATE}); RETURN NEW; END $$ LANGUAGE plpgsql"
        )
        event, _, condition = when.partition(" WHEN ")
        condition = f"WHEN ({condition})" if condition else ""
        self.sql(
            f"CREATE TRIGGER held_up {event} FOR EACH ROW {condition} EXECUTE FUNCTION held_up()"
        )
        waiting = f"locktype = 'advisory' AND objid = {_GATE} AND NOT granted"
        with psycopg.connect(self.url, autocommit=True) as holder:
            holder.execute(f"SELECT pg_advisory_lock({_GATE})")
            try:
                yield lambda: bool(self.sql(f"SELECT 1 FROM pg_locks WHERE {waiting}"))
            finally:
                self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {waiting}")
        table = event.partition(" ON ")[2]
        self.sql(f"DROP TRIGGER held_up ON {table}")

    def _answers(self) -> bool:
        try:
            return bool(self.sql("SELECT 1"))
        except psycopg.OperationalError:
            return False

    def _run(self, tool: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._home / "log").open("ab") as log:
            return subprocess.Popen(
                [*self._user, str(self._tools / tool), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._home,
            )


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    # Not pytest's folder, which only its owner may enter: PostgreSQL refuses to run as root.
    home = Path(tempfile.mkdtemp(prefix="phraseclick-postgres-"))
    server = Postgres(home)
    try:
        server.start()
        yield server
    finally:
        server.stop()
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


def new_database(server: str, name: str) -> str:
    """The URL of a new database with all tables."""
    with psycopg.connect(f"{server}/postgres", autocommit=True, connect_timeout=5) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "template"')  # type: ignore[call-overload]
    return f"{server}/{name}"


class DatabasePool:
    """Empty databases of a PostgreSQL. Emptying one is much faster than creating one."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._empty: list[str] = []

    def take(self) -> str:
        """The URL of an empty database."""
        if not self._empty:
            self._empty.append(new_database(self._server, f"test{next(_numbers)}"))
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
