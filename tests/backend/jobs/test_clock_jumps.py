"""Real workers and a real scheduler whose wall clock jumps."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from backend.db.models import Schedule
from backend.jobs.schedules import Schedules
from tests.backend.databases import _run_sql
from tests.backend.jobs.brokers import Redis, redis_server
from tests.backend.jobs.conftest import PROJECT, Team
from tests.backend.jobs.crew import Crew

__all__ = ["redis_server"]

pytestmark = pytest.mark.slow


class Clock:
    """The wall clock of a crew's processes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump("+0")

    def jump(self, to: str) -> None:
        """Set the offset from the true time: "+26h", "-2h"."""
        # Replaced atomically: an empty file would mean the true time.
        written = self._file.with_suffix(".new")
        written.write_text(to)
        written.replace(self._file)
        time.sleep(2.5)  # the processes read the file again within two seconds

    def environment(self) -> dict[str, str]:
        """The environment of processes that use this clock."""
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        assert libraries, "libfaketime is not installed; on Debian: apt-get install libfaketime"
        return {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "NO_FAKE_STAT": "1",  # file times stay true, so imports stay fast
            # Setting the wall clock does not change the monotonic one.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def crew(clock: Clock, tmp_path: Path, postgres: str, redis_server: Redis) -> Iterator[Crew]:
    _run_sql(postgres, 'CREATE DATABASE "jumps" TEMPLATE "template"')
    crew = Crew(tmp_path, database_url=f"{postgres}/jumps", broker_url=redis_server.url)
    crew.environment = clock.environment()
    for what in ("support", "training", "training", "scheduler"):
        crew.start(what)
    yield crew
    crew.end()


def by_schedule(crew: Crew) -> list[int]:
    return [job.id for job in crew.jobs.listed(PROJECT) if job.trigger == "schedule"]


def heartbeat(crew: Crew, number: int) -> datetime:
    """The last heartbeat, by the worker's clock."""
    heartbeat_at = crew.jobs.get(number).heartbeat_at
    assert heartbeat_at is not None
    return heartbeat_at


def test_a_clock_that_jumps_stops_nothing_and_starts_nothing_twice(
    crew: Crew, clock: Clock
) -> None:
    # given: a running job, and a schedule that is due in half an hour
    runs = crew.jobs.enqueue("1.1", "training", trigger="hand", request={"seconds": 15})
    crew.does(runs.id)
    Team(crew.database).accept(2)
    minute = (datetime.now(UTC).minute + 30) % 60
    Schedules(crew.database).change(PROJECT, "ann", cron=f"{minute} * * * *")
    plan = select(Schedule.due_at).where(Schedule.project == PROJECT)

    def planned() -> bool:
        with crew.database.read() as connection:
            return connection.execute(plan).scalar() is not None

    crew.until(planned)
    # when: a day and two hours ahead, beyond the broker's redelivery time too
    clock.jump("+26h")
    jumped = time.monotonic()
    crew.until(lambda: bool(by_schedule(crew)))
    crew.done(by_schedule(crew)[0])
    crew.until(lambda: (heartbeat(crew, runs.id) - datetime.now(UTC)).total_seconds() > 25 * 3600)
    # when: back, to before the true time
    Team(crew.database, labels=10).accept(2)
    clock.jump("-2h")
    late = crew.jobs.enqueue("2.1", "training", trigger="hand")
    asked = time.monotonic()
    assert crew.done(late.id).attempts == 1
    # then: no job waited for hours, nothing was due twice, and the running job continued
    assert time.monotonic() - asked < 30
    assert (datetime.now(UTC) - heartbeat(crew, late.id)).total_seconds() > 3600
    assert crew.done(runs.id).attempts == 1
    assert [entry["what"] for entry in crew.entries(runs.id)] == ["begins", "promotes"]
    assert crew.entries(runs.id)[0]["at"] < jumped < crew.entries(runs.id)[1]["at"]
    assert len(by_schedule(crew)) == 1
    # when: to the true time, past two runs of the schedule; they become one
    clock.jump("+0")
    crew.until(lambda: len(by_schedule(crew)) > 1)
    last = crew.jobs.enqueue("3.1", "training", trigger="hand")
    for number in (last.id, *by_schedule(crew)):
        assert crew.done(number).attempts == 1
    time.sleep(2)  # one more tick of the scheduler
    assert len(by_schedule(crew)) == 2
