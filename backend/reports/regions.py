"""Accepted regions as they lie in the table, one after the other."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, Table, func, literal, select, tuple_

from backend.db import sample_tables
from backend.db.engine import Database
from backend.db.models.reports import AnnotationTimeRow, RegionCostRow
from backend.reports.records import Page, RegionCost, Where

_costs: Table = RegionCostRow.__table__  # type: ignore[assignment]
_times: Table = AnnotationTimeRow.__table__  # type: ignore[assignment]

# Read at once: a few MB, whatever the project's size.
_AT_ONCE = 2_000

_ORDER = (_costs.c.task_id, _costs.c.annotation_id, _costs.c.brush, _costs.c.region_id)


def read(database: Database, project: str, where: Where) -> Iterator[RegionCost]:
    """Task by task. Each part is a transaction of its own: whoever reads slowly holds up nobody."""
    with database.read() as connection:
        names = people(connection, project)
    after: tuple[Any, ...] | None = None
    while True:
        query = _query(project, where).order_by(*_ORDER).limit(_AT_ONCE)
        if after is not None:
            query = query.where(_behind(after))
        with database.read() as connection:
            found = connection.execute(query).mappings().all()
        for row in found:
            yield _region(row, names)
        if len(found) < _AT_ONCE:
            return
        after = tuple(found[-1][column.name] for column in _ORDER)


def page(
    database: Database, project: str, where: Where, number: int, size: int
) -> Page[RegionCost]:
    """A part of what ``read`` gives, and how much that is."""
    query = _query(project, where)
    with database.read() as connection:
        names = people(connection, project)
        total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
        part = query.order_by(*_ORDER).offset((number - 1) * size).limit(size)
        found = connection.execute(part).mappings().all()
    return Page(tuple(_region(row, names) for row in found), total, number, size)


def people(connection: Connection, project: str) -> dict[int, str]:
    """Names of annotators by number, as far as Label Studio told them."""
    same = (_times.c.project == sample_tables.annotations.c.project) & (
        _times.c.annotation_id == sample_tables.annotations.c.annotation_id
    )
    query = (
        select(sample_tables.annotations.c.annotator, func.max(_times.c.owner))
        .join(_times, same)
        .where(
            sample_tables.annotations.c.project == project,
            sample_tables.annotations.c.annotator.is_not(None),
            _times.c.owner != "",
        )
        .group_by(sample_tables.annotations.c.annotator)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _query(project: str, where: Where) -> Select[Any]:
    query = select(_costs).where(_costs.c.project == project)
    when = func.coalesce(_costs.c.submitted_at, _costs.c.first_at)
    if where.since is not None:
        query = query.where(when >= where.since)
    if where.until is not None:
        query = query.where(when < where.until)
    if where.version is not None:
        query = query.where(_costs.c.model_version == where.version)
    if where.label is not None:
        query = query.where(_costs.c.label == where.label)
    if where.annotator is not None:
        query = query.where(_costs.c.annotator == where.annotator)
    if where.phrase is not None:
        worded = _costs.c.phrase != "" if where.phrase else _costs.c.phrase == ""
        query = query.where(worded, _costs.c.known)
    if where.tasks is not None:
        query = query.where(_costs.c.task_id.in_(where.tasks))
    return query


def _behind(after: tuple[Any, ...]) -> Any:
    """Rows that come later in the order."""
    here = (literal(value, column.type) for value, column in zip(after, _ORDER, strict=True))
    return tuple_(*_ORDER) > tuple_(*here)


def _region(row: RowMapping, names: dict[int, str]) -> RegionCost:
    known = row["known"]

    def told(name: str) -> Any:
        return row[name] if known else None

    return RegionCost(
        project=row["project"],
        task=row["task_id"],
        annotation=row["annotation_id"],
        region=row["region_id"],
        brush=row["brush"],
        label=row["label"],
        annotator=row["annotator"],
        annotator_name=names.get(row["annotator"], ""),
        version=row["model_version"],
        known=known,
        origin=row["origin"],
        positive=told("positive"),
        negative=told("negative"),
        phrases=told("phrases"),
        undos=told("undos"),
        predictions=told("predictions"),
        interactions=told("interactions"),
        phrase=row["phrase"],
        first_at=row["first_at"],
        accepted_at=row["accepted_at"],
        submitted_at=row["submitted_at"],
        seconds=row["seconds"],
        area=row["area"],
        pixels=row["pixels"],
        ious=tuple(row["ious"]),
        first_iou=row["first_iou"],
        last_iou=row["last_iou"],
        needed_85=row["needed_85"],
        corrected=row["corrected"],
    )
