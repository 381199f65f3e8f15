"""What starts a training by itself: enough labels that are new, and the schedules of projects.

Both are decided in one transaction under a project's lock, so that two schedulers at once start
what is due a single time.
"""

import logging
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from backend.db import job_tables
from backend.db.engine import Database
from backend.jobs import cron, new_labels, schedules
from backend.jobs.new_labels import NewLabels
from backend.jobs.queue import ask
from backend.jobs.records import TRAINING, Job
from backend.settings import Settings

_log = logging.getLogger(__name__)


def by_labels(database: Database, settings: Settings, now: datetime) -> list[Job]:
    """Ask for a training of every project with enough new labels; those asked for or put off."""
    if not settings.learn:
        return []
    with database.read() as connection:
        found = {key: each.untried for key, each in new_labels.count(connection).items()}
    asked = []
    for project, untried in found.items():
        job = _by_labels(database, settings, project, untried, now)
        if job is not None:
            asked.append(job)
    return asked


def by_schedule(database: Database, settings: Settings, now: datetime) -> list[Job]:
    """Ask for a training of every project whose schedule is due; those asked for."""
    with database.read() as connection:
        query = select(job_tables.plans.c.project).where(job_tables.plans.c.cron != "")
        projects = list(connection.execute(query).scalars())
    asked = []
    for project in projects:
        job = _by_schedule(database, settings, project, now)
        if job is not None:
            asked.append(job)
    return asked


def _by_labels(
    database: Database, settings: Settings, project: str, untried: int, now: datetime
) -> Job | None:
    with database.read() as connection:
        plan = schedules.plan(connection, project)
    enough = plan.after_labels or settings.learn_after_labels
    if plan.paused or untried < enough:
        return None
    with database.write() as connection:
        job_tables.lock(connection, job_tables.lease_name(TRAINING, project))
        waits = connection.execute(
            select(job_tables.jobs.c.trigger, job_tables.jobs.c.request).where(
                job_tables.jobs.c.project == project,
                job_tables.jobs.c.kind == TRAINING,
                job_tables.jobs.c.state == "queued",
            )
        ).first()
        if waits is None:
            # Under the lock: a training that began meanwhile has read them.
            untried = new_labels.count(connection, project).get(project, NewLabels()).untried
            if untried < enough:
                return None
        elif waits.trigger != "labels" or waits.request.get("labels", 0) >= untried:
            return None  # one is on its way, and nothing came in since it was last put off
        return ask(
            connection,
            project,
            TRAINING,
            trigger="labels",
            due_at=now + timedelta(seconds=settings.learn_debounce_s),
            request={"labels": untried},
            now=now,
        )


def _by_schedule(database: Database, settings: Settings, project: str, now: datetime) -> Job | None:
    with database.write() as connection:
        # A lease's row first, as everybody does who takes both.
        job_tables.lock(connection, job_tables.lease_name(TRAINING, project))
        plan = schedules.locked(connection, project)
        if not plan.cron:
            return None
        due = cron.look(plan.cron, now, plan.due_at, plan.ran_at)
        if not due.now:
            if due.next != plan.due_at:
                _put(connection, project, due_at=due.next)
            return None
        _put(connection, project, due_at=due.next, ran_at=now)
        if plan.paused or not settings.learn:
            return None
        if not new_labels.count(connection, project).get(project, NewLabels()).new:
            _log.info("Project %s: its schedule is due, but no label is new.", project)
            return None
        return ask(connection, project, TRAINING, trigger="schedule", by=plan.cron, now=now)


def _put(connection: Connection, project: str, **values: datetime) -> None:
    here = job_tables.plans.c.project == project
    connection.execute(update(job_tables.plans).where(here).values(values))
