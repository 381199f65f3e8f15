"""Trainings go first: a label teaches today or not, a re-scoring can wait for it."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from backend.jobs import rows
from backend.jobs.records import TRAINING


def training_waits(connection: Connection, since: timedelta = timedelta()) -> bool:
    """Whether a training, due for so long, could run but for a worker to do it."""
    other = rows.jobs.alias()
    runs = select(other.c.id).where(
        other.c.project == rows.jobs.c.project,
        other.c.kind == TRAINING,
        other.c.state == "running",
    )
    paused = select(rows.plans.c.project).where(
        rows.plans.c.project == rows.jobs.c.project, rows.plans.c.paused.is_(True)
    )
    by_itself = rows.jobs.c.trigger.in_(("labels", "schedule"))
    query = select(rows.jobs.c.id).where(
        rows.jobs.c.kind == TRAINING,
        rows.jobs.c.state == "queued",
        rows.jobs.c.due_at <= datetime.now(UTC) - since,
        ~runs.exists(),
        ~(by_itself & paused.exists()),
    )
    return connection.execute(query.limit(1)).first() is not None


def paused(connection: Connection, project: str) -> bool:
    """Whether the project learns only when somebody asks for it in person."""
    query = select(rows.plans.c.paused).where(rows.plans.c.project == project)
    return bool(connection.execute(query).scalar())
