"""Which accepted labels are new: no training has read their present version.

A training marks the labels that it reads when it starts. If it fails or is cancelled, they stay
new, and the next training learns from them. But they count as tried and do not start a training by
themselves, or a training that always fails would be started forever.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Select, Subquery, func, literal, select

from backend.db.engine import Database, insert_of
from backend.db.models import AnnotatedPictureRow, AnnotationRow, Job, LearnedLabel

_UNSUCCESSFUL = ("failed", "cancelled")


@dataclass(frozen=True)
class NewLabels:
    """Numbers of labels. new: not learned yet. untried: also not read by a failed training."""

    new: int = 0
    untried: int = 0


def new_labels(database: Database, project: str) -> NewLabels:
    """The new labels of one project, by its key."""
    with database.read() as connection:
        return count(connection, project).get(project, NewLabels())


def count(connection: Connection, project: str | None = None) -> Mapping[str, NewLabels]:
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


def mark_read(connection: Connection, project: str, job_id: int) -> None:
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
    join = (pictures.project == annotations.project) & (
        pictures.annotation_id == annotations.annotation_id
    )
    query: Select[tuple[object, ...]] = (
        select(*columns).join(pictures, join).where(annotations.gone_at.is_(None))
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
