"""What is gone: annotations, tasks and projects that were deleted, and stay so.

A deletion may be heard of before what it deletes, so each leaves a grave. Only an answer of Label
Studio's that was asked for later lifts it: one that was set back to a backup has old numbers again.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from backend.database import insert_of
from backend.samples import rows


def buried(
    connection: Connection,
    key: str,
    task_id: int,
    row: Row[Any] | None,
    asked_at: datetime | None,
) -> bool:
    """Whether annotation, task or project is gone, and not there again when it was asked for."""
    project = select(rows.projects.c.gone_at).where(rows.projects.c.key == key)
    task = select(rows.tasks.c.gone_at).where(
        rows.tasks.c.project == key, rows.tasks.c.task_id == task_id
    )
    deaths = [
        None if row is None else row.gone_at,
        connection.execute(task).scalar(),
        connection.execute(project).scalar(),
    ]
    return any(death is not None and (asked_at or rows.NEVER) <= death for death in deaths)


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
            insert_of(connection, rows.annotations).values(**values).on_conflict_do_nothing()
        )
        for table in (rows.samples, rows.pictures):
            here = (table.c.project == key) & (table.c.annotation_id == number)
            connection.execute(delete(table).where(here))
        standing = rows.this(key, number) & rows.annotations.c.gone_at.is_(None)
        connection.execute(update(rows.annotations).where(standing).values(gone_at=now))


def bury_task(connection: Connection, key: str, task_id: int, now: datetime) -> None:
    """A task is gone, and all its annotations with it."""
    values = {"project": key, "task_id": task_id, "mark": "", "gone_at": now}
    connection.execute(insert_of(connection, rows.tasks).values(**values).on_conflict_do_nothing())
    here = (rows.tasks.c.project == key) & (rows.tasks.c.task_id == task_id)
    standing = here & rows.tasks.c.gone_at.is_(None)
    connection.execute(update(rows.tasks).where(standing).values(gone_at=now))
    bury(connection, key, living(connection, key, rows.annotations.c.task_id == task_id), now)


def bury_project(connection: Connection, key: str, now: datetime) -> None:
    """A project is gone, and all its annotations with it."""
    standing = (rows.projects.c.key == key) & rows.projects.c.gone_at.is_(None)
    connection.execute(update(rows.projects).where(standing).values(gone_at=now))
    bury(connection, key, living(connection, key), now)


def stands_again(connection: Connection, key: str, task_id: int, asked_at: datetime) -> None:
    """Label Studio has project and task after all."""
    for table, here in (
        (rows.projects, rows.projects.c.key == key),
        (rows.tasks, (rows.tasks.c.project == key) & (rows.tasks.c.task_id == task_id)),
    ):
        lifted = here & (table.c.gone_at < asked_at)
        connection.execute(update(table).where(lifted).values(gone_at=None))


def living(connection: Connection, key: str, *where: Any) -> list[int]:
    """The annotations of a project that are not gone, as far as is known."""
    query = select(rows.annotations.c.annotation_id).where(
        rows.annotations.c.project == key, rows.annotations.c.gone_at.is_(None), *where
    )
    return list(connection.execute(query).scalars())
