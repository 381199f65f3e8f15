"""A project's costs as columns in memory: what lists, groups and charts are summed from.

A page asks for several sums over the same 10,000 rows or more. Reading them takes some tenths of a
second, summing them some milliseconds, so a frame is kept until something new is written. It holds
no masks and no click curves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, String, cast, func, select

from backend.db.models import AnnotationRow, AnnotationTimeRow, RegionCostRow
from backend.reports import event_totals
from backend.reports.event_totals import COUNTS, EventTotals, Floats, Ints, epoch, transposed
from backend.reports.records import Where
from backend.reports.regions import WITHOUT_CLICK

Flags = NDArray[np.bool_]


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
class Unused:
    """Interactions that are in no accepted region, by their target."""

    task: Ints
    counts: Ints  # COUNTS,N
    last_at: Floats


@dataclass(frozen=True, eq=False)
class LeadTimes:
    """Label Studio's own times by annotation; nan where it gave none."""

    task: Ints
    annotation: Ints
    seconds: Floats


@dataclass(frozen=True, eq=False)
class CostFrame:
    """All columns of a project. ``stamp`` changes with the tables they are read from.

    ``targets`` (of each region, as JSON) and ``log`` serve the next incremental read.
    """

    project: str
    stamp: tuple[Any, ...]
    versions: tuple[str, ...]
    labels: tuple[str, ...]
    regions: Regions
    unused: Unused
    lead_times: LeadTimes
    targets: Sequence[str]
    log: EventTotals

    def chosen(self, where: Where) -> Flags:
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

    def chosen_unused(self, where: Where) -> Flags:
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
    computed = select(func.count(), func.max(cast(RegionCostRow.drawn_at, String))).where(
        RegionCostRow.project == project
    )
    timed = select(func.count(AnnotationTimeRow.lead_time)).where(
        AnnotationTimeRow.project == project
    )
    costs = (*connection.execute(computed).one(), connection.execute(timed).scalar())
    return costs, event_totals.stamp(connection)


def read(connection: Connection, project: str, before: CostFrame | None = None) -> CostFrame:
    """Read a project; what has not changed is taken from an earlier frame of it."""
    now = stamp(connection, project)
    log, totals = event_totals.read(connection, project, before.log if before else None)
    if before is not None and before.stamp[0] == now[0]:
        unused = _unused(totals, before.targets, before.regions.counts)
        return replace(before, stamp=now, unused=unused, log=log)
    found = transposed(connection.execute(_region_query(connection, project)), len(_REGION))
    column = dict(zip(_REGION, found, strict=True))
    versions, version = _encoded(column["model_version"])
    labels, label = _encoded(column["label"])
    counts = np.array([column[name] for name in COUNTS], np.int64)
    task, annotation, seconds = transposed(connection.execute(_lead_time_query(project)), 3)
    return CostFrame(
        project=project,
        stamp=now,
        versions=versions,
        labels=labels,
        regions=Regions(
            task=np.array(column["task_id"], np.int64),
            annotation=np.array(column["annotation_id"], np.int64),
            annotator=np.array(column["annotator"], np.int64),
            version=version,
            label=label,
            known=np.array(column["known"], bool),
            phrase=np.array(column["has_phrase"], bool),
            counts=counts,
            **{
                name: np.array(column[name], np.float64)
                for name in (*_TIMES, *_FIGURES, _WITHOUT_CLICK)
            },
        ),
        unused=_unused(totals, column["targets"], counts),
        lead_times=LeadTimes(
            np.array(task, np.int64), np.array(annotation, np.int64), np.array(seconds, float)
        ),
        targets=column["targets"],
        log=log,
    )


_TIMES = ("first_at", "submitted_at")
_FIGURES = ("seconds", "area", "pixels", "first_iou", "last_iou", "needed_85", "corrected")
_WITHOUT_CLICK = "without_click"
_PLAIN = ("task_id", "annotation_id", "label", "model_version", "known", *COUNTS, *_FIGURES)
_MEASURES = (*_TIMES, *_FIGURES, _WITHOUT_CLICK)
_REGION = (*_PLAIN, *_TIMES, "annotator", "has_phrase", "targets", _WITHOUT_CLICK)


def _region_query(connection: Connection, project: str) -> Any:
    row = RegionCostRow
    return (
        select(
            *(getattr(row, name) for name in _PLAIN),
            *(epoch(connection, getattr(row, name)) for name in _TIMES),
            func.coalesce(row.annotator, -1),
            row.phrase != "",
            cast(row.targets, String),
            WITHOUT_CLICK,
        )
        .where(row.project == project)
        .order_by(row.annotation_id, row.brush, row.region_id)
    )


def _lead_time_query(project: str) -> Any:
    same = (AnnotationTimeRow.project == AnnotationRow.project) & (
        AnnotationTimeRow.annotation_id == AnnotationRow.annotation_id
    )
    return (
        select(AnnotationRow.task_id, AnnotationRow.annotation_id, AnnotationTimeRow.lead_time)
        .join(AnnotationTimeRow, same)
        .where(
            AnnotationRow.project == project,
            AnnotationRow.gone_at.is_(None),
            AnnotationRow.task_id.is_not(None),
        )
    )


def _unused(log: EventTotals, targets: Sequence[str], counts: Ints) -> Unused:
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
    left = table.any(axis=0)
    return Unused(log.task[left], table[:, left], log.last_at[left])


def _encoded(values: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    names = tuple(dict.fromkeys(values))
    index = {name: place for place, name in enumerate(names)}
    return names, np.array([index[value] for value in values], np.int64)


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -1


def _within(when: Floats, where: Where) -> Flags:
    flags = np.ones(len(when), bool)
    if where.since is not None:
        flags &= when >= where.since.timestamp()
    if where.until is not None:
        flags &= when < where.until.timestamp()
    return flags
