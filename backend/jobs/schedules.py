"""When each project trains: after how many new labels, on which schedule, or only by hand.

A schedule is a cron expression and one time in the database, its next run. If the wall clock jumps,
at most one run is early or late (``next_run``).
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from croniter import CroniterError, croniter
from sqlalchemy import Connection, select, update

from backend.db.engine import Database, lock_schedule, records
from backend.db.models import Schedule
from backend.errors import JobError


class _Unchanged:
    """A default where None has a meaning."""


UNCHANGED: Final = _Unchanged()


class Schedules:
    """The table of schedules. Thread-safe; processes share the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, project: str) -> Schedule:
        """The schedule of a project key; the default if it was never changed."""
        with self._database.read() as connection:
            return read_schedule(connection, project)

    def all(self) -> list[Schedule]:
        """The schedules that were ever changed."""
        with self._database.read() as connection:
            return records(connection, select(Schedule).order_by(Schedule.project))

    def change(
        self,
        project: str,
        by: str,
        *,
        paused: bool | None = None,
        after_labels: int | _Unchanged | None = UNCHANGED,
        cron: str | None = None,
        now: datetime | None = None,
    ) -> Schedule:
        """Change what is given.

        Args:
            by: who changes it.
            after_labels: new labels that start a training; None: the number in the settings.
            cron: five fields, UTC; '' for no schedule.

        Raises JobError for an invalid cron expression or number.
        """
        now = now or datetime.now(UTC)
        changes: dict[str, Any] = {"changed_by": by[:254], "changed_at": now}
        if paused is not None:
            changes["paused"] = paused
        if not isinstance(after_labels, _Unchanged):
            if after_labels is not None and after_labels < 1:
                raise JobError("A training needs at least one new label.")
            changes["after_labels"] = after_labels
        if cron is not None:
            cron = " ".join(cron.split())
            if cron:
                check_cron(cron)
            changes |= {"cron": cron, "due_at": next_run(cron, now) if cron else None}
        with self._database.write() as connection:
            lock_schedule(connection, project)
            here = Schedule.project == project
            connection.execute(update(Schedule).where(here).values(**changes))
            return read_schedule(connection, project)


def read_schedule(connection: Connection, project: str) -> Schedule:
    """The schedule of a project key; the default if it was never changed."""
    schedules = records(connection, select(Schedule).where(Schedule.project == project))
    return schedules[0] if schedules else Schedule(project=project)


def check_cron(cron: str) -> None:
    """Raise JobError unless it is a cron expression with a future run."""
    try:
        if len(cron.split(" ")) != 5 or len(cron) > 100:
            raise ValueError("five fields, at most 100 characters")
        if re.search(r"(?<![a-z])[hr](?![a-z])", cron, re.IGNORECASE):
            raise ValueError("no random fields")  # croniter's H and R
        next_run(cron, datetime.fromisoformat("2026-01-01T00:00:00Z"))
    except (CroniterError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise JobError(
            f"Cannot read the schedule {cron!r} ({error}). Write minute, hour, day, month and day "
            "of the week, for example '0 3 * * *' for every night at 3 (UTC)."
        ) from None


def next_run(cron: str, now: datetime, planned: datetime | None = None) -> datetime:
    """The next run (UTC): as planned, but no later than the second time from now.

    If the wall clock was set forward, a planned run may be far in the future; this bound brings it
    back. It is the second time and not the first, so that setting the clock back over a run does
    not repeat it. So a jump of the clock makes at most one run early or late.
    """
    times = croniter(cron, now)
    first: datetime = times.get_next(datetime)
    second: datetime = times.get_next(datetime)
    return first if planned is None else min(planned, second)
