"""Every mask as it was served (``interaction.mask_history`` stores them), to compare it with the
accepted one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from backend.db.models import ServedMaskRow
from backend.db.packed_mask import PackedMask

# Some builds of SQLite refuse statements with more values.
_TARGETS_AT_ONCE = 500


@dataclass(frozen=True)
class Served:
    """A mask that was served. ``request``: that of its events, or of none."""

    request: str
    target: int
    mask: PackedMask


def of_targets(connection: Connection, targets: Sequence[int]) -> list[Served]:
    """The masks served for these targets, oldest first."""
    row = ServedMaskRow
    columns = select(row.id, row.request_id, row.target_id, row.width, row.height, row.mask)
    found: list[Any] = []
    for start in range(0, len(targets), _TARGETS_AT_ONCE):
        some = targets[start : start + _TARGETS_AT_ONCE]
        found += connection.execute(columns.where(row.target_id.in_(some))).all()
    return [
        Served(request, target, PackedMask(width, height, bytes(mask)))
        for _, request, target, width, height, mask in sorted(found, key=lambda mask: mask.id)
    ]
