"""The backend's database: SQLite in the data folder by default, PostgreSQL by URL.

Each decision is one short transaction that takes a lock before it reads, so that threads and
processes decide one after the other: BEGIN IMMEDIATE on SQLite, a locked row on PostgreSQL. To
avoid deadlocks, lock a lease before a job.

Here is also what all tables share: the base class, its naming of constraints, and the column types.
In a mapped class ``Mapped[str]`` is text of any length and ``Mapped[datetime]`` an aware UTC time.
"""

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from errno import EACCES
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Double,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    Text,
    create_engine,
    event,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeDecorator

from backend.errors import DatabaseError, UnstorableError

# A writer holds the lock for a few milliseconds; after ten seconds something is broken.
_BUSY_S = 10

# Before every time that is ever compared with it.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)

# SQLite numbers rows only in a column that is exactly INTEGER.
AutoId = Annotated[
    int, mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
]
# Ids of Label Studio and of rows, and counts of pixels.
BigInt = Annotated[int, mapped_column(BigInteger)]
# A project's key: "6.1795384361".
ProjectKey = Annotated[str, mapped_column(String(40))]
ProjectId = Annotated[str, mapped_column(String(40), primary_key=True)]
# With a project's key, the primary key of rows about a task, an annotation.
LabelStudioId = Annotated[int, mapped_column(BigInteger, primary_key=True)]

Str16 = Annotated[str, mapped_column(String(16))]
Str32 = Annotated[str, mapped_column(String(32))]
Str64 = Annotated[str, mapped_column(String(64))]
Str128 = Annotated[str, mapped_column(String(128))]
# A user or a process, by name.
Str254 = Annotated[str, mapped_column(String(254))]

# None is SQL's NULL, not JSON's null.
OptionalList = Annotated[list[Any] | None, mapped_column(JSON(none_as_null=True))]
OptionalJson = Annotated[dict[str, Any] | None, mapped_column(JSON(none_as_null=True))]


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite stores no zone: it is dropped on the way in, added on the way out.

    Raises ValueError for a time without a zone.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can find it on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        float: Double(),
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        bytes: LargeBinary(),
    }


_Row = TypeVar("_Row", bound=Base)
_T = TypeVar("_T")


class Database:
    """One database, shared by threads and processes."""

    def __init__(self, url: str) -> None:
        """url: SQLAlchemy's, ``sqlite:///path`` or ``postgresql://…``. Raises DatabaseError."""
        self.url = _parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        # Threads queue here instead of polling SQLite's lock, which sleeps longer on each retry.
        self._queue = threading.Lock() if self.is_sqlite else None
        self.engine = _engine(self.url, self.is_sqlite)
        self.inode = os.stat(str(self.url.database)).st_ino if self.is_sqlite else 0
        self._writer = self.engine.execution_options(writes=True)
        _reset_after_fork(self)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; it commits at the end and rolls back on an exception."""
        with (
            self._queue or nullcontext(),
            database_errors(),
            self._writer.connect() as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and never waits for a writer."""
        with database_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction that only reads and gives objects, which stay usable after it."""
        with self.read() as connection, Session(connection, expire_on_commit=False) as session:
            yield session

    def records(self, query: Select[_T]) -> list[_T]:
        """As ``records``, in a transaction of its own."""
        with self.read() as connection:
            return records(connection, query)

    def close(self) -> None:
        self.engine.dispose()


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
def database_errors() -> Iterator[None]:
    """Turn a driver's error into a DatabaseError with a sentence."""
    try:
        yield
    except (DataError, OverflowError, UnicodeEncodeError) as error:
        raise UnstorableError(
            "A number or text of this request is too large for the database, or has characters "
            "that it cannot hold."
        ) from error
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


def records(connection: Connection, query: Select[_T]) -> list[_T]:
    """What a SELECT of one mapped class or column gives. Objects stay usable afterwards."""
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


def lock_row(
    connection: Connection, model: type[_Row], here: ColumnElement[bool], new: Mapping[str, Any]
) -> _Row:
    """Lock a row until the transaction ends, creating it if needed, and return it."""
    query = select(model).where(here).with_for_update()
    rows = records(connection, query)
    if not rows:
        connection.execute(insert_of(connection, model).values(**new).on_conflict_do_nothing())
        rows = records(connection, query)
    return rows[0]
