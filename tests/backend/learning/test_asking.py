"""Who asks for scores: new tasks, a version that Label Studio was given, and people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from backend.api.service import Service
from backend.cli.main import app
from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.db.models.jobs import SCORING, Job
from backend.jobs.queue import Jobs
from backend.label_studio import client
from backend.label_studio.payloads import Project, SetupRequest
from backend.label_studio.projects import Projects
from backend.learning import score_job, scores
from backend.registry.label_studio_sync import LabelStudioSync
from backend.settings import Settings
from backend.worker.tasks import Tasks
from tests.backend.conftest import TRIED_CONFIG
from tests.backend.learning.studio import PROJECT, Studio


@pytest.fixture
def own(settings: Settings) -> Iterator[Database]:
    """The database of the settings, with the project connected."""
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.resolved_database_url)
    migrate(database)
    Projects(database).remember(SetupRequest(Project.read(PROJECT), TRIED_CONFIG, "", ""))
    yield database
    database.close()


def tasks_created(page: Any) -> dict[str, Any]:
    body: dict[str, Any] = page.recorded("webhook_TASKS_CREATED")
    created = datetime.fromtimestamp(int(PROJECT.partition(".")[2]), UTC).isoformat()
    body["project"].update(id=6, created_at=created, label_config=page.tried_config)
    return body


def asked(database: Database) -> list[Job]:
    return Jobs(database).listed(kind=SCORING)


def test_new_tasks_ask_for_one_job_after_a_quiet_while(
    own: Database, service: Service, settings: Settings, page: Any
) -> None:
    body = tasks_created(page)
    tasks = Tasks(settings)
    for _ in range(3):
        service.webhook(orjson.dumps(body), body)
    tasks.process_deliveries()
    tasks.close()

    (job,) = asked(own)
    assert (job.project, job.state, job.trigger) == (PROJECT, "queued", "label_studio")
    waits = job.due_at - datetime.now(UTC)
    assert timedelta(0) < waits <= timedelta(seconds=settings.learn_debounce_s)


def test_no_job_is_requested_where_it_is_off(
    own: Database, service: Service, settings: Settings, page: Any
) -> None:
    body = tasks_created(page)
    service.webhook(orjson.dumps(body), body)
    tasks = Tasks(settings.model_copy(update={"acquisition": "off"}))
    tasks.process_deliveries()
    tasks._score_again(PROJECT)
    tasks.close()

    assert asked(own) == []


def test_a_version_given_to_label_studio_is_scored_again(
    own: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def announce(self: LabelStudioSync, now: datetime | None = None) -> int:
        self._synced(PROJECT)
        return 1

    monkeypatch.setattr(LabelStudioSync, "run", announce)
    tasks = Tasks(settings)
    tasks.announce()
    tasks.close()

    (job,) = asked(own)
    assert (job.project, job.trigger) == (PROJECT, "promotion")
    assert job.due_at <= datetime.now(UTC)


class TestCommand:
    @pytest.fixture
    def studio(self, own: Database, monkeypatch: pytest.MonkeyPatch) -> Studio:
        label_studio = Studio(sampling="Sequential sampling")
        monkeypatch.setattr(score_job, "LabelStudioHosts", lambda *_: label_studio)
        monkeypatch.setattr(
            "backend.label_studio.projects.LabelStudioHosts", lambda *_: label_studio
        )
        monkeypatch.setattr(client, "PAUSES_S", ())
        monkeypatch.setattr(scores, "_CACHE_BYTES", 2**20)
        return label_studio

    @pytest.fixture
    def run(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr("backend.settings.get_settings.cache_clear", lambda: None)
        monkeypatch.setattr("backend.settings.get_settings", lambda: settings)
        return lambda *arguments: CliRunner().invoke(app, ["score", *arguments])

    def test_it_asks_for_a_job(self, run: Any, studio: Studio, own: Database) -> None:
        done = run("--project", "6", "--method", "uncertainty", "--masks")

        assert done.exit_code == 0, done.output
        (job,) = asked(own)
        assert (job.trigger, job.request) == ("hand", {"method": "uncertainty", "masks": True})
        assert f"Job {job.id}" in done.output
        assert studio.made == {}

    def test_now_scores_here_and_says_what_came_of_it(
        self, run: Any, studio: Studio, own: Database
    ) -> None:
        studio.add(1, 2)

        done = run("--project", "6", "--now")

        assert done.exit_code == 0, done.output
        assert "2 of 2 remaining tasks have a score" in done.output
        assert asked(own)[0].state == "done"
        assert len(studio.made) == 2

    def test_sampling_is_set_in_label_studio(self, run: Any, studio: Studio) -> None:
        done = run("--project", "6", "--sampling")

        assert done.exit_code == 0, done.output
        assert studio.sampling == "Uncertainty sampling"

    def test_what_is_wrong_is_a_sentence(self, run: Any, studio: Studio) -> None:
        unknown = run("--project", "6", "--method", "luck")
        nobody = run("--project", "77")

        assert "--method is one of" in str(unknown.exception)
        assert "Project 77 is unknown" in str(nobody.exception)
