"""The schema of a new database, on SQLite and PostgreSQL."""

import shutil

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select, text

from backend.db.engine import Database
from backend.db.migrations import MIGRATIONS, migrate
from backend.db.models import Base, LeaseRow
from backend.errors import DatabaseError


def test_the_migrated_schema_is_that_of_the_models(database):
    # given a migrated database, when its schema is compared with the models
    with database.read() as connection:
        context = MigrationContext.configure(connection)
        differences = compare_metadata(context, Base.metadata)
    # then they are the same
    assert differences == []


def test_migrating_again_keeps_the_data(database):
    with database.write() as connection:
        connection.execute(insert(LeaseRow).values(name="training:1.2"))
    migrate(database)
    with database.read() as connection:
        assert connection.execute(select(LeaseRow.name)).scalars().all() == ["training:1.2"]


def test_a_new_database_has_the_newest_revision(database):
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with database.read() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == newest


def test_a_database_of_a_newer_version_is_refused(migrated, tmp_path):
    newer = Database(f"sqlite:///{shutil.copy(migrated, tmp_path / 'newer.db')}")
    with newer.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer version"):
        migrate(newer)
    newer.close()
