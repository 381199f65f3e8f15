"""Cron expressions and their next run."""

from datetime import UTC, datetime

import pytest

from backend.db.engine import Database
from backend.errors import JobError
from backend.jobs.schedules import Schedules, check_cron, next_run
from tests.backend.jobs.conftest import PROJECT


@pytest.mark.parametrize("hour", [3, 12])
def test_the_next_run_is_the_first_later_time_of_the_cron_expression(hour: int) -> None:
    now = datetime(2026, 11, 10, hour, tzinfo=UTC)

    assert next_run("0 3 * * *", now) == datetime(2026, 11, 11, 3, tzinfo=UTC)


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 3 * * mon", "0 0 1 1 *", "0 3 * * mon#1"])
def test_cron_expressions_are_accepted(cron: str) -> None:
    check_cron(cron)


@pytest.mark.parametrize(
    "cron", ["", "nightly", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "R * * * *"]
)
def test_other_text_is_refused(cron: str) -> None:
    with pytest.raises(JobError, match="minute, hour, day, month"):
        check_cron(cron)


def test_an_invalid_schedule_is_refused(database: Database) -> None:
    schedules = Schedules(database)
    with pytest.raises(JobError, match="Cannot read"):
        schedules.change(PROJECT, "ann", cron="every night")
    assert schedules.all() == []
