"""The tables of samples as statements name them, and the lock under which they change."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, select

from backend.db.engine import insert_of
from backend.db.models.core import (
    AnnotatedPictureRow,
    AnnotatedTaskRow,
    AnnotationRow,
    SampledProjectRow,
    SampleRow,
)

# Before every time that is ever compared with it.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)

projects: Table = SampledProjectRow.__table__  # type: ignore[assignment]
tasks: Table = AnnotatedTaskRow.__table__  # type: ignore[assignment]
annotations: Table = AnnotationRow.__table__  # type: ignore[assignment]
pictures: Table = AnnotatedPictureRow.__table__  # type: ignore[assignment]
samples: Table = SampleRow.__table__  # type: ignore[assignment]


def lock(connection: Connection, key: str) -> Row[Any]:
    """Take a project's lock, and read its row."""
    query = select(projects).where(projects.c.key == key).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        values = {"key": key, "label_config": "", "error": ""}
        connection.execute(
            insert_of(connection, projects).values(**values).on_conflict_do_nothing()
        )
        row = connection.execute(query).one()
    return row


def this(key: str, number: int) -> ColumnElement[bool]:
    """The row of an annotation."""
    return (annotations.c.project == key) & (annotations.c.annotation_id == number)
