"""When each project trains: after how many new labels, on which schedule, or only by hand.

A schedule is a cron expression and one time in the database, its next run.

A label is new until a training reads its present version. A training marks the labels that it reads
when it starts. If it fails or is cancelled, they stay new, and the next training learns from them.
But they count as tried and do not start a training by themselves, or a training that always fails
would be started forever.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from croniter import CroniterError, croniter
from sqlalchemy import Connection, Select, Subquery, func, literal, select
from sqlalchemy.orm import Session

from backend.db.engine import Database, insert_of, records
from backend.db.models import (
    AnnotatedPictureRow,
    AnnotationRow,
    Job,
    LearnedLabel,
    Schedule,
    lock_schedule,
    same_annotation,
)
from backend.errors import JobError


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
        return self._database.records(select(Schedule).order_by(Schedule.project))

    def change(
        self,
        project: str,
        by: str,
        *,
        paused: bool | None = None,
        after_labels: int | None = None,
        cron: str | None = None,
        now: datetime | None = None,
    ) -> Schedule:
        """Change what is given.

        Args:
            by: who changes it.
            after_labels: new labels that start a training; 0: the number in the settings.
            cron: five fields, UTC; '' for no schedule.

        Raises JobError for an invalid cron expression.
        """
        now = now or datetime.now(UTC)
        with self._database.write() as connection, Session(connection) as session:
            lock_schedule(connection, project)
            schedule = session.get_one(Schedule, project)
            schedule.changed_by, schedule.changed_at = by[:254], now
            if paused is not None:
                schedule.paused = paused
            if after_labels is not None:
                schedule.after_labels = after_labels or None
            if cron is not None:
                schedule.cron = " ".join(cron.split())
                if schedule.cron:
                    check_cron(schedule.cron)
                schedule.due_at = next_run(schedule.cron, now) if schedule.cron else None
            session.flush()
            return schedule


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


def next_run(cron: str, now: datetime) -> datetime:
    """The first time after now that a cron expression names (UTC)."""
    first: datetime = croniter(cron, now).get_next(datetime)
    return first


_UNSUCCESSFUL = ("failed", "cancelled")


@dataclass(frozen=True)
class NewLabels:
    """Numbers of labels. new: not learned yet. untried: also not read by a failed training."""

    new: int = 0
    untried: int = 0


def new_labels(database: Database, project: str) -> NewLabels:
    with database.read() as connection:
        return count_new_labels(connection, project).get(project, NewLabels())


def count_new_labels(connection: Connection, project: str | None = None) -> Mapping[str, NewLabels]:
    """Project key -> new labels, of all projects that have any, or of one."""
    labels = _labels(project)
    same = (
        (LearnedLabel.project == labels.c.project)
        & (LearnedLabel.annotation_id == labels.c.annotation_id)
        & (LearnedLabel.updated_at == labels.c.updated_at)
    )
    tried = LearnedLabel.job_id.is_not(None)
    query = (
        select(labels.c.project, func.count(), func.count().filter(~tried))
        .select_from(labels)
        .outerjoin(LearnedLabel, same)
        .outerjoin(Job, Job.id == LearnedLabel.job_id)
        .where(~tried | Job.state.in_(_UNSUCCESSFUL))
        .group_by(labels.c.project)
    )
    return {key: NewLabels(new, untried) for key, new, untried in connection.execute(query)}


def mark_labels_read(connection: Connection, project: str, job_id: int) -> None:
    """Mark all labels of a project as read by this training; learned ones stay as they are."""
    labels = _labels(project)
    rows = select(
        labels.c.project, labels.c.annotation_id, labels.c.updated_at, literal(job_id)
    ).where(labels.c.project == project)
    columns = ["project", "annotation_id", "updated_at", "job_id"]
    statement = insert_of(connection, LearnedLabel).from_select(columns, rows)
    unsuccessful = select(Job.id).where(Job.state.in_(_UNSUCCESSFUL))
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[LearnedLabel.project, LearnedLabel.annotation_id],
            set_={"updated_at": statement.excluded.updated_at, "job_id": job_id},
            where=(LearnedLabel.updated_at != statement.excluded.updated_at)
            | LearnedLabel.job_id.in_(unsuccessful),
        )
    )


def _labels(project: str | None) -> Subquery:
    """Annotations to train on: not deleted, the one that counts for each picture of a task, and
    with an unchanged picture (the rules of ``backend.samples.rules``)."""
    annotations, pictures = AnnotationRow, AnnotatedPictureRow
    rank = func.row_number().over(
        partition_by=[annotations.project, annotations.task_id, pictures.image],
        order_by=[
            annotations.ground_truth.desc(),
            annotations.updated_at.desc(),
            annotations.annotation_id.desc(),
        ],
    )
    columns = (
        annotations.project,
        annotations.annotation_id,
        annotations.updated_at,
        pictures.state,
        rank.label("rank"),
    )
    query: Select[tuple[object, ...]] = (
        select(*columns)
        .join(pictures, same_annotation(pictures, annotations))
        .where(annotations.gone_at.is_(None))
    )
    if project is not None:
        query = query.where(annotations.project == project)
    ranked = query.subquery()
    return (
        select(ranked.c.project, ranked.c.annotation_id, ranked.c.updated_at)
        .where(ranked.c.rank == 1, ranked.c.state == "good")
        .distinct()
        .subquery()
    )
