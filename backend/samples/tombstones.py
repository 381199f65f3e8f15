"""Deleted annotations, tasks and projects, and how they stay deleted.

A webhook may report a deletion before what it deletes, so each deletion leaves a tombstone:
``gone_at`` in the row. Only a later answer of Label Studio's API removes it, because a Label Studio
that was restored from a backup assigns old numbers again.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, select, update

from backend.db.engine import NEVER, insert_of
from backend.db.models import (
    AnnotatedPictureRow,
    AnnotatedTaskRow,
    AnnotationRow,
    SampledProjectRow,
    SampleRow,
)


def annotation_is(key: str, number: int) -> ColumnElement[bool]:
    """The row of an annotation."""
    return (AnnotationRow.project == key) & (AnnotationRow.annotation_id == number)


def task_is(key: str, task_id: int) -> ColumnElement[bool]:
    """The row of a task."""
    return (AnnotatedTaskRow.project == key) & (AnnotatedTaskRow.task_id == task_id)


def is_deleted(
    connection: Connection,
    key: str,
    task_id: int,
    row: Row[Any] | None,
    asked_at: datetime | None,
) -> bool:
    """Whether annotation (``row``), task or project was deleted after ``asked_at``."""
    project = select(SampledProjectRow.gone_at).where(SampledProjectRow.key == key)
    task = select(AnnotatedTaskRow.gone_at).where(task_is(key, task_id))
    deletions = [
        None if row is None else row.gone_at,
        connection.execute(task).scalar(),
        connection.execute(project).scalar(),
    ]
    return any(gone is not None and (asked_at or NEVER) <= gone for gone in deletions)


def delete_annotations(
    connection: Connection, key: str, numbers: Iterable[int], now: datetime
) -> None:
    """Delete the samples of annotations and leave tombstones."""
    for number in numbers:
        connection.execute(
            insert_of(connection, AnnotationRow)
            .values(project=key, annotation_id=number, gone_at=now)
            .on_conflict_do_nothing()
        )
        connection.execute(
            delete(SampleRow).where(SampleRow.project == key, SampleRow.annotation_id == number)
        )
        connection.execute(
            delete(AnnotatedPictureRow).where(
                AnnotatedPictureRow.project == key, AnnotatedPictureRow.annotation_id == number
            )
        )
        live = annotation_is(key, number) & AnnotationRow.gone_at.is_(None)
        connection.execute(update(AnnotationRow).where(live).values(gone_at=now))


def delete_task(connection: Connection, key: str, task_id: int, now: datetime) -> None:
    """Delete a task with all its annotations."""
    connection.execute(
        insert_of(connection, AnnotatedTaskRow)
        .values(project=key, task_id=task_id, gone_at=now)
        .on_conflict_do_nothing()
    )
    live = task_is(key, task_id) & AnnotatedTaskRow.gone_at.is_(None)
    connection.execute(update(AnnotatedTaskRow).where(live).values(gone_at=now))
    of_task = live_annotations(connection, key, AnnotationRow.task_id == task_id)
    delete_annotations(connection, key, of_task, now)


def delete_project(connection: Connection, key: str, now: datetime) -> None:
    """Delete a project with all its annotations."""
    live = (SampledProjectRow.key == key) & SampledProjectRow.gone_at.is_(None)
    connection.execute(update(SampledProjectRow).where(live).values(gone_at=now))
    delete_annotations(connection, key, live_annotations(connection, key), now)


def restore_task(connection: Connection, key: str, task_id: int, asked_at: datetime) -> None:
    """Remove older tombstones of a task and its project: Label Studio has both."""
    connection.execute(
        update(SampledProjectRow)
        .where(SampledProjectRow.key == key, SampledProjectRow.gone_at < asked_at)
        .values(gone_at=None)
    )
    connection.execute(
        update(AnnotatedTaskRow)
        .where(task_is(key, task_id), AnnotatedTaskRow.gone_at < asked_at)
        .values(gone_at=None)
    )


def live_annotations(connection: Connection, key: str, *where: ColumnElement[bool]) -> list[int]:
    """The annotations of a project that are not deleted, as far as is known."""
    query = select(AnnotationRow.annotation_id).where(
        AnnotationRow.project == key, AnnotationRow.gone_at.is_(None), *where
    )
    return list(connection.execute(query).scalars())
