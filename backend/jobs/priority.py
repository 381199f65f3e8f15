"""Trainings go first: a label teaches today or not, a re-scoring can wait for it."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from backend.db import job_tables
from backend.jobs.records import TRAINING


def training_waits(connection: Connection, since: timedelta = timedelta()) -> bool:
    """Whether a training, due for so long, could run but for a worker to do it."""
    other = job_tables.jobs.alias()
    runs = select(other.c.id).where(
        other.c.project == job_tables.jobs.c.project,
        other.c.kind == TRAINING,
        other.c.state == "running",
    )
    paused = select(job_tables.plans.c.project).where(
        job_tables.plans.c.project == job_tables.jobs.c.project, job_tables.plans.c.paused.is_(True)
    )
    by_itself = job_tables.jobs.c.trigger.in_(("labels", "schedule"))
    query = select(job_tables.jobs.c.id).where(
        job_tables.jobs.c.kind == TRAINING,
        job_tables.jobs.c.state == "queued",
        job_tables.jobs.c.due_at <= datetime.now(UTC) - since,
        ~runs.exists(),
        ~(by_itself & paused.exists()),
    )
    return connection.execute(query.limit(1)).first() is not None


def paused(connection: Connection, project: str) -> bool:
    """Whether the project learns only when somebody asks for it in person."""
    query = select(job_tables.plans.c.paused).where(job_tables.plans.c.project == project)
    return bool(connection.execute(query).scalar())
