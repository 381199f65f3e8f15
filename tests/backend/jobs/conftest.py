"""Jobs on a fresh database, with accepted labels as rows and clocks that tests move."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from backend.db.engine import Database
from backend.db.models import AnnotatedPictureRow, AnnotationRow, Job, lock_samples
from backend.jobs import runner as runner_module
from backend.jobs.lease import Leases
from backend.jobs.progress import Progress
from backend.jobs.queue import Jobs
from backend.jobs.runner import Runner
from backend.settings import Settings

PROJECT = "6.1795384361"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


@dataclass
class SteadyClock:
    """A monotonic clock that the test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def steady() -> SteadyClock:
    return SteadyClock()


@dataclass
class Team:
    """Accepts labels, as rows whose pictures have been checked."""

    database: Database
    labels: int = 0

    def accept(self, number: int = 1, *, project: str = PROJECT, **values: Any) -> None:
        for _ in range(number):
            self.labels += 1
            self.annotation(self.labels, project=project, **values)

    def annotation(
        self,
        number: int,
        *,
        project: str = PROJECT,
        task: int | None = None,
        picture: str = "good",
        ground_truth: bool = False,
    ) -> None:
        row = {
            "project": project,
            "annotation_id": number,
            "task_id": task or number,
            "updated_at": NOON + timedelta(seconds=number),
            "digest": "",
            "skipped": False,
            "ground_truth": ground_truth,
            "left_out": {},
        }
        checked = {
            "project": project,
            "annotation_id": number,
            "image": "image",
            "address": f"/{number}.png",
            "state": picture,
            "key": f"{number:08x}",
            "attempts": 0,
            "error": "",
        }
        with self.database.write() as connection:
            lock_samples(connection, project)
            connection.execute(insert(AnnotationRow).values(row))
            connection.execute(insert(AnnotatedPictureRow).values(checked))

    def change(self, number: int, **values: Any) -> None:
        """Change an annotation; by default it is edited once more."""
        values = values or {"updated_at": NOON + timedelta(hours=1)}
        with self.database.write() as connection:
            query = update(AnnotationRow).where(
                AnnotationRow.project == PROJECT, AnnotationRow.annotation_id == number
            )
            connection.execute(query.values(values))


@pytest.fixture
def team(database: Database) -> Team:
    return Team(database)


@pytest.fixture
def learning() -> Settings:
    """Settings with small numbers."""
    return Settings(learn_after_labels=3, learn_debounce_s=60, lease_s=9)


Does = Callable[[Callable[[Job, Progress], dict[str, Any]]], None]


@pytest.fixture
def trainings_do(monkeypatch: pytest.MonkeyPatch) -> Does:
    """Replace the work of trainings and re-scorings, without torch."""

    load = runner_module.load

    def does(work: Callable[[Job, Progress], dict[str, Any]]) -> None:
        def load_test(kind: str, settings: Settings) -> runner_module.Work:
            if kind not in ("training", "scoring"):
                return load(kind, settings)
            return lambda job, settings, database, progress: work(job, progress)

        monkeypatch.setattr(runner_module, "load", load_test)

    return does


def raising(error: Exception) -> Callable[[Job, Progress], dict[str, Any]]:
    """Work that ends with an error."""

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        raise error

    return work


@pytest.fixture
def runner(database: Database, learning: Settings) -> Runner:
    return Runner(learning, database, Leases(learning.lease_s))


@pytest.fixture
def due_again(database: Database) -> Callable[[int], None]:
    """Make a job due now that waits for its next attempt."""

    def at_once(number: int) -> None:
        with database.write() as connection:
            here = Job.id == number
            connection.execute(update(Job).where(here).values(due_at=datetime.now(UTC)))

    return at_once
