"""A team's half year for the tests of reports, written once."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.db.engine import Database
from backend.reports.queries import Reports
from tests.backend.reports import big
from tests.backend.reports.big import WrittenCounts


@dataclass(frozen=True)
class Team:
    """A data folder with a history, what it holds, and reports on it."""

    data: Path
    story: WrittenCounts
    reports: Reports
    key: str = big.PROJECT


@pytest.fixture(scope="session")
def team(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """About 1,500 interactions in two projects. Read-only."""
    data = tmp_path_factory.mktemp("team")
    shutil.copy(migrated, data / "phraseclick.db")
    database = Database(f"sqlite:///{data / 'phraseclick.db'}")
    story = big.fill(database, 1_500, masked_tasks=2)
    yield Team(data, story, Reports(database))
    database.close()
