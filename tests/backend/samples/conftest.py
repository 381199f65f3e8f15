"""A team's project in a Label Studio of the tests' own, and the tables that its labels end in."""

from pathlib import Path
from typing import Any

import pytest

from backend.db.engine import Database
from backend.samples.ingest import SampleStore
from tests.backend.samples.studio import Studio
from tests.backend.samples.studio_pictures import Team, settings_for


@pytest.fixture
def studio() -> Studio:
    return Studio()


@pytest.fixture
def store(database: Database) -> SampleStore:
    """On SQLite, and on PostgreSQL where tests are slow."""
    return SampleStore(database)


@pytest.fixture
def team(store: SampleStore, studio: Studio, picture_host: Any, tmp_path: Path) -> Team:
    """With pictures that can be fetched."""
    return Team(studio, store, picture_host, settings_for(tmp_path / "data", picture_host.url))
