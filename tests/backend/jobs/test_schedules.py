"""Cron expressions, and the next run when the wall clock jumps."""

from datetime import UTC, datetime, timedelta

import pytest

from backend.errors import JobError
from backend.jobs.schedules import check_cron, next_run

NIGHTLY = "0 3 * * *"
DAY = timedelta(days=1)


def at(hour: int, minute: int = 0, day: int = 10) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def test_the_next_run_is_the_first_time_of_the_cron_expression() -> None:
    assert next_run(NIGHTLY, at(12)) == at(3, day=11)
    assert next_run(NIGHTLY, at(3)) == at(3, day=11)


def test_a_planned_run_stays_as_planned() -> None:
    assert next_run(NIGHTLY, at(12), at(3, day=11)) == at(3, day=11)


def test_a_clock_set_back_over_a_run_does_not_repeat_it() -> None:
    after_the_run = next_run(NIGHTLY, at(3))

    assert next_run(NIGHTLY, at(2, 30), after_the_run) == at(3, day=11)


def test_a_run_planned_by_a_clock_far_ahead_comes_back_to_the_second_time() -> None:
    planned = next_run(NIGHTLY, at(12) + 365 * DAY)

    assert next_run(NIGHTLY, at(12), planned) == at(3, day=12)


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 3 * * mon", "0 0 1 1 *", "0 3 * * mon#1"])
def test_cron_expressions_are_accepted(cron: str) -> None:
    check_cron(cron)


@pytest.mark.parametrize(
    "cron", ["", "nightly", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "R * * * *"]
)
def test_other_text_is_refused(cron: str) -> None:
    with pytest.raises(JobError, match="minute, hour, day, month"):
        check_cron(cron)
