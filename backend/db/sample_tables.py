"""Old names of ``backend.db.locks`` and tables, until every package has moved."""

from sqlalchemy import ColumnElement, Table

from backend.db.locks import NEVER
from backend.db.locks import lock_samples as lock
from backend.db.models import (
    AnnotatedPictureRow,
    AnnotatedTaskRow,
    AnnotationRow,
    SampledProjectRow,
    SampleRow,
)

__all__ = ["NEVER", "annotations", "lock", "pictures", "projects", "samples", "tasks", "this"]

projects: Table = SampledProjectRow.__table__  # type: ignore[assignment]
tasks: Table = AnnotatedTaskRow.__table__  # type: ignore[assignment]
annotations: Table = AnnotationRow.__table__  # type: ignore[assignment]
pictures: Table = AnnotatedPictureRow.__table__  # type: ignore[assignment]
samples: Table = SampleRow.__table__  # type: ignore[assignment]


def this(key: str, number: int) -> ColumnElement[bool]:
    """The row of an annotation."""
    return (annotations.c.project == key) & (annotations.c.annotation_id == number)
