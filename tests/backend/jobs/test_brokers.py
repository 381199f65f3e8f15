"""The same job with each broker and database, run by real processes."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backend.db.engine import Database
from backend.jobs.presence import processes
from backend.settings import Settings
from backend.worker.broker import redelivery_s
from backend.worker.celery_app import configuration
from tests.backend.databases import new_database
from tests.backend.jobs.brokers import rabbitmq, redis
from tests.backend.jobs.conftest import PROJECT
from tests.backend.jobs.crew import Crew


@pytest.fixture(params=["files", "redis", "rabbitmq"])
def crew(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Crew]:
    with ExitStack() as running:
        urls = {}
        if request.param != "files":
            server = request.getfixturevalue("postgres")
            urls["database_url"] = new_database(server, f"brokers-{request.param}")
        if request.param == "redis":
            urls["broker_url"] = running.enter_context(redis(tmp_path)).url
        elif request.param == "rabbitmq":
            urls["broker_url"] = running.enter_context(rabbitmq())
        crew = Crew(tmp_path, **urls)
        running.callback(crew.end)
        yield crew


@pytest.mark.slow
def test_a_job_goes_from_its_row_to_a_worker_and_back(crew: Crew) -> None:
    for what in ("support", "training", "scheduler"):
        crew.start(what)
    asked = crew.jobs.enqueue(PROJECT, "training", trigger="hand")

    job = crew.done(asked.id)

    priority = min(19, os.nice(0) + crew.settings.training_nice)
    assert job.result == {"attempt": 1, "nice": priority, "threads": "1"}
    assert [entry["what"] for entry in crew.entries(job.id)] == ["begins", "promotes"]
    assert [process.kind for process in processes(crew.database)] == [
        "worker",
        "training",
        "scheduler",
    ]
    assert all(process.is_running() for process in processes(crew.database))
    crew.end()
    assert processes(Database(crew.settings.resolved_database_url)) == [], "each removed its row"


def test_no_broker_redelivers_a_message_before_the_longest_job_ends() -> None:
    settings = Settings(longest_job_hours=2.5, broker_url="redis://127.0.0.1:1/0")
    longest = 2.5 * 3600

    assert redelivery_s(settings) > longest
    by_redis = configuration(settings)
    assert by_redis["broker_transport_options"]["visibility_timeout"] == redelivery_s(settings)
    for queue in by_redis["task_queues"]:
        assert queue.queue_arguments["x-consumer-timeout"] == redelivery_s(settings) * 1000
    rabbit = configuration(settings.model_copy(update={"broker_url": "amqp://127.0.0.1:1//"}))
    assert rabbit["broker_transport_options"] == {}, "its client has no such option"
