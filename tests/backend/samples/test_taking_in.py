"""From the click to the sample, through the real doors: /predict, /webhook, the worker, the CLI."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select, text

from backend.api.service import Service
from backend.db.engine import Database
from backend.db.models import SampleRow
from backend.reports.queries import Reports
from backend.samples.rules import count_samples
from backend.settings import Settings
from backend.worker import celery_app
from backend.worker.tasks import Tasks
from training.data import PackDataset

KEY = "6.1795384361"


@pytest.fixture
def tasks(service: Service, settings: Settings) -> Iterator[Tasks]:
    tasks = Tasks(settings)
    yield tasks
    tasks.close()


@pytest.fixture
def own(settings: Settings) -> Iterator[Database]:
    """The database of the service."""
    database = Database(settings.resolved_database_url)
    yield database
    database.close()


def accepted(page: Any, result: list[Any], annotation: int = 7) -> dict[str, Any]:
    """An ANNOTATION_CREATED for task 24 of project 6 as recorded, with these regions."""
    body: dict[str, Any] = page.recorded("webhook_ANNOTATION_CREATED_ui")
    later = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    body["annotation"].update(
        id=annotation, task=24, project=6, result=result, created_at=later, updated_at=later
    )
    body["task"].update(id=24, data={"image": "/data/upload/6/a.png"})
    created = datetime.fromtimestamp(int(KEY.partition(".")[2]), UTC).isoformat()
    body["project"].update(id=6, created_at=created, label_config=page.tried_config)
    return body


def send(service: Service, body: dict[str, Any]) -> None:
    service.webhook(orjson.dumps(body), body)


def cli(settings: Settings, *arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {name: v for name, v in os.environ.items() if "PHRASECLICK" not in name}
    environment |= {
        "PHRASECLICK_DATA": str(settings.data),
        "PHRASECLICK_LABEL_STUDIO_URL": settings.label_studio_url,
        "COLUMNS": "120",
    }
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", "samples", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )


def test_an_accepted_click_is_a_sample_with_that_click(
    service: Service, tasks: Tasks, own: Database, page: Any, picture_host: Any
) -> None:
    # given
    picture_host.add("/data/upload/6/a.png")
    answer = service.predict(page.request([page.click(1, 30, 40)]))
    # when
    send(service, accepted(page, [page.region(answer)]))
    assert tasks.process_deliveries() == 1
    assert tasks.check_pictures() == 1
    # then
    with own.read() as connection:
        (sample,) = connection.execute(select(SampleRow)).all()
    assert sample.clicks == [[30.0, 40.0, True]]
    assert sample.label == "Cat"
    counts = count_samples(own, KEY)
    assert sum(counts.of("regions").values()) == 1
    assert counts.of("regions that count")["with clicks"] == 1


def test_a_project_is_called_as_label_studio_calls_it(
    service: Service, tasks: Tasks, own: Database, page: Any
) -> None:
    service.setup({"project": KEY, "schema": page.tried_config})
    reports = Reports(own)
    assert reports.project(KEY).title == "Project 6"

    for title in ("Cats", "Cats, 2nd batch"):
        body = accepted(page, [])
        body["project"]["title"] = title
        send(service, body)
        tasks.process_deliveries()

        assert reports.project(KEY).title == f"{title} (project 6)"


def test_an_unreadable_delivery_is_processed_and_stops_nothing(
    service: Service, tasks: Tasks, own: Database, page: Any
) -> None:
    body = accepted(page, [{"id": 1, "type": "brushlabels", "value": {"rle": "x"}}])
    send(service, body)
    send(service, {"action": "ANNOTATIONS_CREATED", "annotation": [3], "project": {"id": 6}})
    send(service, {"action": "TASKS_DELETED", "tasks": [{"id": "x"}, {}], "project": {"id": 6}})
    send(service, {"action": "PROJECT_DELETED", "project": {"id": 999}})

    assert tasks.process_deliveries() == 4
    assert count_samples(own, KEY).of("regions left out") == {"unreadable mask": 1}


def test_the_webhook_itself_does_no_work(
    service: Service, own: Database, page: Any, picture_host: Any
) -> None:
    picture_host.add("/data/upload/6/a.png")
    region = page.region(service.predict(page.request([page.click(1, 30, 40)])))
    body = accepted(page, [{**region, "id": f"r{n}"} for n in range(40)])
    send(service, body)

    with own.read() as connection:
        tables = ("annotations", "samples", "annotated_pictures", "sampled_projects")
        for table in tables:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0
        assert connection.execute(text("SELECT count(*) FROM deliveries")).scalar() == 1


def test_the_worker_reconciles_and_checks_pictures_by_schedule(settings: Settings) -> None:
    app = celery_app.build(settings)

    assert {celery_app.RECONCILE, celery_app.CHECK_PICTURES} <= set(app.tasks)
    schedule = app.conf.beat_schedule
    assert schedule["reconcile"]["schedule"] <= 3600
    assert schedule["check_pictures"]["schedule"] <= 60


def test_prometheus_sees_the_labels(
    service: Service, tasks: Tasks, page: Any, picture_host: Any
) -> None:
    picture_host.add("/data/upload/6/a.png")
    region = page.region(service.predict(page.request([page.click(1, 30, 40)])))
    send(service, accepted(page, [region, {**region, "id": "other"}]))
    tasks.process_deliveries()

    def figure(what: str) -> str:
        said = service.figures().decode()
        start = f'phraseclick_labels{{project="{KEY}",what="{what}"}} '
        return next((line for line in said.splitlines() if line.startswith(start)), "")[
            len(start) :
        ]

    assert figure("annotations accepted") == "1.0"
    assert figure("regions, picture unseen") == "2.0"

    tasks.check_pictures()
    deadline = time.monotonic() + 30
    while figure("regions, picture good") != "2.0":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert figure("regions, picture unseen") == "0.0"


def test_a_sync_processes_waiting_deliveries_first(
    service: Service, tasks: Tasks, own: Database, page: Any, picture_host: Any
) -> None:
    send(service, page.recorded("webhook_ANNOTATION_UPDATED"))
    tasks.reconcile()

    assert count_samples(own, "1.1795380093").of("annotations")["accepted"] == 1


# -- the command


def test_the_command_says_where_there_is_nothing(service: Service, settings: Settings) -> None:
    shown = cli(settings)

    assert shown.returncode == 1
    assert shown.stderr.strip().endswith("No project has sent any labels yet.")


def test_the_command_counts_and_exports(
    service: Service, tasks: Tasks, settings: Settings, page: Any, picture_host: Any, tmp_path: Path
) -> None:
    # given
    picture_host.add("/data/upload/6/a.png")
    region = page.region(service.predict(page.request([page.click(1, 30, 40)])))
    send(service, accepted(page, [region]))
    tasks.process_deliveries()
    # when: not checked yet
    shown = cli(settings, "--project", 6)
    assert "picture not checked yet" in shown.stdout, shown.stderr
    refused = cli(settings, "--export", tmp_path / "team.tar")
    assert "There are no samples to export yet" in refused.stderr
    # when: looked at
    tasks.check_pictures()
    shown = cli(settings)
    assert "Project 6" in shown.stdout
    assert "with clicks" in shown.stdout
    assert "Last synced with Label Studio: never." in shown.stdout
    done = cli(settings, "--project", 6, "--export", tmp_path / "team.tar")
    assert done.returncode == 0, done.stderr
    assert "Wrote 1 object to" in done.stdout
    assert len(PackDataset([tmp_path / "team.tar"])) == 1

    assert "Project 5 has not sent any labels" in cli(settings, "--project", 5).stderr
    assert "'half' is not one of" in cli(settings, "--split", "half").stderr


# -- the worker itself


@pytest.mark.slow
def test_a_worker_saves_labels_and_checks_pictures(
    service: Service,
    settings: Settings,
    own: Database,
    page: Any,
    picture_host: Any,
    tmp_path: Path,
) -> None:
    picture_host.add("/data/upload/6/a.png")
    region = page.region(service.predict(page.request([page.click(1, 30, 40)])))
    environment = {name: v for name, v in os.environ.items() if "PHRASECLICK" not in name}
    environment |= {
        "PHRASECLICK_DATA": str(settings.data),
        "PHRASECLICK_LABEL_STUDIO_URL": settings.label_studio_url,
    }
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", "worker"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        send(service, accepted(page, [region]))
        deadline = time.monotonic() + 180
        while not sum(count_samples(own, KEY).of("regions").values()):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-4000:]
            time.sleep(0.5)
    finally:
        worker.terminate()
        worker.wait(30)
    assert "Traceback" not in (tmp_path / "log").read_text()
