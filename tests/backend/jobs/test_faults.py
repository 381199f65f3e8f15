"""Real workers that are killed, suspended, started twice, or lose their broker.

No job is lost, runs twice at once, or is finished by a worker that lost it.
"""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from backend.db.models import Job
from tests.backend.databases import new_database
from tests.backend.jobs.brokers import Redis, redis_server
from tests.backend.jobs.crew import Crew

__all__ = ["redis_server"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crew(
    tmp_path_factory: pytest.TempPathFactory, postgres: str, redis_server: Redis
) -> Iterator[Crew]:
    """A support worker, two training workers, a scheduler."""
    crew = Crew(
        tmp_path_factory.mktemp("crew"),
        database_url=new_database(postgres, "faults"),
        broker_url=redis_server.url,
    )
    for what in ("support", "training", "training", "scheduler"):
        crew.start(what)
    yield crew
    crew.end()


AWAY_S = 22.0


def ask(crew: Crew, project: str, **request: object) -> Job:
    return crew.jobs.enqueue(project, "training", trigger="hand", request=request)


def test_a_killed_worker_s_job_is_taken_over(crew: Crew) -> None:
    job = ask(crew, "3.1", seconds=4)
    killed = crew.does(job.id)
    crew.until(lambda: crew.jobs.get(job.id).phase == "learning")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    crew.start("training")  # as the supervisor does

    done = crew.done(job.id)
    assert done.attempts == 2
    assert done.result is not None
    assert done.result["attempt"] == 2
    assert [entry["what"] for entry in crew.entries(job.id)] == ["begins", "begins", "promotes"]
    assert any("died in phase learning" in line.line for line in crew.jobs.log(job.id))


def test_a_worker_that_wakes_up_after_its_lease_can_neither_promote_nor_finish(crew: Crew) -> None:
    job = ask(crew, "4.1", seconds=3, heedless=True)
    asleep = crew.does(job.id)
    os.kill(asleep.pid, signal.SIGSTOP)
    try:
        done = crew.done(job.id)
    finally:
        os.kill(asleep.pid, signal.SIGCONT)
    assert done.attempts == 2

    # It continues, and the fence stops it; then it can run the next job.
    ready = [ask(crew, f"{n}.1", seconds=3) for n in (5, 6)]
    for next_job in ready:
        crew.done(next_job.id)
    assert asleep.pid in {crew.entries(next_job.id)[0]["process"] for next_job in ready}
    promoted = [entry for entry in crew.entries(job.id) if entry["what"] == "promotes"]
    assert len(promoted) == 1
    assert promoted[0]["process"] != asleep.pid
    assert crew.jobs.get(job.id) == done


def test_a_broker_that_loses_everything_loses_no_job(crew: Crew, redis_server: Redis) -> None:
    # given: both workers are busy, and a message waits
    run = [ask(crew, f"7.{n}", seconds=AWAY_S - 2) for n in range(2)]
    waits = ask(crew, "8.1")
    for job in run:
        crew.does(job.id)
    crew.until(lambda: redis_server.waiting("training") > 0)
    # when: the broker is killed, for longer than a client retries
    redis_server.kill()
    gone = time.monotonic()
    late = ask(crew, "8.2")
    for job in run:
        assert crew.done(job.id).attempts == 1, "it went on without its broker"
    time.sleep(max(0.0, gone + AWAY_S - time.monotonic()))
    assert {crew.jobs.get(waiting_job.id).state for waiting_job in (waits, late)} == {"queued"}
    redis_server.start()
    # then
    back = time.monotonic()
    for job in (waits, late):
        assert crew.done(job.id).attempts == 1
        assert [entry["what"] for entry in crew.entries(job.id)] == ["begins", "promotes"]
    print(f"{time.monotonic() - back:.0f} s after the broker was back")
