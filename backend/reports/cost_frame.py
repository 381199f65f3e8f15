"""A project's costs as columns, read at once: what lists, groups and charts are added up from.

A page asks for several sums over the same some ten thousand rows. Read once they take some tenths
of a second, and adding them up some milliseconds; so a ledger is kept until something new is
written. It holds no masks and no curves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, String, Table, cast, func, select

from backend.db import sample_tables
from backend.db.models.reports import AnnotationTimeRow, RegionCostRow
from backend.reports import event_totals
from backend.reports.event_totals import COUNTS, Floats, Ints, LogSums, columns, seconds_of
from backend.reports.records import Where

_costs: Table = RegionCostRow.__table__  # type: ignore[assignment]
_times: Table = AnnotationTimeRow.__table__  # type: ignore[assignment]

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Regions:
    """Accepted regions, one entry each; nan or -1 where a figure is not known. Times in seconds."""

    task: Ints
    annotation: Ints
    annotator: Ints
    version: Ints  # place in ``Ledger.versions``
    label: Ints  # place in ``Ledger.labels``
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

    @property
    def interactions(self) -> Ints:
        """Clicks and phrases."""
        return clicks_and_phrases(self.counts)


@dataclass(frozen=True, eq=False)
class Loose:
    """Interactions that are in no accepted region, by the target they were said of."""

    task: Ints
    counts: Ints  # COUNTS,N
    last_at: Floats


@dataclass(frozen=True, eq=False)
class Leads:
    """Label Studio's own times, by annotation; nan where it told none."""

    task: Ints
    annotation: Ints
    seconds: Floats


@dataclass(frozen=True, eq=False)
class Ledger:
    """See the module."""

    project: str
    stamp: tuple[Any, ...]
    versions: tuple[str, ...]
    labels: tuple[str, ...]
    regions: Regions
    loose: Loose
    leads: Leads
    # For the next reading: the targets of each region, and the log that will not change any more.
    targets: Sequence[str]
    log: LogSums

    def chosen(self, where: Where) -> Flags:
        """The regions that count."""
        it = self.regions
        flags = np.ones(len(it.task), bool)
        if where.version is not None:
            flags &= it.version == _place(self.versions, where.version)
        if where.label is not None:
            flags &= it.label == _place(self.labels, where.label)
        if where.annotator is not None:
            flags &= it.annotator == where.annotator
        if where.phrase is not None:
            flags &= (it.phrase == where.phrase) & it.known
        if where.tasks is not None:
            flags &= np.isin(it.task, where.tasks)
        when = np.where(np.isnan(it.submitted_at), it.first_at, it.submitted_at)
        return flags & _within(when, where)

    def chosen_loose(self, where: Where) -> Flags:
        """Interactions beside them; none where something is asked for that only regions have."""
        it = self.loose
        if where.picks_regions:
            return np.zeros(len(it.task), bool)
        flags = np.ones(len(it.task), bool)
        if where.tasks is not None:
            flags &= np.isin(it.task, where.tasks)
        return flags & _within(it.last_at, where)


def clicks_and_phrases(counts: Ints) -> Ints:
    """Interactions, of COUNTS,N."""
    return np.asarray(counts[:3].sum(axis=0), np.int64)


def stamp(connection: Connection, project: str) -> tuple[Any, ...]:
    """Changes with everything that a ledger is read from; cheap. First that of the costs."""
    drawn = select(func.count(), func.max(cast(_costs.c.drawn_at, String))).where(
        _costs.c.project == project
    )
    told = select(func.count(_times.c.lead_time)).where(_times.c.project == project)
    costs = (*connection.execute(drawn).one(), connection.execute(told).scalar())
    return costs, event_totals.stamp(connection)


