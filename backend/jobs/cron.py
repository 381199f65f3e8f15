"""When a schedule is due, whatever the clock does.

A cron line is about the wall clock, and wall clocks jump. Three rules make that harmless: runs that
were missed are one run; a slot that the last run has covered does not run again when the clock goes
back over it; and no run is further away than the slot after the next one, however far ahead a wrong
clock once was.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from croniter import CroniterError, croniter

from backend.errors import JobError


@dataclass(frozen=True)
class Due:
    """Whether to run now, and when next."""

    now: bool
    next: datetime


def check(cron: str) -> None:
    """Raise JobError unless it is a cron line that comes true at some time."""
    fields = cron.split(" ")
    try:
        if len(fields) != 5 or len(cron) > 100:
            raise ValueError("five fields, a hundred characters at most")
        if re.search(r"(?<![a-z])[hr](?![a-z])", cron, re.IGNORECASE):
            raise ValueError("nothing left to chance")  # croniter's own H and R
        next_time(cron, datetime.fromisoformat("2026-01-01T00:00:00Z"))
    except (CroniterError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise JobError(
            f"The schedule {cron!r} cannot be read ({error}). Write minute, hour, day, month and "
            "day of the week, as in '0 3 * * *' for every night at three (UTC)."
        ) from None


def next_time(cron: str, after: datetime) -> datetime:
    """The first slot after a time (UTC)."""
    found: datetime = croniter(cron, after).get_next(datetime)
    return found


def look(cron: str, now: datetime, due_at: datetime | None, ran_at: datetime | None) -> Due:
    """Where a schedule stands. due_at: when it is due, as it was found last; ran_at: its last run,
    by the clock of that time."""
    coming = next_time(cron, now)
    if due_at is None:
        return Due(False, coming)
    if due_at <= now:
        return Due(True, coming)
    if due_at <= coming:
        return Due(False, due_at)
    # The clock went back since: it is due later than the next slot.
    if ran_at is None or ran_at < coming:
        return Due(False, coming)
    return Due(False, min(due_at, next_time(cron, coming)))
