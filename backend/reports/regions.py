"""Accepted regions one by one, and how each of them was made, step by step."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    SQLColumnExpression,
    case,
    exists,
    false,
    func,
    literal,
    null,
    select,
    true,
    tuple_,
)

from backend.db.engine import Database, records
from backend.db.models import (
    AnnotationRow,
    AnnotationTimeRow,
    EventRow,
    RegionCostRow,
    SampleRow,
    same_annotation,
)
from backend.label_studio.rle import PackedMask
from backend.reports.click_curve import served_for
from backend.reports.records import (
    SIZE_BOUNDS,
    Page,
    RegionCost,
    ReportFilter,
    ServedStep,
    WithoutMask,
)

# Rows read at once: a few MB.
_AT_ONCE = 2_000
# Steps of one object: nobody clicks that often, but a script must not fill the memory.
_MOST_STEPS = 1_000

_ORDER = (
    RegionCostRow.task_id,
    RegionCostRow.annotation_id,
    RegionCostRow.brush,
    RegionCostRow.region_id,
)
# Fields that are columns of the table.
_SAME_NAME = [f.name for f in fields(RegionCost) if f.name in RegionCostRow.__table__.c]
_FROM_LOG = ("positive", "negative", "phrases", "boxes", "undos", "predictions", "interactions")

WITHOUT_CLICK = case(
    (
        RegionCostRow.known,
        RegionCostRow.positive + RegionCostRow.negative + RegionCostRow.boxes == 0,
    ),
    (RegionCostRow.origin == "prediction", true()),
    (RegionCostRow.origin == "prediction-changed", false()),
    else_=null(),
)
"""Whether a region was accepted without a click or a box; NULL if it is not known how it was made.

