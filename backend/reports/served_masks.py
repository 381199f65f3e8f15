"""Keeps each mask as it was served: later it is held against the one that was accepted.

Written in the transaction that completes the log, already packed, so that a click pays for one row
more and nothing else.
"""

from datetime import datetime

from sqlalchemy import Connection, Table, insert

from backend.db.models.reports import ServedMaskRow
from backend.db.packed_mask import PackedMask
from backend.label_studio.payloads import Project

_served: Table = ServedMaskRow.__table__  # type: ignore[assignment]

# Built once: building a statement costs more than running it.
_KEEP = insert(_served)


def keep(
    connection: Connection,
    project: Project,
    task_id: int,
    target: tuple[int, str, int],
    request_id: str,
    packed: PackedMask,
    at: datetime,
) -> None:
    """``target``: its number, its region's id, its turn."""
    number, region_id, turn = target
    connection.execute(
        _KEEP,
        {
            "request_id": request_id,
            "project": project.key,
            "task_id": task_id,
            "target_id": number,
            "region_id": region_id,
            "turn": turn,
            "created_at": at,
            "width": packed.width,
            "height": packed.height,
            "mask": packed.data,
        },
    )
