"""What is gone: annotations, tasks and projects that were deleted, and stay so.

A deletion may be heard of before what it deletes, so each leaves a grave. Only an answer of Label
Studio's that was asked for later lifts it: one that was set back to a backup has old numbers again.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from backend.db import sample_tables
from backend.db.engine import insert_of


def buried(
    connection: Connection,
    key: str,
    task_id: int,
    row: Row[Any] | None,
    asked_at: datetime | None,
) -> bool:
    """Whether annotation, task or project is gone, and not there again when it was asked for."""
    project = select(sample_tables.projects.c.gone_at).where(sample_tables.projects.c.key == key)
    task = select(sample_tables.tasks.c.gone_at).where(
        sample_tables.tasks.c.project == key, sample_tables.tasks.c.task_id == task_id
    )
    deaths = [
        None if row is None else row.gone_at,
        connection.execute(task).scalar(),
        connection.execute(project).scalar(),
    ]
    return any(death is not None and (asked_at or sample_tables.NEVER) <= death for death in deaths)


def bury(connection: Connection, key: str, numbers: Iterable[int], now: datetime) -> None:
    """Annotations are gone: their samples go, their graves stay."""
    for number in numbers:
        values = {
            "project": key,
            "annotation_id": number,
            "digest": "",
            "skipped": False,
            "ground_truth": False,
            "left_out": {},
            "gone_at": now,
        }
        connection.execute(
            insert_of(connection, sample_tables.annotations)
            .values(**values)
            .on_conflict_do_nothing()
        )
        for table in (sample_tables.samples, sample_tables.pictures):
            here = (table.c.project == key) & (table.c.annotation_id == number)
            connection.execute(delete(table).where(here))
        standing = sample_tables.this(key, number) & sample_tables.annotations.c.gone_at.is_(None)
        connection.execute(update(sample_tables.annotations).where(standing).values(gone_at=now))


def bury_task(connection: Connection, key: str, task_id: int, now: datetime) -> None:
    """A task is gone, and all its annotations with it."""
    values = {"project": key, "task_id": task_id, "mark": "", "gone_at": now}
    connection.execute(
        insert_of(connection, sample_tables.tasks).values(**values).on_conflict_do_nothing()
    )
    here = (sample_tables.tasks.c.project == key) & (sample_tables.tasks.c.task_id == task_id)
    standing = here & sample_tables.tasks.c.gone_at.is_(None)
    connection.execute(update(sample_tables.tasks).where(standing).values(gone_at=now))
    bury(
        connection,
        key,
        living(connection, key, sample_tables.annotations.c.task_id == task_id),
        now,
    )


def bury_project(connection: Connection, key: str, now: datetime) -> None:
    """A project is gone, and all its annotations with it."""
    standing = (sample_tables.projects.c.key == key) & sample_tables.projects.c.gone_at.is_(None)
    connection.execute(update(sample_tables.projects).where(standing).values(gone_at=now))
    bury(connection, key, living(connection, key), now)


def stands_again(connection: Connection, key: str, task_id: int, asked_at: datetime) -> None:
    """Label Studio has project and task after all."""
    for table, here in (
        (sample_tables.projects, sample_tables.projects.c.key == key),
        (
            sample_tables.tasks,
            (sample_tables.tasks.c.project == key) & (sample_tables.tasks.c.task_id == task_id),
        ),
    ):
        lifted = here & (table.c.gone_at < asked_at)
        connection.execute(update(table).where(lifted).values(gone_at=None))


def living(connection: Connection, key: str, *where: Any) -> list[int]:
    """The annotations of a project that are not gone, as far as is known."""
    query = select(sample_tables.annotations.c.annotation_id).where(
        sample_tables.annotations.c.project == key,
        sample_tables.annotations.c.gone_at.is_(None),
        *where,
    )
    return list(connection.execute(query).scalars())