def read(connection: Connection, project: str, before: Ledger | None = None) -> Ledger:
    """Read a project; what has not changed is taken from an earlier ledger of it."""
    now = stamp(connection, project)
    log, whole = event_totals.read(connection, project, before.log if before else None)
    if before is not None and before.stamp[0] == now[0]:
        loose = _loose(whole, before.targets, before.regions.counts)
        return replace(before, stamp=now, loose=loose, log=log)
    found = columns(connection.execute(_region_query(connection, project)), len(_REGION))
    column = dict(zip(_REGION, found, strict=True))
    versions, version = _coded(column["model_version"])
    labels, label = _coded(column["label"])
    counts = np.array([column[name] for name in COUNTS], np.int64)
    leads = columns(connection.execute(_lead_query(project)), 3)
    return Ledger(
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
            phrase=np.array(column["worded"], bool),
            counts=counts,
            **{name: np.array(column[name], np.float64) for name in (*_TIMES, *_FIGURES)},
        ),
        loose=_loose(whole, column["targets"], counts),
        leads=Leads(
            np.array(leads[0], np.int64), np.array(leads[1], np.int64), np.array(leads[2], float)
        ),
        targets=column["targets"],
        log=log,
    )


_TIMES = ("first_at", "submitted_at")
_FIGURES = ("seconds", "area", "pixels", "first_iou", "last_iou", "needed_85", "corrected")
_PLAIN = ("task_id", "annotation_id", "label", "model_version", "known", *COUNTS, *_FIGURES)
_REGION = (*_PLAIN, *_TIMES, "annotator", "worded", "targets")


def _region_query(connection: Connection, project: str) -> Any:
    return (
        select(
            *(_costs.c[name] for name in _PLAIN),
            *(seconds_of(connection, _costs.c[name]).label(name) for name in _TIMES),
            func.coalesce(_costs.c.annotator, -1).label("annotator"),
            (_costs.c.phrase != "").label("worded"),
            cast(_costs.c.targets, String).label("targets"),
        )
        .where(_costs.c.project == project)
        .order_by(_costs.c.annotation_id, _costs.c.brush, _costs.c.region_id)
    )


def _lead_query(project: str) -> Any:
    same = (_times.c.project == sample_tables.annotations.c.project) & (
        _times.c.annotation_id == sample_tables.annotations.c.annotation_id
    )
    return (
        select(
            sample_tables.annotations.c.task_id,
            sample_tables.annotations.c.annotation_id,
            _times.c.lead_time,
        )
        .join(_times, same)
        .where(
            sample_tables.annotations.c.project == project,
            sample_tables.annotations.c.gone_at.is_(None),
            sample_tables.annotations.c.task_id.is_not(None),
        )
    )


def _loose(log: LogSums, targets: Sequence[str], counts: Ints) -> Loose:
    """What the log has of each target, less what its region holds already."""
    held: dict[int, int] = {}
    for number, written in enumerate(targets):
        for target in orjson.loads(written):
            held[target] = number
    place = np.array([held.get(target, -1) for target in log.target.tolist()], np.int64)
    # A region may be worked on since it was drawn: the last of its entries stands for the rest.
    mine = np.flatnonzero(place >= 0)
    table, rest = log.counts.copy(), np.zeros_like(counts)
    for count in range(len(COUNTS)):
        sums = np.bincount(place[mine], table[count][mine], len(targets))
        rest[count] = np.maximum(sums.astype(np.int64) - counts[count], 0)
    # Some answer no interaction, an undone click's for one: they are the region's own.
    rest[COUNTS.index("predictions")] = 0
    regions, last = np.unique(place[mine][::-1], return_index=True)
    table[:, mine] = 0
    table[:, mine[::-1][last]] = rest[:, regions]
    open_ = table.any(axis=0)
    return Loose(log.task[open_], table[:, open_], log.last_at[open_])


def _coded(values: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    names = tuple(dict.fromkeys(values))
    places = {name: place for place, name in enumerate(names)}
    return names, np.array([places[value] for value in values], np.int64)


def _place(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -1


def _within(when: Floats, where: Where) -> Flags:
    flags = np.ones(len(when), bool)
    if where.since is not None:
        flags &= when >= where.since.timestamp()
    if where.until is not None:
        flags &= when < where.until.timestamp()
    return flags
