"""The commands about jobs."""

import json
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from backend.cli.main import app
from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.db.models import Job
from backend.errors import BackendError, JobError
from backend.jobs.lease import Leases
from backend.jobs.presence import Presence
from backend.jobs.progress import Progress
from backend.jobs.queue import Jobs
from backend.jobs.runner import Runner
from backend.settings import Settings, get_settings
from backend.worker import celery_app
from tests.backend.databases import connect
from tests.backend.jobs.conftest import PROJECT, Does, Team


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PHRASECLICK_DATABASE_URL", "PHRASECLICK_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    # The commands set the folder; the old value is restored after the test.
    monkeypatch.setenv("PHRASECLICK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "160")
    get_settings.cache_clear()
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Jobs:
    database = Database(Settings(data=data).resolved_database_url)
    migrate(database)
    connect(database, PROJECT, "http://studio")
    return Jobs(database)


@pytest.fixture(autouse=True)
def _settings_of_others() -> object:
    yield
    get_settings.cache_clear()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=True)


def test_jobs_are_listed(store: Jobs) -> None:
    store.enqueue(PROJECT, "training", trigger="hand", by="ann")
    store.cancel(1, "ben")
    store.enqueue("7.1", "scoring", trigger="promotion")

    shown = call("jobs").output
    assert "by hand (ann)" in shown
    assert "Cancelled by ben." in shown
    assert "new champion" in shown
    assert "ben" not in call("jobs", "--state", "queued").output
    assert "No jobs found." in call("jobs", "--kind", "replay").output
    assert "'training', 'scoring', 'replay'" in call("jobs", "--kind", "trainings").output
    listed = json.loads(call("jobs", "--project", "6", "--json").output)
    assert [(job["id"], job["state"]) for job in listed] == [(1, "cancelled")]


def test_one_job_is_shown_with_its_log(store: Jobs, trainings_do: Does) -> None:
    def work(job: Job, progress: Progress) -> dict[str, object]:
        progress.line("[read] 3 labels")
        progress.point({"step": 1, "loss": 0.25})
        return {"version": "v2", "report": {"long": ["list"]}}

    trainings_do(work)
    store.enqueue(PROJECT, "training", trigger="hand", by="ann")
    Runner(Settings(), store.database, Leases(9)).run(1)

    shown = call("job", "1").output
    for said in ("training of project 6", "done, 100%", "[read] 3 labels", "loss 0.25", "v2"):
        assert said in shown
    assert "long" not in shown
    printed = json.loads(call("job", "1", "--json").output)
    assert printed["result"]["report"] == {"long": ["list"]}
    assert [line["figures"] for line in printed["log"]][-1] == {"step": 1, "loss": 0.25}


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_job_is_followed_to_its_end(ends_well: bool, store: Jobs, trainings_do: Does) -> None:
    def work(job: Job, progress: Progress) -> dict[str, object]:
        progress.line("about to begin")
        time.sleep(1.5)
        if not ends_well:
            raise JobError("Too few labels.")
        return {"version": "v2"}

    trainings_do(work)
    store.enqueue(PROJECT, "training", trigger="hand")
    runner = Runner(Settings(), store.database, Leases(9))
    thread = threading.Thread(target=runner.run, args=(1,))
    thread.start()
    followed = call("job", "1", "--follow")
    thread.join()

    assert followed.exit_code == (0 if ends_well else 1)
    assert followed.output.count("about to begin") == 1
    assert ("v2" if ends_well else "Too few labels.") in followed.output


def test_cancelling_says_what_happens(store: Jobs) -> None:
    store.enqueue(PROJECT, "training", trigger="hand")

    assert "Job 1 is cancelled." in call("cancel", "1").output
    assert store.get(1).state == "cancelled"
    again = call("cancel", "1")
    assert isinstance(again.exception, JobError)
    assert "has already ended" in str(again.exception)


def test_learning_now_enqueues_a_job_and_notifies_the_worker(store: Jobs, data: Path) -> None:
    said = call("learn", "--project", "6", "--now").output

    assert "Job 1 is queued" in said
    assert (store.get(1).trigger, store.get(1).kind) == ("hand", "training")
    (message,) = (data / "queue" / "messages").iterdir()
    assert celery_app.RUN_JOB in message.read_text()
    assert message.name.endswith(f"{celery_app.TRAINING_QUEUE}.msg")


def test_learning_now_says_that_no_worker_runs(store: Jobs) -> None:
    assert "No training worker is running" in call("learn", "--project", "6", "--now").output
    Presence(store.database, "training", every_s=1000)._update()
    assert "No training worker" not in call("learn", "--project", "6", "--now").output


def test_a_training_may_be_thorough(store: Jobs) -> None:
    call("learn", "--project", "6", "--now", "--budget", "thorough")
    unknown = call("learn", "--project", "6", "--now", "--budget", "lavish")

    assert store.get(1).request == {"budget": "thorough"}
    assert unknown.exit_code == 2


def test_learning_is_shown_and_changed(store: Jobs) -> None:
    Team(store.database).accept(2)
    assert "after 20 new labels" in call("learn", "--project", "6").output
    assert "New labels: 2" in call("learn", "--project", PROJECT).output

    call("learn", "--project", "6", "--after-labels", "5", "--schedule", "0 3 * * *")
    said = call("learn", "--project", "6").output
    assert "after 5 new labels, and on the schedule 0 3 * * * (UTC), next at" in said
    assert "paused" in call("learn", "--project", "6", "--pause").output
    call("learn", "--project", "6", "--resume", "--after-labels", "0", "--schedule", "none")
    printed = json.loads(call("learn", "--project", "6", "--json").output)
    assert (printed["after_labels"], printed["cron"], printed["paused"]) == (20, "", False)
    assert (printed["new"], printed["untried"], printed["by_itself"]) == (2, 2, True)
    assert printed["job"] is None
    assert store.listed() == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("job", "9"), "There is no job 9"),
        (("learn", "--project", "8"), "Project 8 is unknown"),
        (("jobs", "--project", "8"), "Project 8 is unknown"),
        (("learn", "--project", "6", "--schedule", "nightly"), "minute, hour, day, month"),
    ],
)
def test_what_is_wrong_is_a_sentence(
    arguments: tuple[str, ...], sentence: str, store: Jobs
) -> None:
    failed = call(*arguments)
    assert isinstance(failed.exception, BackendError)
    assert sentence in str(failed.exception)


def test_two_projects_of_one_number_must_be_told_apart(store: Jobs) -> None:
    connect(store.database, "6.5", "http://other")
    failed = call("learn", "--project", "6")
    assert f"6.5 or {PROJECT}" in str(failed.exception) or f"{PROJECT} or 6.5" in str(
        failed.exception
    )
    assert call("learn", "--project", PROJECT).exit_code == 0
