"""How a region was made, step by step, with the mask that each step led to."""

from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select

from backend.db import sample_tables
from backend.db.models.core import EventRow
from backend.db.models.reports import RegionCostRow, ServedMaskRow
from backend.db.packed_mask import PackedMask
from backend.reports.records import ServedStep

_costs: Table = RegionCostRow.__table__  # type: ignore[assignment]
_served: Table = ServedMaskRow.__table__  # type: ignore[assignment]
_events: Table = EventRow.__table__  # type: ignore[assignment]

# Nobody clicks that often on one object; a script that does shall not fill the memory with masks.
_MOST = 1_000


def history(
    connection: Connection,
    project: str,
    task_id: int,
    region_id: str,
    annotation_id: int | None = None,
) -> list[ServedStep]:
    """See ``Reports.history``. Steps of an object that was never accepted have no IoU."""
    annotation, targets = _targets(connection, project, task_id, region_id, annotation_id)
    it = _events.c
    events = select(_events).where(it.project == project, it.task_id == task_id)
    events = events.where(it.target_id.in_(targets) if targets else it.region_id == region_id)
    found = connection.execute(events.order_by(it.id).limit(_MOST)).mappings().all()
    masks = _masks(connection, sorted({row["target_id"] for row in found} - {None}))
    accepted = _accepted(connection, project, annotation, region_id)
    last = {row["request_id"]: row["id"] for row in found if row["request_id"]}
    steps = []
    for row in found:
        # Two clicks of one request are answered by one mask: it stands at the second.
        mask = masks.get(row["request_id"]) if last.get(row["request_id"]) == row["id"] else None
        iou = mask.iou(accepted) if mask is not None and accepted is not None else None
        steps.append(_step(row, mask, iou))
    return steps


def accepted_mask(
    connection: Connection, project: str, annotation_id: int, region_id: str
) -> PackedMask | None:
    """The mask that an annotation holds of a region."""
    return _accepted(connection, project, annotation_id, region_id)


def _targets(
    connection: Connection,
    project: str,
    task_id: int,
    region_id: str,
    annotation_id: int | None,
) -> tuple[int | None, list[int]]:
    """The annotation that holds the region, one that knows how it was made before others; and
    its targets."""
    it = _costs.c
    query = select(it.annotation_id, it.targets).where(
        it.project == project, it.task_id == task_id, it.region_id == region_id
    )
    if annotation_id is not None:
        query = query.where(it.annotation_id == annotation_id)
    row = connection.execute(query.order_by(it.known.desc(), it.annotation_id).limit(1)).first()
    return (None, []) if row is None else (row.annotation_id, list(row.targets))


def _masks(connection: Connection, targets: list[int]) -> dict[str, PackedMask]:
    query = (
        select(_served).where(_served.c.target_id.in_(targets)).order_by(_served.c.id).limit(_MOST)
    )
    return {
        row["request_id"]: PackedMask(row["width"], row["height"], bytes(row["mask"]))
        for row in connection.execute(query).mappings()
    }


def _accepted(
    connection: Connection, project: str, annotation_id: int | None, region_id: str
) -> PackedMask | None:
    if annotation_id is None:
        return None
    it = sample_tables.samples.c
    query = select(it.width, it.height, it.mask).where(
        it.project == project, it.annotation_id == annotation_id, it.region_id == region_id
    )
    row: Any = connection.execute(query.limit(1)).first()
    return None if row is None else PackedMask(row.width, row.height, bytes(row.mask))


def _step(row: RowMapping, mask: PackedMask | None, iou: float | None) -> ServedStep:
    return ServedStep(
        event=row["id"],
        at=row["created_at"],
        kind=row["kind"],
        x_percent=row["x_percent"],
        y_percent=row["y_percent"],
        text=row["text"],
        owner=row["owner"],
        milliseconds=row["milliseconds"],
        version=row["model_version"],
        error=row["error"],
        iou=iou,
        mask=mask,
    )
