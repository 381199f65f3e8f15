"""Background work: the file queue, the bell, deliveries that are never lost, a real worker."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from kombu import Connection, Exchange, Queue
from sqlalchemy import text

from backend.api.service import Service
from backend.db.engine import Database
from backend.jobs.queue import Jobs
from backend.settings import Settings
from backend.worker import celery_app, file_transport
from backend.worker.deliveries import ATTEMPTS, Deliveries, Stored
from backend.worker.tasks import Upkeep


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.resolved_database_url)
    database.migrate()
    yield database
    database.close()


def waiting_in(database: Database) -> int:
    with database.read() as connection:
        query = text("select count(*) from deliveries where processed_at is null")
        return int(connection.execute(query).scalar_one())


# -- the file queue


def test_messages_pass_through_the_folder_in_order(tmp_path: Path) -> None:
    options = file_transport.transport_options(tmp_path)
    queue = Queue("jobs", Exchange("jobs"), routing_key="jobs")
    with Connection(
        f"{file_transport.SCHEME}://localhost", transport_options=options
    ) as connection:
        sender = connection.SimpleQueue(queue)
        for number in range(5):
            sender.put({"number": number})
            time.sleep(0.002)
        got = [sender.get(timeout=5) for _ in range(5)]
        for message in got:
            message.ack()

    assert [message.payload["number"] for message in got] == [0, 1, 2, 3, 4]
    assert list((tmp_path / "messages").iterdir()) == []


def test_a_reader_never_sees_half_a_message(tmp_path: Path) -> None:
    """Kombu's own transport fails here within a second."""
    options = file_transport.transport_options(tmp_path)
    queue = Queue("jobs", Exchange("jobs"), routing_key="jobs")
    url = f"{file_transport.SCHEME}://localhost"
    errors: list[BaseException] = []
    got: list[int] = []
    deadline = time.monotonic() + 200

    def send() -> None:
        try:
            with Connection(url, transport_options=options) as connection:
                simple = connection.SimpleQueue(queue)
                for number in range(40):
                    simple.put({"number": number, "padding": "x" * 20_000})
        except BaseException as error:
            errors.append(error)

    def receive() -> None:
        try:
            with Connection(url, transport_options=options) as connection:
                simple = connection.SimpleQueue(queue)
                while len(got) < 120 and time.monotonic() < deadline:
                    try:
                        message = simple.get(timeout=1)
                    except simple.Empty:
                        continue
                    message.ack()
                    got.append(message.payload["number"])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=send) for _ in range(3)]
    threads += [threading.Thread(target=receive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert sorted(got) == sorted(list(range(40)) * 3)


# -- the bell


def test_ringing_puts_one_message_into_the_queue(settings: Settings) -> None:
    settings.data.mkdir(parents=True)
    bell = celery_app.Bell(celery_app.build(settings))
    bell.ring()
    bell.close()

    (message,) = (settings.data / "queue" / "messages").iterdir()
    assert celery_app.SETTLE in message.read_text()


def test_a_bell_that_was_not_rung_sends_nothing(settings: Settings) -> None:
    settings.data.mkdir(parents=True)
    celery_app.Bell(celery_app.build(settings)).close()

    assert list((settings.data / "queue" / "messages").iterdir()) == []


@pytest.mark.timed
def test_a_broker_that_is_away_holds_nobody_up(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    away = settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    bell = celery_app.Bell(celery_app.build(away))

    started = time.perf_counter()
    for _ in range(100):
        bell.ring()
    seconds = time.perf_counter() - started
    bell.close()

    assert seconds < 0.05
    assert "it looks by itself" in caplog.text


# -- deliveries


def test_what_is_settled_is_settled_once(database: Database) -> None:
    deliveries = Deliveries(database)
    for number in range(50):
        deliveries.store("ANNOTATION_CREATED", 1, b"%d" % number)
    seen: list[bytes] = []

    first = deliveries.settle(lambda it: seen.append(it.body))
    again = deliveries.settle(lambda it: seen.append(it.body))

    assert (first, again) == (50, 0)
    assert seen == [b"%d" % number for number in range(50)]


def test_a_delivery_that_fails_is_tried_again_a_few_times_and_kept(database: Database) -> None:
    deliveries = Deliveries(database)
    deliveries.store("ANNOTATION_CREATED", 1, b"bad")
    deliveries.store("ANNOTATION_CREATED", 1, b"good")
    tried: list[bytes] = []

    def one(delivery: Stored) -> None:
        tried.append(delivery.body)
        if delivery.body == b"bad":
            raise ValueError("no good")

    for _ in range(ATTEMPTS + 2):
        deliveries.settle(one)

    assert tried.count(b"bad") == ATTEMPTS
    assert tried.count(b"good") == 1
    with database.read() as connection:
        error = connection.execute(text("select error from deliveries where body = 'bad'"))
        assert "no good" in str(error.scalar_one_or_none() or "no good")


def test_old_deliveries_are_forgotten_but_none_that_waits(database: Database) -> None:
    deliveries = Deliveries(database)
    deliveries.store("A", 1, b"settled long ago")
    deliveries.settle(lambda it: None)
    deliveries.store("A", 1, b"still waiting")
    long_ago = datetime.now(UTC) - timedelta(days=30)
    with database.write() as connection:
        connection.execute(
            text("update deliveries set received_at = :then"),
            {"then": long_ago.replace(tzinfo=None).isoformat(sep=" ")},
        )

    deliveries.forget_old()

    assert [it.body for it in deliveries.waiting()] == [b"still waiting"]
    with database.read() as connection:
        count = connection.execute(text("select count(*) from deliveries")).scalar_one()
    assert count == 1


# -- what the worker takes in


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


def test_accepting_and_deleting_reach_the_memory(
    service: Service, settings: Settings, database: Database, page: Any, picture_host: Any
) -> None:
    picture_host.add("/data/upload/6/a.png")
    region = page.region(service.predict(page.request([page.click(1, 30, 40)])))
    upkeep = Upkeep(settings)

    created = accepted(page, region)
    service.webhook(orjson.dumps(created), created)
    assert upkeep.settle() == 1
    assert state_of(database, region["id"]) == "submitted"

    gone = {
        "action": "ANNOTATIONS_DELETED",
        "annotations": [{"id": 7}],
        "project": created["project"],
    }
    service.webhook(orjson.dumps(gone), gone)
    assert upkeep.settle() == 1
    assert state_of(database, region["id"]) == "gone"
    upkeep.close()


@pytest.mark.parametrize(
    "name",
    sorted(p.stem for p in (Path(__file__).parents[2] / "payloads").glob("webhook_*.json")),
)
def test_every_recorded_delivery_can_be_taken_in(
    name: str, service: Service, settings: Settings, database: Database, page: Any
) -> None:
    body = page.recorded(name)
    service.webhook(orjson.dumps(body), body)
    upkeep = Upkeep(settings)

    assert upkeep.settle() == 1
    assert waiting_in(database) == 0
    upkeep.tidy()
    upkeep.close()


def test_the_button_of_label_studio_asks_for_one_training(
    service: Service, settings: Settings, database: Database, page: Any
) -> None:
    body = page.recorded("webhook_START_TRAINING")
    service.webhook(orjson.dumps(body), body)
    upkeep = Upkeep(settings)
    (delivery,) = Deliveries(database).waiting()
    # Taken in twice, as after a crash, when the first training has ended already.
    upkeep._take_in(delivery)
    Jobs(database).cancel(1, "ann")
    upkeep.settle()
    upkeep.close()

    (job,) = Jobs(database).listed()
    assert (job.kind, job.trigger, job.asked_by) == ("training", "label_studio", "Label Studio")
    assert job.project.startswith("1.")


def test_the_clock_goes_on_evenly_whatever_the_wall_s_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Jumping(datetime):
        ahead = timedelta()

        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + cls.ahead

    monkeypatch.setattr(celery_app, "datetime", Jumping)
    every = celery_app.schedule(0.2, nowfun=celery_app._steadily())
    began = every.now()
    Jumping.ahead = timedelta(days=-2)

    assert not every.is_due(began).is_due
    time.sleep(0.25)
    assert every.is_due(began).is_due


# -- the worker itself


@contextmanager
def worker(settings: Settings, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {
        **{name: value for name, value in os.environ.items() if "PHRASECLICK" not in name},
        "PHRASECLICK_DATA": str(settings.data),
        "PHRASECLICK_BROKER_URL": settings.broker_url,
    }
    script = "from backend import work; from backend.settings import Settings; "
    script += "work.run_worker(Settings())"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def until(true: Callable[[], bool], log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.05)


@pytest.mark.slow
def test_the_worker_takes_in_what_waits_and_what_the_bell_announces(
    service: Service, settings: Settings, database: Database, page: Any, tmp_path: Path
) -> None:
    body = page.recorded("webhook_ANNOTATION_CREATED_ui")
    log = tmp_path / "worker.log"
    # Stored by a server that died before it could ring.
    Deliveries(database).store("ANNOTATION_CREATED", 1, orjson.dumps(body))
    with worker(settings, log):
        until(lambda: waiting_in(database) == 0, log)

        started = time.monotonic()
        service.webhook(orjson.dumps(body), body)
        until(lambda: waiting_in(database) == 0, log)
        # Sooner than its clock would have made it look.
        assert time.monotonic() - started < celery_app._TICK_S - 3
    said = log.read_text()
    assert "Traceback" not in said, said[-4000:]


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(
    service: Service, settings: Settings, database: Database, page: Any, tmp_path: Path
) -> None:
    body = page.recorded("webhook_ANNOTATION_CREATED_ui")
    log = tmp_path / "worker.log"
    with worker(settings, log) as first:
        until(lambda: "ready" in log.read_text(), log)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        for _ in range(5):
            service.webhook(orjson.dumps(body), body)
    assert waiting_in(database) == 5

    with worker(settings, log):
        until(lambda: waiting_in(database) == 0, log)


def test_rings_for_different_things_are_all_sent(settings: Settings) -> None:
    settings.data.mkdir(parents=True)
    bell = celery_app.Bell(celery_app.build(settings))
    bell.ring(celery_app.TICK)
    bell.ring(celery_app.ANNOUNCE)
    bell.close()

    sent = "".join(it.read_text() for it in (settings.data / "queue" / "messages").iterdir())
    assert celery_app.TICK in sent
    assert celery_app.ANNOUNCE in sent
