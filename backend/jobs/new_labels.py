"""Which accepted labels are new: what no training has read in the version that it has now.

A training notes what it reads when it begins. Labels of one that failed or was cancelled stay new,
for the next one to learn; but they have been tried, and do not start a training by themselves
again. Else a training that cannot work would be started for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Select, Subquery, func, literal, select

from backend.db import job_tables
from backend.db import sample_tables as sampled
from backend.db.engine import Database, insert_of


@dataclass(frozen=True)
class NewLabels:
    """new: not learned yet. untried: nor read by a training that came to nothing."""

    new: int = 0
    untried: int = 0


def new_labels(database: Database, project: str) -> NewLabels:
    """Of one project, by its key."""
    with database.read() as connection:
        return count(connection, project).get(project, NewLabels())


def count(connection: Connection, project: str | None = None) -> Mapping[str, NewLabels]:
    """Of every project that has any, or of one."""
    counting = _counting(project)
    join = (
        (job_tables.learned.c.project == counting.c.project)
        & (job_tables.learned.c.annotation_id == counting.c.annotation_id)
        & (job_tables.learned.c.updated_at == counting.c.updated_at)
    )
    lost = job_tables.jobs.c.state.in_(("failed", "cancelled"))
    tried = job_tables.learned.c.job_id.is_not(None)
    query = (
        select(
            counting.c.project,
            func.count(),
            func.count().filter(~tried),
        )
        .select_from(counting)
        .outerjoin(job_tables.learned, join)
        .outerjoin(job_tables.jobs, job_tables.jobs.c.id == job_tables.learned.c.job_id)
        .where(~tried | lost)
        .group_by(counting.c.project)
    )
    return {key: NewLabels(new, untried) for key, new, untried in connection.execute(query)}


def read(connection: Connection, project: str, job_id: int) -> None:
    """A training reads all labels that count now. One that was learned before stays so."""
    counting = _counting(project)
    of_job = select(
        counting.c.project,
        counting.c.annotation_id,
        counting.c.updated_at,
        literal(job_id),
    ).where(counting.c.project == project)
    columns = ["project", "annotation_id", "updated_at", "job_id"]
    statement = insert_of(connection, job_tables.learned).from_select(columns, of_job)
    lost = select(job_tables.jobs.c.id).where(job_tables.jobs.c.state.in_(("failed", "cancelled")))
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[job_tables.learned.c.project, job_tables.learned.c.annotation_id],
            set_={"updated_at": statement.excluded.updated_at, "job_id": job_id},
            where=(job_tables.learned.c.updated_at != statement.excluded.updated_at)
            | job_tables.learned.c.job_id.in_(lost),
        )
    )


def _counting(project: str | None) -> Subquery:
    """Annotations that train: living, the one that counts of each picture of each task, and with a
    picture that is what it was (the rules of ``backend.samples.rules``)."""
    annotations, pictures = sampled.annotations, sampled.pictures
    place = func.row_number().over(
        partition_by=[annotations.c.project, annotations.c.task_id, pictures.c.image],
        order_by=[
            annotations.c.ground_truth.desc(),
            annotations.c.updated_at.desc(),
            annotations.c.annotation_id.desc(),
        ],
    )
    columns = (
        annotations.c.project,
        annotations.c.annotation_id,
        annotations.c.updated_at,
        pictures.c.state,
        place.label("place"),
    )
    join = (pictures.c.project == annotations.c.project) & (
        pictures.c.annotation_id == annotations.c.annotation_id
    )
    query: Select[tuple[object, ...]] = (
        select(*columns).join(pictures, join).where(annotations.c.gone_at.is_(None))
    )
    if project is not None:
        query = query.where(annotations.c.project == project)
    ranked = query.subquery()
    return (
        select(ranked.c.project, ranked.c.annotation_id, ranked.c.updated_at)
        .where(ranked.c.place == 1, ranked.c.state == "good")
        .distinct()
        .subquery()
    )
