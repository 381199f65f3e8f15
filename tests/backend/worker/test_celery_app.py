"""Background work: messages, the processing of deliveries, and a real worker."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from celery import Celery
from sqlalchemy import select, text

from backend.api.service import Service
from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.db.models import SampledProjectRow
from backend.jobs.queue import Jobs
from backend.settings import Settings
from backend.worker import celery_app
from backend.worker.tasks import Tasks
from backend.worker.webhook_inbox import Deliveries
from tests.backend.programs import kill, start, stop, until


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.resolved_database_url)
    migrate(database)
    yield database
    database.close()


def waiting_in(database: Database) -> int:
    with database.read() as connection:
        query = text("select count(*) from deliveries where processed_at is null")
        return int(connection.execute(query).scalar_one())


# -- messages from the web server


def test_different_tasks_are_all_sent(settings: Settings) -> None:
    settings.data.mkdir(parents=True)
    enqueuer = celery_app.Enqueuer(celery_app.build(settings))
    enqueuer.enqueue(celery_app.TICK)
    enqueuer.enqueue(celery_app.ANNOUNCE)
    enqueuer.close()

    sent = "".join(path.read_text() for path in (settings.data / "queue" / "messages").iterdir())
    assert celery_app.TICK in sent
    assert celery_app.ANNOUNCE in sent


@pytest.mark.timed
def test_a_broker_that_is_down_delays_no_request(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    away = settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    enqueuer = celery_app.Enqueuer(celery_app.build(away))

    started = time.perf_counter()
    for _ in range(100):
        enqueuer.enqueue()
    seconds = time.perf_counter() - started
    enqueuer.close()

    assert seconds < 0.05
    assert "it checks the database by itself" in caplog.text


# -- processing


def accepted(page: Any, region: dict[str, Any], annotation: int = 7) -> dict[str, Any]:
    """An ANNOTATION_CREATED for task 24 of project 6 that shows this region."""
    body: dict[str, Any] = page.recorded("webhook_ANNOTATION_CREATED_ui")
    later = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    body["annotation"].update(
        id=annotation, task=24, project=6, result=[region], created_at=later, updated_at=later
    )
    body["task"]["id"] = 24
    created = datetime.fromtimestamp(1795384361, UTC).isoformat()
    body["project"].update(id=6, created_at=created, label_config=page.tried_config)
    return body


def state_of(database: Database, region_id: str) -> str:
    with database.read() as connection:
        query = text("select state from targets where region_id = :region")
        return str(connection.execute(query, {"region": region_id}).scalar_one())


def test_accepting_and_deleting_update_the_objects(
    service: Service, settings: Settings, database: Database, page: Any, picture_host: Any
) -> None:
    picture_host.add("/data/upload/6/a.png")
    region = page.region(service.predict(page.request([page.click(1, 30, 40)])))
    tasks = Tasks(settings)

    created = accepted(page, region)
    service.webhook(orjson.dumps(created), created)
    assert tasks.process_deliveries() == 1
    assert state_of(database, region["id"]) == "submitted"

    gone = {
        "action": "ANNOTATIONS_DELETED",
        "annotations": [{"id": 7}],
        "project": created["project"],
    }
    service.webhook(orjson.dumps(gone), gone)
    assert tasks.process_deliveries() == 1
    assert state_of(database, region["id"]) == "gone"
    tasks.close()


@pytest.mark.parametrize(
    "name",
    sorted(p.stem for p in (Path(__file__).parents[2] / "payloads").glob("webhook_*.json")),
)
def test_every_recorded_delivery_can_be_processed(
    name: str, service: Service, settings: Settings, database: Database, page: Any
) -> None:
    body = page.recorded(name)
    service.webhook(orjson.dumps(body), body)
    tasks = Tasks(settings)

    assert tasks.process_deliveries() == 1
    assert waiting_in(database) == 0
    tasks.tidy()
    tasks.close()


def test_the_button_of_label_studio_starts_one_training(
    service: Service, settings: Settings, database: Database, page: Any
) -> None:
    service.setup(page.recorded("setup"))
    body = page.recorded("webhook_START_TRAINING")
    service.webhook(orjson.dumps(body), body)
    tasks = Tasks(settings)
    (waiting,) = Deliveries(database).waiting()
    delivery = Deliveries(database).begin(waiting)
    assert delivery is not None
    # Processed twice, as after a crash, when the first training has already ended.
    tasks._process(delivery)
    Jobs(database).cancel(1, "ann")
    tasks.process_deliveries()
    tasks.close()

    (job,) = Jobs(database).listed()
    assert (job.kind, job.trigger, job.asked_by) == ("training", "label_studio", "Label Studio")
    assert job.project.startswith("1.")


def test_without_a_secret_strangers_cannot_invent_projects_without_end(
    service: Service,
    settings: Settings,
    database: Database,
    page: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.label_studio.projects._MAX_UNUSED", 3)
    # given labels of many projects that nobody connected, and of one that is
    service.setup(page.recorded("setup"))
    body = page.recorded("webhook_ANNOTATION_CREATED_ui")
    own = body["project"]["id"]
    for number in (*range(100, 110), own):
        body["project"]["id"] = number
        service.webhook(orjson.dumps(body), body)
    # when
    tasks = Tasks(settings)
    tasks.process_deliveries()
    tasks.close()
    # then
    with database.read() as connection:
        keys = set(connection.execute(select(SampledProjectRow.key)).scalars())
    assert {int(key.partition(".")[0]) for key in keys} == {100, 101, 102, own}


def test_a_training_for_an_unknown_project_is_not_started(
    service: Service, settings: Settings, database: Database, page: Any
) -> None:
    body = page.recorded("webhook_START_TRAINING")
    service.webhook(orjson.dumps(body), body)
    tasks = Tasks(settings)

    assert tasks.process_deliveries() == 1
    tasks.close()

    assert Jobs(database).listed() == []


def test_periodic_tasks_continue_when_the_wall_clock_jumps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Jumping(datetime):
        ahead = timedelta()

        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + cls.ahead

    monkeypatch.setattr(celery_app, "datetime", Jumping)
    every = celery_app.schedule(0.2, nowfun=celery_app._monotonic_now())
    began = every.now()
    Jumping.ahead = timedelta(days=-2)

    assert not every.is_due(began).is_due
    time.sleep(0.25)
    assert every.is_due(began).is_due


# -- the worker itself


@contextmanager
def worker(settings: Settings, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = start(settings, log, "worker")
    try:
        yield process
    finally:
        stop(process)


@pytest.mark.slow
def test_a_worker_processes_all_deliveries_even_if_it_is_killed(
    service: Service, settings: Settings, database: Database, page: Any, tmp_path: Path
) -> None:
    body = page.recorded("webhook_ANNOTATION_CREATED_ui")
    log = tmp_path / "worker.log"
    # given: a delivery of a server that died before it could send a message
    Deliveries(database).store("ANNOTATION_CREATED", 1, orjson.dumps(body))
    # when a worker starts, then it processes that one
    with worker(settings, log) as first:
        until(lambda: waiting_in(database) == 0, log)
        # when another one comes, then it is processed sooner than by the periodic task
        started = time.monotonic()
        service.webhook(orjson.dumps(body), body)
        until(lambda: waiting_in(database) == 0, log)
        assert time.monotonic() - started < celery_app.PERIODIC[celery_app.PROCESS_DELIVERIES] - 3
        assert "Traceback" not in log.read_text(), log.read_text()[-4000:]
        # when more come after the worker was killed
        kill(first)
        for _ in range(5):
            service.webhook(orjson.dumps(body), body)
    assert waiting_in(database) == 5
    # then the next worker processes them
    with worker(settings, log):
        until(lambda: waiting_in(database) == 0, log)


def test_a_worker_that_celery_gave_up_exits_with_an_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: Celery logs an unrecoverable error and returns
    monkeypatch.setattr(Celery, "worker_main", lambda app, arguments: None)
    # then
    with pytest.raises(SystemExit) as ended:
        celery_app.run_worker(settings)
    assert ended.value.code == 1
