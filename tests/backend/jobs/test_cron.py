"""Schedules by a wall clock that jumps."""

from datetime import UTC, datetime, timedelta

import pytest

from backend.errors import JobError
from backend.jobs.cron import check, look

NIGHTLY = "0 3 * * *"
DAY = timedelta(days=1)


def at(hour: int, minute: int = 0, second: int = 0, day: int = 10) -> datetime:
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)


class Schedule:
    """A row of one schedule, at which some scheduler looks."""

    def __init__(self, cron: str = NIGHTLY) -> None:
        self.cron = cron
        self.due_at: datetime | None = None
        self.ran_at: datetime | None = None
        self.runs: list[datetime] = []

    def look(self, now: datetime) -> bool:
        due = look(self.cron, now, self.due_at, self.ran_at)
        self.due_at = due.next
        if due.now:
            self.ran_at = now
            self.runs.append(now)
        return due.now

    def pass_by(self, start: datetime, end: datetime, step: timedelta) -> None:
        while start < end:
            self.look(start)
            start += step


def test_it_runs_once_every_night() -> None:
    schedule = Schedule()
    schedule.pass_by(at(12), at(12) + 3 * DAY, timedelta(minutes=7))

    assert [run.day for run in schedule.runs] == [11, 12, 13]
    assert all(run.hour == 3 and run.minute < 7 for run in schedule.runs)


def test_what_was_missed_runs_once() -> None:
    schedule = Schedule()
    schedule.look(at(12))
    schedule.look(at(12) + 5 * DAY)
    schedule.look(at(12) + 5 * DAY)

    assert len(schedule.runs) == 1
    assert schedule.due_at == at(3, day=16)


def test_a_clock_that_goes_back_over_a_run_does_not_repeat_it() -> None:
    schedule = Schedule()
    schedule.look(at(2, 59))
    assert schedule.look(at(3, 0, 10))
    schedule.pass_by(at(2, 30), at(12), timedelta(minutes=1))
    assert len(schedule.runs) == 1

    schedule.pass_by(at(12), at(12) + DAY, timedelta(minutes=1))
    assert len(schedule.runs) == 2


def test_two_schedulers_whose_clocks_differ_run_it_once() -> None:
    schedule = Schedule()
    now = at(2, 50)
    while now < at(3, 10):
        schedule.look(now)
        schedule.look(now - timedelta(seconds=3))
        now += timedelta(seconds=1)

    assert len(schedule.runs) == 1


def test_a_clock_that_jumps_ahead_and_back_runs_it_once_more_at_most() -> None:
    schedule = Schedule()
    schedule.look(at(12))
    assert schedule.look(at(12) + 365 * DAY)
    schedule.pass_by(at(12, 1), at(12) + 3 * DAY, timedelta(minutes=10))

    # The run ahead of time stood for the next one; from then on all is as ever.
    assert [run.day for run in schedule.runs[1:]] == [12, 13]


def test_a_clock_that_was_ahead_when_the_schedule_was_made_delays_nothing() -> None:
    schedule = Schedule()
    schedule.look(at(12) + 365 * DAY)
    schedule.pass_by(at(12), at(12) + DAY, timedelta(minutes=10))

    assert [run.day for run in schedule.runs] == [11]


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 3 * * mon", "0 0 1 1 *", "0 3 * * mon#1"])
def test_cron_lines_are_taken(cron: str) -> None:
    check(cron)


@pytest.mark.parametrize(
    "cron", ["", "nightly", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "R * * * *"]
)
def test_what_is_no_cron_line_is_a_sentence(cron: str) -> None:
    with pytest.raises(JobError, match="minute, hour, day, month"):
        check(cron)
