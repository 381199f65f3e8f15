"""The schema that migrations make, on SQLite and PostgreSQL."""

import shutil

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text

from backend.db.engine import MIGRATIONS, Database
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
    database.migrate()
    with database.read() as connection:
        assert connection.execute(select(LeaseRow.name)).scalars().all() == ["training:1.2"]


def test_a_downgrade_drops_all_tables_and_an_upgrade_creates_them(database):
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
        command.upgrade(config, "head")
        assert set(inspect(connection).get_table_names()) > set(Base.metadata.tables)
        connection.commit()


def test_a_database_of_a_newer_version_is_refused(migrated, tmp_path):
    newer = Database(f"sqlite:///{shutil.copy(migrated, tmp_path / 'newer.db')}")
    with newer.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer version"):
        newer.migrate()
    newer.close()
