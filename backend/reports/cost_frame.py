"""A project's costs as columns in memory: what lists, groups and charts are summed from.

A page asks for several sums over the same 10,000 rows or more. Reading them takes some tenths of a
second, summing them some milliseconds, so a frame is kept until something new is written. It holds
no masks and no click curves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    CursorResult,
    Select,
    String,
    case,
    cast,
    distinct,
    func,
    select,
)
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
from backend.reports.regions import WITHOUT_CLICK

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# What is counted for every target, in this order.
COUNTS = ("positive", "negative", "phrases", "boxes", "undos", "predictions")

# Longer than a model takes to answer, or a transaction to write an event. *choice*
_OPEN_FOR = timedelta(minutes=10)

# Columns of ``Regions`` by their type; those that are unknown at times are floats.
_INTS = ("task", "annotation", "annotator")
_FLAGS = ("known", "phrase")
_FIGURES = ("seconds", "area", "pixels", "first_iou", "last_iou", "needed_85", "corrected")
_FLOATS = ("first_at", "submitted_at", *_FIGURES, "without_click")


@dataclass(frozen=True, eq=False)
class Regions:
    """Accepted regions, one entry each; nan or -1 where a figure is unknown. Times in seconds."""

    task: Ints
    annotation: Ints
    annotator: Ints
    version: Ints  # index in ``CostFrame.versions``
    label: Ints  # index in ``CostFrame.labels``
    known: Flags
    phrase: Flags
    counts: Ints  # COUNTS,N
    first_at: Floats
    submitted_at: Floats
    seconds: Floats
    area: Floats
    pixels: Floats
    first_iou: Floats
    last_iou: Floats
    needed_85: Floats
    corrected: Floats
    without_click: Floats  # 1 or 0

    @property
    def interactions(self) -> Ints:
        """Clicks and phrases."""
        return clicks_and_phrases(self.counts)

    @property
    def at(self) -> Floats:
        """Time of the submit, else of the first interaction."""
        return np.where(np.isnan(self.submitted_at), self.first_at, self.submitted_at)


@dataclass(frozen=True, eq=False)
class LeadTimes:
    """Label Studio's own times by annotation; nan where it gave none."""

    task: Ints
    annotation: Ints
    seconds: Floats


@dataclass(frozen=True, eq=False)
class EventTotals:
    """N sums by target; one target may have several, from consecutive parts of the log.

    ``through``: the newest event included. ``target`` is -1 for events without one.
    """

    through: int
    task: Ints
    target: Ints
    last_at: Floats  # seconds since 1970
    counts: Ints  # COUNTS,N

    def followed_by(self, later: "EventTotals") -> "EventTotals":
        """With the totals of a later part of the log."""
        return EventTotals(
            max(self.through, later.through),
            np.concatenate([self.task, later.task]),
            np.concatenate([self.target, later.target]),
            np.concatenate([self.last_at, later.last_at]),
            np.concatenate([self.counts, later.counts], axis=1),
        )

    def where(self, flags: Flags) -> "EventTotals":
        """Only these sums."""
        return EventTotals(
            self.through,
            self.task[flags],
            self.target[flags],
            self.last_at[flags],
            self.counts[:, flags],
        )


@dataclass(frozen=True, eq=False)
class CostFrame:
    """All columns of a project. ``stamp`` changes with the tables they are read from.

    ``unused``: interactions that are in no accepted region. ``targets`` (of each region, as JSON)
    and ``log`` serve the next incremental read.
    """

    project: str
    stamp: tuple[Any, ...]
    versions: tuple[str, ...]
    labels: tuple[str, ...]
    regions: Regions
    unused: EventTotals
    lead_times: LeadTimes
    targets: Sequence[str]
    log: EventTotals

    def chosen(self, where: ReportFilter) -> Flags:
        """The regions that pass the filters."""
        regions = self.regions
        flags = _within(regions.at, where)
        if where.version is not None:
            flags &= regions.version == _index(self.versions, where.version)
        if where.label is not None:
            flags &= regions.label == _index(self.labels, where.label)
        if where.annotator is not None:
            flags &= regions.annotator == where.annotator
        if where.phrase is not None:
            flags &= (regions.phrase == where.phrase) & regions.known
        if where.tasks is not None:
            flags &= np.isin(regions.task, where.tasks)
        return flags

    def chosen_unused(self, where: ReportFilter) -> Flags:
        """The unused interactions that pass; none if a filter applies to regions only."""
        if where.picks_regions:
            return np.zeros(len(self.unused.task), bool)
        flags = _within(self.unused.last_at, where)
        if where.tasks is not None:
            flags &= np.isin(self.unused.task, where.tasks)
        return flags


