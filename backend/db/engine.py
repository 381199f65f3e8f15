"""The backend's database: SQLite in the data folder by default, PostgreSQL by URL.

Each decision is one short transaction that takes a lock before it reads, so that threads and
processes decide one after the other: BEGIN IMMEDIATE on SQLite, a locked row on PostgreSQL. To
avoid deadlocks, lock a lease before a job.
"""

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from errno import EACCES
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Select, Table, create_engine, event, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import ColumnElement

from backend.db.models import Base, Job, LeaseRow, SampledProjectRow, Schedule
from backend.errors import DatabaseError
from model.files import exclusive

_Row = TypeVar("_Row", bound=Base)

# A writer holds the lock for a few milliseconds; after ten seconds something is broken.
_BUSY_S = 10
# An arbitrary number that names the advisory lock under which the schema is changed.
_MIGRATION_LOCK = 7_272_384_361

# Before every time that is ever compared with it.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)

MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """One database, shared by threads and processes."""

    def __init__(self, url: str) -> None:
        """url: SQLAlchemy's, ``sqlite:///path`` or ``postgresql://…``. Raises DatabaseError."""
        self.url = _parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        # Threads queue here instead of polling SQLite's lock, which sleeps longer on each retry.
        self._queue = threading.Lock() if self.is_sqlite else None
        self.engine = _engine(self.url, self.is_sqlite)
        self._inode = os.stat(str(self.url.database)).st_ino if self.is_sqlite else 0
        self._writer = self.engine.execution_options(writes=True)
        _reset_after_fork(self)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; it commits at the end and rolls back on an exception."""
        with (
            self._queue or nullcontext(),
            _database_errors(),
            self._writer.connect() as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and never waits for a writer."""
        with _database_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction that only reads and gives objects, which stay usable after it."""
        with self.read() as connection, Session(connection, expire_on_commit=False) as session:
            yield session

    def migrate(self) -> None:
        """Create or upgrade the tables. One process does it while the others wait."""
        config = _alembic()
        with _database_errors(), self._migration_lock(), self.engine.connect() as connection:
            config.attributes["connection"] = connection
            try:
                if MigrationContext.configure(connection).get_current_heads():
                    command.upgrade(config, "head")
                else:
                    Base.metadata.create_all(connection)
                    command.stamp(config, "head")
            except (CommandError, ResolutionError) as error:
                raise DatabaseError(
                    "The database was made by a newer version of this backend. Install that "
                    f"version, or give this one a database of its own ({error})."
                ) from error
            connection.commit()

    def check(self) -> None:
        """Raise DatabaseError if the database does not answer, is damaged, was replaced, or is that
        of another version of this backend."""
        if self.is_sqlite:
            try:
                here = os.stat(str(self.url.database)).st_ino
            except OSError as error:
                raise DatabaseError(
                    f"The database {self.url.database} is gone ({error.strerror}). Stop the "
                    "backend, restore the file from a backup, and start it again."
                ) from error
            if here != self._inode:
                raise DatabaseError(
                    f"The database {self.url.database} was replaced while the backend runs. "
                    "Start the backend again."
                )
        with self.read() as connection:
            query = text("SELECT version_num FROM alembic_version")
            revision = connection.execute(query).scalar_one()
        if revision != _revision():
            raise DatabaseError(
                f"The database is that of another version of this backend ({revision} instead of "
                f"{_revision()}). Start the backend again, or install the version that made it."
            )

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _migration_lock(self) -> Iterator[None]:
        if self.is_sqlite:
            with exclusive(Path(f"{self.url.database}.lock")):
                yield
            return
        with self.engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": _MIGRATION_LOCK})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": _MIGRATION_LOCK})


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@cache
def _revision() -> str | None:
    """The revision of the tables that this version works with."""
    return ScriptDirectory.from_config(_alembic()).get_current_head()


def _parse_url(raw: str) -> URL:
    try:
        url = make_url(raw)
    except ArgumentError:
        raise DatabaseError(
            "The database URL is not valid. Use sqlite:////folder/file.db or "
            "postgresql://user:password@host/name."
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseError("Only SQLite and PostgreSQL are supported as the database.")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise DatabaseError(
            "SQLite needs a file: a database in memory cannot be shared by processes."
        )
    return url


def _engine(url: URL, is_sqlite: bool) -> Engine:
    try:
        if not is_sqlite:
            # Connections break when the server restarts; a ping costs less than a failed click.
            return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=30)
        path = Path(str(url.database)).resolve()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseError(f"The database's folder cannot be created: {error}.") from error
        try:
            _create_private(path)
        except OSError as error:
            raise DatabaseError(
                f"The database {path} cannot be opened: {error.strerror}."
            ) from error
        engine = create_engine(
            url, connect_args={"timeout": _BUSY_S}, pool_size=10, max_overflow=30
        )
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise DatabaseError(
            f"The database's driver is not installed ({error}). "
            "For PostgreSQL: pip install 'psycopg[binary]'."
        ) from error
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _create_private(path: Path) -> None:
    """Create the file for its owner alone; SQLite gives its journals the same permissions.

    A file that exists is never opened here: closing it would drop the locks that SQLite holds on
    it in this process, and another process would delete the journal that is being written.
    """
    if path.exists():
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
        return
    with suppress(FileExistsError):  # by another process, since
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    # The driver's own transactions would begin too late, without a lock.
    connection.isolation_level = None
    # WAL lets readers pass a writer. With it, NORMAL survives kill -9; only a power cut loses data.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _database_errors() -> Iterator[None]:
    """Turn a driver's error into a DatabaseError with a sentence."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        lines = str(cause).strip().splitlines()
        said = lines[0] if lines else type(cause).__name__
        if "malformed" in said or "not a database" in said:
            raise DatabaseError(
                f"The database is damaged: {said}. Stop the backend, restore the file from a "
                "backup, and start it again."
            ) from error
        raise DatabaseError(
            f"The database failed: {said}. "
            "Try again. If it keeps failing, ask the admin to run phraseclick doctor."
        ) from error


