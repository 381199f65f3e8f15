"""What Label Studio says of an annotation's making: its lead time, and its maker as drafts do.

Written when an annotation's version is taken in, so it knows no order either: the newest counts.
"""

from sqlalchemy import Connection, Table

from backend.db.engine import insert_of
from backend.db.models.reports import AnnotationTimeRow
from backend.label_studio.annotations import Annotation

_times: Table = AnnotationTimeRow.__table__  # type: ignore[assignment]


def note(connection: Connection, key: str, annotation: Annotation) -> None:
    """Of a version that counts."""
    told = {"lead_time": annotation.lead_time, "owner": annotation.owner}
    values = {"project": key, "annotation_id": annotation.id, "drawn": "", "through": 0, **told}
    connection.execute(
        insert_of(connection, _times)
        .values(**values)
        .on_conflict_do_update(index_elements=[_times.c.project, _times.c.annotation_id], set_=told)
    )