def clicks_and_phrases(counts: Ints) -> Ints:
    """Interactions, from COUNTS,N."""
    return np.asarray(counts[:4].sum(axis=0), np.int64)


def stamp(connection: Connection, project: str) -> tuple[Any, ...]:
    """Changes with everything that a frame is read from; cheap. Its first part covers the costs."""
    computed = select(func.count()).where(RegionCostRow.project == project)
    # Apart from the count, so that an index answers it.
    newest = select(func.max(RegionCostRow.drawn_at)).where(RegionCostRow.project == project)
    timed = select(func.count(AnnotationTimeRow.lead_time)).where(
        AnnotationTimeRow.project == project
    )
    costs = tuple(connection.execute(query).scalar() for query in (computed, newest, timed))
    return costs, _log_stamp(connection)


def read(connection: Connection, project: str, before: CostFrame | None = None) -> CostFrame:
    """Read a project; what has not changed is taken from an earlier frame of it."""
    now = stamp(connection, project)
    log, totals = _read_totals(connection, project, before.log if before else None)
    if before is not None and before.stamp[0] == now[0]:
        unused = _unused(totals, before.targets, before.regions.counts)
        return replace(before, stamp=now, unused=unused, log=log)
    columns = _region_columns(connection)
    row = RegionCostRow
    query = select(*columns.values()).where(row.project == project)
    ordered = query.order_by(row.annotation_id, row.brush, row.region_id)
    values = _transposed(connection.execute(ordered), len(columns))
    column = dict(zip(columns, values, strict=True))
    versions, version = _encoded(column["version"])
    labels, label = _encoded(column["label"])
    counts = np.array([column[name] for name in COUNTS], np.int64)
    task, annotation, seconds = _transposed(connection.execute(_lead_time_query(project)), 3)
    figures: dict[str, Any] = {
        **{name: np.array(column[name], np.int64) for name in _INTS},
        **{name: np.array(column[name], bool) for name in _FLAGS},
        **{name: np.array(column[name], np.float64) for name in _FLOATS},
    }
    return CostFrame(
        project=project,
        stamp=now,
        versions=versions,
        labels=labels,
        regions=Regions(version=version, label=label, counts=counts, **figures),
        unused=_unused(totals, column["targets"], counts),
        lead_times=LeadTimes(
            np.array(task, np.int64), np.array(annotation, np.int64), np.array(seconds, float)
        ),
        targets=column["targets"],
        log=log,
    )


def _region_columns(connection: Connection) -> dict[str, Any]:
    """What a region's entry in ``Regions`` is read from, and its targets."""
    row = RegionCostRow
    return {
        "task": row.task_id,
        "annotation": row.annotation_id,
        "annotator": func.coalesce(row.annotator, -1),
        "version": row.model_version,
        "label": row.label,
        "known": row.known,
        "phrase": row.phrase != "",
        **{name: getattr(row, name) for name in (*COUNTS, *_FIGURES)},
        "first_at": _epoch(connection, row.first_at),
        "submitted_at": _epoch(connection, row.submitted_at),
        "without_click": WITHOUT_CLICK,
        "targets": cast(row.targets, String),
    }


def _lead_time_query(project: str) -> Any:
    same = same_annotation(AnnotationTimeRow, AnnotationRow)
    return (
        select(AnnotationRow.task_id, AnnotationRow.annotation_id, AnnotationTimeRow.lead_time)
        .join(AnnotationTimeRow, same)
        .where(AnnotationRow.project == project, exists_in_label_studio())
    )


