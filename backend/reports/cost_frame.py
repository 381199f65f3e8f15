"""A project's costs as arrays in memory: what lists, groups and charts are summed from.

A page asks for several sums over the same 10,000 rows or more. Reading them takes some tenths of a
second, summing them some milliseconds, so a frame is kept until something new is written. It holds
no masks and no click curves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, String, case, cast, distinct, func, select
from sqlalchemy.sql import ColumnElement

from backend.db.models import (
    INTERACTIONS,
    AnnotationRow,
    AnnotationTimeRow,
    EventRow,
    RegionCostRow,
    exists_in_label_studio,
    same_annotation,
)
from backend.reports.records import ReportFilter
from backend.reports.regions import SIZE_CLASS, WITHOUT_CLICK

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# What is counted for every target: interactions come first.
COUNTS = ("positive", "negative", "phrases", "boxes", "undos", "predictions")

# Longer than a model takes to answer, or a transaction to write an event. *choice*
_OPEN_FOR = timedelta(minutes=10)

# Numbers of a region that are unknown at times.
_FIGURES = ("seconds", "first_iou", "last_iou", "needed_85", "corrected")


class Rows:
    """N rows of a table; each column is an attribute. Flags, or numbers of rows, choose some."""

    def __init__(self, columns: Mapping[str, NDArray[Any]], numbers: Ints | None = None) -> None:
        """numbers: of the rows that are chosen; a column is copied only if it is used."""
        self._columns = columns
        self._numbers = np.arange(len(columns["task"])) if numbers is None else numbers

    def __getattr__(self, name: str) -> NDArray[Any]:
        return self._columns[name][self._numbers]

    def __getitem__(self, chosen: NDArray[Any] | Sequence[int] | slice) -> "Rows":
        return Rows(self._columns, self._numbers[chosen])

    def __len__(self) -> int:
        return len(self._numbers)


@dataclass(frozen=True, eq=False)
class CostFrame:
    """A project's tables; nan or -1 where a figure is unknown, times in seconds since 1970.

    Attributes:
        stamp: changes with the tables they are read from.
        regions: the accepted ones, with the columns of ``_region_columns``.
        unused: COUNTS, ``interactions`` and ``last_at`` of what is in no accepted region, by task
            and target.
        lead_times: Label Studio's own seconds by task and annotation.
    """

    project: str
    stamp: tuple[Any, ...]
    regions: Rows
    unused: Rows
    lead_times: Rows

    def chosen(self, where: ReportFilter) -> Rows:
        regions = self.regions
        flags = _within(regions.at, regions.task, where)
        for name in ("version", "label", "annotator"):
            if (value := getattr(where, name)) is not None:
                flags &= getattr(regions, name) == value
        if where.phrase is not None:
            flags &= (regions.phrase == where.phrase) & regions.known
        return regions[flags]

    def chosen_unused(self, where: ReportFilter) -> Rows:
        """The unused interactions that pass; none if a filter applies to regions only."""
        if where.picks_regions:
            return self.unused[:0]
        return self.unused[_within(self.unused.last_at, self.unused.task, where)]


def stamp(connection: Connection, project: str) -> tuple[Any, ...]:
    """Changes with everything that a frame is read from; cheap. Its first part covers the costs."""
    row, times = RegionCostRow, AnnotationTimeRow
    since = datetime.now(UTC) - _OPEN_FOR
    costs = (
        select(func.count()).where(row.project == project),
        # Apart from the count, so that an index answers it.
        select(func.max(row.drawn_at)).where(row.project == project),
        select(func.count(times.lead_time)).where(times.project == project),
    )
    log = (
        select(func.max(EventRow.id)),
        # The events of a request are completed when it is answered.
        select(func.count(EventRow.answered_at)).where(EventRow.created_at >= since),
    )
    return tuple(
        tuple(connection.execute(query).scalar() for query in part) for part in (costs, log)
    )


def read(connection: Connection, project: str, before: CostFrame | None = None) -> CostFrame:
    """Read a project; regions that have not changed are taken from an earlier frame of it."""
    now = stamp(connection, project)
    if before is not None and before.stamp[0] == now[0]:
        regions, lead_times = before.regions, before.lead_times
    else:
        here = select(RegionCostRow).where(RegionCostRow.project == project)
        regions = _rows(connection, here, _region_columns(connection))
        timed = (
            select(AnnotationRow)
            .join(AnnotationTimeRow, same_annotation(AnnotationTimeRow, AnnotationRow))
            .where(AnnotationRow.project == project, exists_in_label_studio())
            .where(AnnotationTimeRow.lead_time.is_not(None))
        )
        lead_times = _rows(connection, timed, _LEAD_TIME_COLUMNS)
    by_target = EventRow.task_id, EventRow.target_id
    log = select(EventRow).where(EventRow.project == project).group_by(*by_target)
    events = _rows(connection, log.order_by(*by_target), _event_columns(connection))
    return CostFrame(project, now, regions, _unused(events, regions), lead_times)


def _rows(
    connection: Connection, query: Select[Any], columns: Mapping[str, tuple[Any, str]]
) -> Rows:
    """The rows of a query. columns: what each is selected from, and its numpy type."""
    selected = query.with_only_columns(*(column for column, _ in columns.values()))
    rows = connection.execute(selected).all()
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    return Rows(
        {
            name: np.array(column, kind)
            for (name, (_, kind)), column in zip(columns.items(), values, strict=True)
        }
    )


def _region_columns(connection: Connection) -> dict[str, tuple[Any, str]]:
    row = RegionCostRow
    first_at, submitted_at = (_epoch(connection, at) for at in (row.first_at, row.submitted_at))
    return {
        "task": (row.task_id, "i8"),
        "annotation": (row.annotation_id, "i8"),
        "annotator": (func.coalesce(row.annotator, -1), "i8"),
        "version": (row.model_version, "O"),
        "label": (row.label, "O"),
        "size_class": (SIZE_CLASS, "O"),
        "known": (row.known, "?"),
        "phrase": (row.phrase != "", "?"),
        **{name: (getattr(row, name), "i8") for name in (*COUNTS, "interactions")},
        **{name: (getattr(row, name), "f8") for name in _FIGURES},
        "first_at": (first_at, "f8"),
        "submitted_at": (submitted_at, "f8"),
        "at": (func.coalesce(submitted_at, first_at), "f8"),
        "without_click": (WITHOUT_CLICK, "f8"),
        "targets": (cast(row.targets, String), "O"),
    }


_LEAD_TIME_COLUMNS: dict[str, tuple[Any, str]] = {
    "task": (AnnotationRow.task_id, "i8"),
    "annotation": (AnnotationRow.annotation_id, "i8"),
    "seconds": (AnnotationTimeRow.lead_time, "f8"),
}


def _event_columns(connection: Connection) -> dict[str, tuple[Any, str]]:
    """The event log, summed by target; -1 for events without one."""

    def count(condition: ColumnElement[bool]) -> Any:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    row = EventRow
    answered = row.answered_at.is_not(None) & (row.error == "") & (row.request_id != "")
    counts = [count(row.kind == kind) for kind in (*INTERACTIONS, "undo")]
    counts.append(func.count(distinct(case((answered, row.request_id)))))
    return {
        "task": (row.task_id, "i8"),
        "target": (func.coalesce(row.target_id, -1), "i8"),
        "last_at": (_epoch(connection, func.max(row.created_at)), "f8"),
        **{name: (number, "i8") for name, number in zip(COUNTS, counts, strict=True)},
    }


def _unused(events: Rows, regions: Rows) -> Rows:
    """What the log has of each target, minus what its region includes already."""
    region_of = {
        target: number
        for number, targets in enumerate(regions.targets)
        for target in orjson.loads(targets)
    }
    place = np.array([region_of.get(target, -1) for target in events.target.tolist()], np.int64)
    mine = place >= 0
    # A region may have new events since its costs were computed: its last target takes the rest.
    last = dict(zip(place.tolist(), range(len(place)), strict=True))
    last.pop(-1, None)
    owners, takers = list(last), list(last.values())
    counts = {}
    for name in COUNTS:
        count = getattr(events, name)
        sums = np.bincount(place[mine], count[mine], len(regions)).astype(np.int64)
        rest = np.maximum(sums - getattr(regions, name), 0)
        counts[name] = np.where(mine, 0, count)
        # Some predictions answer no interaction, such as an undone click: they are the region's.
        counts[name][takers] = 0 if name == "predictions" else rest[owners]
    interactions = np.sum([counts[name] for name in COUNTS[: len(INTERACTIONS)]], axis=0)
    columns = {"task": events.task, "last_at": events.last_at, "interactions": interactions}
    return Rows(columns | counts)[np.any([count > 0 for count in counts.values()], axis=0)]


def _within(at: Floats, task: Ints, where: ReportFilter) -> Flags:
    flags = np.ones(len(at), bool)
    if where.since is not None:
        flags &= at >= where.since.timestamp()
    if where.until is not None:
        flags &= at < where.until.timestamp()
    if where.tasks is not None:
        flags &= np.isin(task, where.tasks)
    return flags


def _epoch(connection: Connection, moment: Any) -> Any:
    """Seconds since 1970, computed by the database: parsing 100,000 datetimes would take longer
    than everything else."""
    if connection.dialect.name == "sqlite":
        return (func.julianday(moment) - 2440587.5) * 86400.0
    return func.extract("epoch", moment)
