"""The backend's database: SQLite in the data folder by default, PostgreSQL by URL.

Every decision is one short transaction that holds a lock before it reads, so that threads and
processes decide one after the other: BEGIN IMMEDIATE on SQLite, a locked row on PostgreSQL.
"""

import fcntl
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from backend.errors import DatabaseError

# A writer holds the lock for some milliseconds; who waits ten seconds waits for something broken.
_BUSY_S = 10
# Any number, the same in every process: the name of the lock under which the schema is changed.
_MIGRATION_LOCK = 7_272_384_361

_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """One database, shared by threads and processes."""

    def __init__(self, url: str) -> None:
        """``url`` is SQLAlchemy's; ``sqlite:///path`` or ``postgresql://…``."""
        self.url = _readable(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        # Threads queue here instead of polling SQLite's lock, which sleeps longer at each try.
        self._queue = threading.Lock() if self.is_sqlite else None
        self.engine = _engine(self.url, self.is_sqlite)
        self._writer = self.engine.execution_options(writes=True)
        _forget_connections_after_fork(self)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; commits at the end, rolls back on an exception."""
        with (
            self._queue or nullcontext(),
            _sentences(),
            self._writer.connect() as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, never waiting for a writer."""
        with _sentences(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A writing transaction for whoever likes objects better than rows."""
        with self.write() as connection, Session(connection, expire_on_commit=False) as session:
            yield session
            session.flush()

    def migrate(self) -> None:
        """Bring the schema up to date; one process does it, the others wait."""
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with _sentences(), self._migration_lock(), self.engine.connect() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except (CommandError, ResolutionError) as error:
                raise DatabaseError(
                    "The database was made by a newer version of this backend. Install that "
                    f"version, or give this one a database of its own ({error})."
                ) from error
            connection.commit()

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()

    @contextmanager
    def _migration_lock(self) -> Iterator[None]:
        if self.is_sqlite:
            path = Path(f"{self.url.database}.lock")
            with path.open("w") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            return
        with self.engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": _MIGRATION_LOCK})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": _MIGRATION_LOCK})


def _readable(raw: str) -> URL:
    try:
        url = make_url(raw)
    except ArgumentError:
        raise DatabaseError(
            "The database URL cannot be read. Write sqlite:////folder/file.db or "
            "postgresql://user:password@host/name."
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseError("Only SQLite and PostgreSQL are supported as the database.")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise DatabaseError("SQLite needs a file: processes could not share what is in memory.")
    return url


def _engine(url: URL, is_sqlite: bool) -> Engine:
    try:
        if not is_sqlite:
            # Connections die when the server restarts; the ping costs less than a failed click.
            return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=30)
        try:
            Path(str(url.database)).resolve().parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseError(f"The database's folder cannot be made: {error}.") from error
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


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    # The driver's own notion of transactions would begin too late and too weakly.
    connection.isolation_level = None
    # WAL lets readers pass a writer; with it NORMAL survives kill -9 and loses only on power cut.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn what goes wrong below into an error with a sentence."""
    try:
        yield
    except DBAPIError as error:
        cause = str(error.orig).strip().splitlines()
        raise DatabaseError(
            f"The database failed: {cause[0] if cause else type(error.orig).__name__}. "
            "Try again; if it stays, ask the admin to run phraseclick doctor."
        ) from error


def _forget_connections_after_fork(database: Database) -> None:
    """A child must not speak on its parent's connections, nor wait for a lock no one will open."""
    known = weakref.ref(database)

    def in_child() -> None:
        here = known()
        if here is not None:
            here.engine.dispose(close=False)
            if here._queue is not None:
                here._queue = threading.Lock()

    os.register_at_fork(after_in_child=in_child)


def insert_of(connection: Connection, table: Table) -> Any:
    """An INSERT that can be told what to do where the row is there already."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)