def _unused(log: EventTotals, targets: Sequence[str], counts: Ints) -> EventTotals:
    """What the log has of each target, minus what its region includes already."""
    region_of: dict[int, int] = {}
    for number, written in enumerate(targets):
        for target in orjson.loads(written):
            region_of[target] = number
    place = np.array([region_of.get(target, -1) for target in log.target.tolist()], np.int64)
    # A region may have new events since its costs were computed: its last entry takes the rest.
    mine = np.flatnonzero(place >= 0)
    table, rest = log.counts.copy(), np.zeros_like(counts)
    for count in range(len(COUNTS)):
        sums = np.bincount(place[mine], table[count][mine], len(targets))
        rest[count] = np.maximum(sums.astype(np.int64) - counts[count], 0)
    # Some predictions answer no interaction, such as an undone click: they belong to the region.
    rest[COUNTS.index("predictions")] = 0
    regions, last = np.unique(place[mine][::-1], return_index=True)
    table[:, mine] = 0
    table[:, mine[::-1][last]] = rest[:, regions]
    return replace(log, counts=table).where(np.asarray(table.any(axis=0)))


def _encoded(values: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    names = tuple(dict.fromkeys(values))
    index = {name: place for place, name in enumerate(names)}
    return names, np.array([index[value] for value in values], np.int64)


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -1


def _within(when: Floats, where: ReportFilter) -> Flags:
    flags = np.ones(len(when), bool)
    if where.since is not None:
        flags &= when >= where.since.timestamp()
    if where.until is not None:
        flags &= when < where.until.timestamp()
    return flags


# -- the event log, summed by target and read incrementally


def _log_stamp(connection: Connection) -> tuple[Any, ...]:
    """Changes whenever the totals may have changed; cheap to read."""
    since = datetime.now(UTC) - _OPEN_FOR
    answered = select(func.count(EventRow.answered_at)).where(EventRow.created_at >= since)
    newest = connection.execute(select(func.max(EventRow.id))).scalar() or 0
    return newest, connection.execute(answered).scalar()


def _read_totals(
    connection: Connection, project: str, before: EventTotals | None
) -> tuple[EventTotals, EventTotals]:
    """The totals that cannot change any more, and all totals. before: an earlier first result.

    The log is append-only, so what was summed once stays valid, and a page reads only what came
    since. The events of a request are completed when it is answered, so those of the last minutes
    are read each time.
    """
    settled = _settled(connection)
    done = before or _sums(connection, project, 0, settled)
    if done.through < settled:
        done = done.followed_by(_sums(connection, project, done.through, settled))
    return done, done.followed_by(_sums(connection, project, settled, None))


def _settled(connection: Connection) -> int:
    """The newest event before the first one that may still change."""
    since = datetime.now(UTC) - _OPEN_FOR
    first = select(func.min(EventRow.id)).where(EventRow.created_at >= since)
    recent = connection.execute(first).scalar()
    if recent is not None:
        return int(recent) - 1
    return connection.execute(select(func.max(EventRow.id))).scalar() or 0


def _sums(connection: Connection, project: str, after: int, until: int | None) -> EventTotals:
    query = _totals_query(connection).where(EventRow.project == project, EventRow.id > after)
    if until is not None:
        query = query.where(EventRow.id <= until)
    task, target, last_at, *counts = _transposed(connection.execute(query), 3 + len(COUNTS))
    return EventTotals(
        until if until is not None else after,
        np.array(task, np.int64),
        np.array(target, np.int64),
        np.array(last_at, np.float64),
        np.array(counts, np.int64).reshape(len(COUNTS), len(task)),
    )


def _totals_query(connection: Connection) -> Select[Any]:
    def count(condition: ColumnElement[bool]) -> Any:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    answered = (
        EventRow.answered_at.is_not(None) & (EventRow.error == "") & (EventRow.request_id != "")
    )
    target = func.coalesce(EventRow.target_id, -1)
    return (
        select(
            EventRow.task_id,
            target,
            _epoch(connection, func.max(EventRow.created_at)),
            *(count(EventRow.kind == kind) for kind in (*INTERACTIONS, "undo")),
            func.count(distinct(case((answered, EventRow.request_id)))),
        )
        .group_by(EventRow.task_id, target)
        .order_by(EventRow.task_id, target)
    )


def _transposed(result: CursorResult[Any], width: int) -> list[Sequence[Any]]:
    """A result by column: one object per row would cost more than the sums themselves."""
    rows = result.all()
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _epoch(connection: Connection, moment: Any) -> Any:
    """Seconds since 1970, computed by the database: parsing 100,000 datetimes would take longer
    than everything else."""
    if connection.dialect.name == "sqlite":
        return (func.julianday(moment) - 2440587.5) * 86400.0
    return func.extract("epoch", moment)