Label Studio keeps the origin of a region that came with a prediction: "prediction" as it was,
"prediction-changed" after an edit by hand. A region that was clicked has events, with any origin.
"""

_SMALL, _MEDIUM = (RegionCostRow.area < bound * RegionCostRow.pixels for bound in SIZE_BOUNDS)
SIZE_CLASS = case(
    (func.coalesce(RegionCostRow.area * RegionCostRow.pixels, 0) == 0, "unknown"),
    (_SMALL, "small"),
    (_MEDIUM, "medium"),
    else_="large",
)
"""How large a region is in its image."""


def read(database: Database, project: str, where: ReportFilter) -> Iterator[RegionCost]:
    """All regions by task, read in short transactions, so that a slow reader blocks no one."""
    with database.read() as connection:
        names = people(connection, project)
    after: tuple[Any, ...] | None = None
    while True:
        query = _query(project, where).order_by(*_ORDER).limit(_AT_ONCE)
        if after is not None:
            here = (literal(v, column.type) for v, column in zip(after, _ORDER, strict=True))
            query = query.where(tuple_(*_ORDER) > tuple_(*here))
        with database.read() as connection:
            rows = connection.execute(query).mappings().all()
        for row in rows:
            yield _region(row, names)
        if len(rows) < _AT_ONCE:
            return
        after = tuple(rows[-1][column.key] for column in _ORDER)


def page(
    database: Database, project: str, where: ReportFilter, number: int, size: int
) -> Page[RegionCost]:
    query = _query(project, where)
    with database.read() as connection:
        names = people(connection, project)
        total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
        part = query.order_by(*_ORDER).offset((number - 1) * size).limit(size)
        rows = connection.execute(part).mappings().all()
    return Page(tuple(_region(row, names) for row in rows), total, number, size)


def without_mask(connection: Connection, project: str, where: ReportFilter) -> list[WithoutMask]:
    """Submitted annotations without any region, by task. Empty if a filter selects regions by
    version, label or phrase, which these do not have."""
    if (where.version, where.label, where.phrase) != (None,) * 3:
        return []
    row = AnnotationRow
    has_region = exists().where(
        SampleRow.project == row.project, SampleRow.annotation_id == row.annotation_id
    )
    query: Select[Any] = select(
        row.task_id, row.annotation_id, row.annotator, row.created_at, row.left_out
    ).where(
        row.project == project,
        row.task_id.is_not(None),
        row.gone_at.is_(None),
        row.skipped.is_(False),
        ~has_region,
    )
    query = _filtered(query, where, row, row.created_at)
    names = people(connection, project)
    rows: Iterable[Any] = connection.execute(query.order_by(row.task_id, row.annotation_id))
    return [
        WithoutMask(task, number, annotator, names.get(annotator, ""), created_at)
        for task, number, annotator, created_at, left_out in rows
        if not left_out
    ]


def people(connection: Connection, project: str) -> dict[int, str]:
    """Names of annotators by number, as far as Label Studio sent them."""
    same = same_annotation(AnnotationTimeRow, AnnotationRow)
    query = (
        select(AnnotationRow.annotator, func.max(AnnotationTimeRow.owner))
        .join(AnnotationTimeRow, same)
        .where(
            AnnotationRow.project == project,
            AnnotationRow.annotator.is_not(None),
            AnnotationTimeRow.owner != "",
        )
        .group_by(AnnotationRow.annotator)
    )
    rows: Iterable[Any] = connection.execute(query).all()
    return dict(rows)


def history(
    connection: Connection,
    project: str,
    task_id: int,
    region_id: str,
    annotation_id: int | None = None,
) -> list[ServedStep]:
    """See ``Reports.history``. Steps of an object that was never accepted have no IoU."""
    query = select(RegionCostRow.annotation_id, RegionCostRow.targets).where(
        RegionCostRow.project == project,
        RegionCostRow.task_id == task_id,
        RegionCostRow.region_id == region_id,
    )
    if annotation_id is not None:
        query = query.where(RegionCostRow.annotation_id == annotation_id)
    # If several annotations hold the region, prefer one that knows how it was made.
    best = query.order_by(RegionCostRow.known.desc(), RegionCostRow.annotation_id).limit(1)
    region = connection.execute(best).first()
    accepted, targets = None, []
    if region is not None:
        accepted = accepted_mask(connection, project, region.annotation_id, region_id)
        targets = region.targets
    events = select(EventRow).where(
        EventRow.project == project,
        EventRow.task_id == task_id,
        EventRow.target_id.in_(targets) if targets else EventRow.region_id == region_id,
    )
    rows = records(connection, events.order_by(EventRow.id).limit(_MOST_STEPS))
    numbers = sorted({row.target_id for row in rows if row.target_id is not None})
    masks = {served.request: served.mask for served in served_for(connection, numbers)}
    # Two clicks of one request are answered by one mask: it belongs to the second.
    last = {row.request_id: row.id for row in rows if row.request_id}
    steps = []
    for row in rows:
        mask = masks.get(row.request_id) if last.get(row.request_id) == row.id else None
        iou = mask.iou(accepted) if mask is not None and accepted is not None else None
        steps.append(ServedStep(row, iou, mask))
    return steps


def accepted_mask(
    connection: Connection, project: str, annotation_id: int, region_id: str
) -> PackedMask | None:
    query = select(SampleRow.width, SampleRow.height, SampleRow.mask).where(
        SampleRow.project == project,
        SampleRow.annotation_id == annotation_id,
        SampleRow.region_id == region_id,
    )
    row = connection.execute(query.limit(1)).first()
    return None if row is None else PackedMask(row.width, row.height, bytes(row.mask))


def _query(project: str, where: ReportFilter) -> Select[Any]:
    row = RegionCostRow
    when = func.coalesce(row.submitted_at, row.first_at)
    more = WITHOUT_CLICK.label("without_click"), SIZE_CLASS.label("size")
    query = select(row, *more).where(row.project == project)
    query = _filtered(query, where, row, when)
    if where.version is not None:
        query = query.where(row.model_version == where.version)
    if where.label is not None:
        query = query.where(row.label == where.label)
    if where.phrase is not None:
        query = query.where((row.phrase != "") == where.phrase, row.known)
    return query


def _filtered(
    query: Select[Any],
    where: ReportFilter,
    row: type[AnnotationRow | RegionCostRow],
    when: SQLColumnExpression[Any],
) -> Select[Any]:
    """With the filters that annotations have, too: time, annotator and tasks."""
    if where.since is not None:
        query = query.where(when >= where.since)
    if where.until is not None:
        query = query.where(when < where.until)
    if where.annotator is not None:
        query = query.where(row.annotator == where.annotator)
    if where.tasks is not None:
        query = query.where(row.task_id.in_(where.tasks))
    return query


def _region(row: RowMapping, names: dict[int, str]) -> RegionCost:
    figures: dict[str, Any] = {name: row[name] for name in _SAME_NAME}
    if not row["known"]:
        figures |= dict.fromkeys(_FROM_LOG)
    return RegionCost(
        **figures,
        without_click=row["without_click"],
        task=row["task_id"],
        annotation=row["annotation_id"],
        region=row["region_id"],
        annotator_name=names.get(row["annotator"], ""),
        version=row["model_version"],
        size=row["size"],
    )
