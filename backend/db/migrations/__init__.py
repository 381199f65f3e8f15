"""Creates and upgrades the tables, at every start, and checks that they fit this version."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import text

from backend.db.engine import Database, database_errors
from backend.db.models import Base
from backend.errors import DatabaseError
from backend.settings import Settings
from model.files import exclusive

MIGRATIONS = Path(__file__).parent
# An arbitrary number that names the advisory lock under which the schema is changed.
_LOCK = 7_272_384_361


def open_database(settings: Settings) -> Database:
    """The database of the settings, with its tables up to date; close it when done."""
    database = Database(settings.resolved_database_url)
    migrate(database)
    return database


def migrate(database: Database) -> None:
    """Create or upgrade the tables. One process does it while the others wait."""
    config = _alembic()
    with database_errors(), _lock(database), database.engine.connect() as connection:
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


def check(database: Database) -> None:
    """Raise DatabaseError if the database does not answer, is damaged, was replaced, or is that of
    another version of this backend."""
    if database.is_sqlite:
        try:
            here = os.stat(str(database.url.database)).st_ino
        except OSError as error:
            raise DatabaseError(
                f"The database {database.url.database} is gone ({error.strerror}). Stop the "
                "backend, restore the file from a backup, and start it again."
            ) from error
        if here != database.inode:
            raise DatabaseError(
                f"The database {database.url.database} was replaced while the backend runs. "
                "Start the backend again."
            )
    with database.read() as connection:
        query = text("SELECT version_num FROM alembic_version")
        revision = connection.execute(query).scalar_one()
    if revision != _revision():
        raise DatabaseError(
            f"The database is that of another version of this backend ({revision} instead of "
            f"{_revision()}). Start the backend again, or install the version that made it."
        )


@contextmanager
def _lock(database: Database) -> Iterator[None]:
    if database.is_sqlite:
        with exclusive(Path(f"{database.url.database}.lock")):
            yield
        return
    with database.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": _LOCK})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": _LOCK})


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@cache
def _revision() -> str | None:
    """The revision of the tables that this version works with."""
    return ScriptDirectory.from_config(_alembic()).get_current_head()