def _reset_after_fork(database: Database) -> None:
    """A child process must not use its parent's connections, nor wait for its parent's lock."""
    reference = weakref.ref(database)

    def in_child() -> None:
        copied = reference()
        if copied is not None:
            copied.engine.dispose(close=False)
            if copied._queue is not None:
                copied._queue = threading.Lock()

    os.register_at_fork(after_in_child=in_child)


def records(connection: Connection, query: Select[_Row]) -> list[_Row]:
    """The objects that a SELECT of one mapped class gives; they stay usable afterwards."""
    with Session(connection, expire_on_commit=False) as session:
        return list(session.scalars(query))


def insert_of(connection: Connection, table: type[Base] | Table) -> Any:
    """An INSERT of the connection's dialect, which supports ON CONFLICT clauses."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def upsert(
    connection: Connection,
    table: type[Base],
    key: Mapping[str, Any],
    values: Mapping[str, Any],
    new: Mapping[str, Any] | None = None,
) -> None:
    """Write values to the row with this primary key. new: more values, if the row is a new one."""
    row = insert_of(connection, table).values(**key, **(new or {}), **values)
    connection.execute(row.on_conflict_do_update(index_elements=list(key), set_=dict(values)))


# -- locks on rows; each lasts until the transaction ends


def lease_name(kind: str, project: str) -> str:
    """The lease that all jobs of a kind of one project share: one of them runs at a time."""
    return f"{kind}:{project}"


def lock_lease(connection: Connection, name: str) -> LeaseRow:
    """Lock a lease's row, creating it if needed, and return it."""
    return _lock_or_create(connection, LeaseRow, LeaseRow.name == name, {"name": name})


def lock_job(connection: Connection, number: int) -> Job | None:
    jobs = records(connection, select(Job).where(Job.id == number).with_for_update())
    return jobs[0] if jobs else None


def lock_samples(connection: Connection, key: str) -> SampledProjectRow:
    """Lock a project's samples by its row, creating that if needed, and return the row."""
    here = SampledProjectRow.key == key
    return _lock_or_create(connection, SampledProjectRow, here, {"key": key})


def lock_schedule(connection: Connection, project: str) -> Schedule:
    """Lock a project's schedule, creating it if needed, and return it."""
    here = Schedule.project == project
    return _lock_or_create(connection, Schedule, here, {"project": project})


def _lock_or_create(
    connection: Connection, model: type[_Row], here: ColumnElement[bool], new: Mapping[str, Any]
) -> _Row:
    query = select(model).where(here).with_for_update()
    rows = records(connection, query)
    if not rows:
        connection.execute(insert_of(connection, model).values(**new).on_conflict_do_nothing())
        rows = records(connection, query)
    return rows[0]
