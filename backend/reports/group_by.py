"""Costs by task, by group and by week: sums, and means with 95 % intervals, of a ``CostFrame``.

Objects of one task share an image and an annotator's day, so they are not independent: the interval
is based on the tasks' sums (the cluster-robust sandwich estimate of a ratio, with Student's t for
few tasks). A bootstrap over tasks gives the same for many tasks and takes a thousand times as long.
Fewer than five tasks give no interval: it would span the whole scale, or be narrow by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from backend.errors import ReportError
from backend.reports.cost_frame import COUNTS, CostFrame, Flags, Floats, Ints, clicks_and_phrases
from backend.reports.records import (
    BYS,
    MOST,
    By,
    Distribution,
    GroupCost,
    Interval,
    ReportFilter,
    TaskCost,
    Week,
)

# *choice*
FEWEST_TASKS = 5


def mean_of(
    values: Floats, tasks: Ints, most: float = np.inf, *, least: float = 0.0
) -> Interval | None:
    """Mean of N values, each of a task (N numbers); None if there are none.

    least, most: possible values; the interval ends there.
    """
    if not len(values):
        return None
    mean = float(values.mean())
    interval = around(mean, (values - mean) / len(values), tasks, len(values))
    if interval.low is None or interval.high is None:
        return interval
    return Interval(mean, max(interval.low, least), min(interval.high, most), interval.n)


def spread_of(values: Floats, tasks: Ints) -> Distribution | None:
    """Median and mean of N values; None if there are none."""
    mean = mean_of(values, tasks)
    return None if mean is None else Distribution(float(np.median(values)), mean)


def around(center: float, pulls: Floats, tasks: Ints, n: int) -> Interval:
    """The interval of an estimate. pulls: the influence of each of its n values on it."""
    _, place = np.unique(tasks, return_inverse=True)
    sums = np.bincount(place, weights=pulls)
    count = len(sums)
    if count < FEWEST_TASKS:
        return Interval(center, None, None, n)
    error = float(np.sqrt(count / (count - 1) * np.square(sums).sum()))
    reach = float(stdtrit(count - 1, 0.975)) * error
    return Interval(center, center - reach, center + reach, n)


def histogram_of(values: Sequence[int] | Ints, most: int) -> tuple[int, ...]:
    """How many values are 0, 1, … and ``most`` or more."""
    counts = np.bincount(np.minimum(np.asarray(values, np.int64), most), minlength=most + 1)
    return tuple(int(count) for count in counts)


_NOT_SORTED_BY = {"versions", "labels", "annotators"}
SORTS = tuple(f.name for f in fields(TaskCost) if f.name not in _NOT_SORTED_BY)

_WEEK_S = 7 * 86_400
# The first Monday after 1970-01-01, a Thursday.
_MONDAY_S = 4 * 86_400


@dataclass(frozen=True, eq=False)
class TaskTable:
    """All tasks that pass the filters, one column per figure; nan where it is unknown."""

    frame: CostFrame
    chosen: Ints  # indices of the regions, sorted by task
    starts: Ints  # where the regions of each task begin in ``chosen``, and the end
    columns: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.columns["task"])

    def order(self, sort: str, *, descending: bool) -> Ints:
        """Indices of the tasks, sorted; tasks without the figure come last."""
        if sort not in SORTS:
            raise ReportError(f"Tasks cannot be sorted by {sort!r}, only by {', '.join(SORTS)}.")
        values = self.columns[sort]
        unknown = np.isnan(values)
        by_value = np.where(unknown, 0.0, -values if descending else values)
        return np.lexsort((self.columns["task"], by_value, unknown))

    def cost(self, index: int) -> TaskCost:
        """One task."""
        figures: dict[str, Any] = {
            name: None if np.isnan(column[index]) else float(column[index])
            for name, column in self.columns.items()
        }
        if figures["last_at"] is not None:
            figures["last_at"] = datetime.fromtimestamp(round(figures["last_at"], 3), UTC)
        mine = self.chosen[self.starts[index] : self.starts[index + 1]]
        regions = self.frame.regions
        return TaskCost(
            **figures,
            versions=_names(self.frame.versions, regions.version[mine]),
            labels=_names(self.frame.labels, regions.label[mine]),
            annotators=tuple(int(n) for n in np.unique(regions.annotator[mine]) if n >= 0),
        )


def by_task(frame: CostFrame, where: ReportFilter) -> TaskTable:
    """Sum by task."""
    regions, unused = frame.regions, frame.unused
    chosen = np.flatnonzero(frame.chosen(where))
    chosen = chosen[np.argsort(regions.task[chosen], kind="stable")]
    aside = np.flatnonzero(frame.chosen_unused(where))
    tasks = np.unique(np.concatenate([regions.task[chosen], unused.task[aside]]))
    place = np.searchsorted(tasks, regions.task[chosen])
    other = np.searchsorted(tasks, unused.task[aside])
    size = len(tasks)

    def total(values: NDArray[np.generic], at: Ints = place) -> Floats:
        return np.bincount(at, weights=values, minlength=size).astype(np.float64)

    def mean(values: Floats) -> Floats:
        counts = np.bincount(place[~np.isnan(values)], minlength=size)
        return _sum(values, place, size) / np.maximum(counts, 1)

    known = regions.known[chosen]
    columns: dict[str, Floats] = {"task": tasks.astype(np.float64)}
    for number, name in enumerate(COUNTS):
        columns[name] = total(regions.counts[number][chosen])
        columns[name] += total(unused.counts[number][aside], other)
    columns["abandoned"] = total(clicks_and_phrases(unused.counts)[aside], other)
    columns["interactions"] = total(regions.interactions[chosen]) + columns["abandoned"]
    objects = columns["objects"] = total(np.ones(len(chosen)))
    columns["per_object"] = np.where(
        objects > 0, columns["interactions"] / np.maximum(objects, 1), np.nan
    )
    columns["unknown"] = total(~known)
    columns["known"] = ((objects > 0) & (columns["unknown"] == 0)).astype(np.float64)
    columns["phrase"] = (total(regions.phrase[chosen] & known) > 0).astype(np.float64)
    columns["first_iou"] = mean(regions.first_iou[chosen])
    columns["last_iou"] = mean(regions.last_iou[chosen])
    never = total(known & np.isnan(regions.needed_85[chosen])) > 0
    columns["needed_85"] = np.where(never, np.nan, mean(regions.needed_85[chosen]))
    columns["corrected"] = _sum(regions.corrected[chosen], place, size)
    columns["seconds"] = _by_annotation(
        regions.annotation[chosen], regions.task[chosen], regions.seconds[chosen], tasks
    )
    columns["lead_time"] = _lead_times(frame, where, regions.annotation[chosen], tasks)
    columns["last_at"] = _latest(
        size,
        (place, regions.submitted_at[chosen]),
        (place, regions.first_at[chosen]),
        (other, unused.last_at[aside]),
    )
    return TaskTable(frame, chosen, np.searchsorted(place, np.arange(size + 1)), columns)


def by_group(
    frame: CostFrame, by: By, where: ReportFilter, people: dict[int, str]
) -> list[GroupCost]:
    """The groups that have a region, the largest first (weeks: the oldest first)."""
    if by not in BYS:
        raise ReportError(f"Regions cannot be grouped by {by!r}, only by {', '.join(BYS)}.")
    chosen = frame.chosen(where)
    names, keys = _keys(frame, by, people)
    # A region that no model answered has no version, and an unknown making says nothing on phrases.
    if by in ("version", "phrase", "week"):
        chosen &= keys >= 0
    groups = [
        _group(frame, chosen & (keys == key), *names[int(key)]) for key in np.unique(keys[chosen])
    ]
    if by == "week":
        return groups
    return sorted(groups, key=lambda group: (-group.n, -group.unknown, group.name))


def by_week(frame: CostFrame) -> list[Week]:
    """Interactions per object by the week of its submit, oldest first."""
    regions, week = frame.regions, _weeks(frame)
    weeks = []
    for number in np.unique(week[regions.known & (week >= 0)]):
        flags = regions.known & (week == number)
        mean = mean_of(regions.interactions[flags].astype(np.float64), regions.task[flags])
        if mean is not None:
            weeks.append(Week(_monday(int(number)), mean.n, mean))
    return weeks


def _keys(
    frame: CostFrame, by: By, people: dict[int, str]
) -> tuple[dict[int, tuple[str, str]], Ints]:
    """Name and title by key, and the key of each region."""
    regions = frame.regions
    if by == "project":
        return {0: (frame.project, f"Project {frame.project.partition('.')[0]}")}, regions.task * 0
    if by == "version":
        names = _titled(frame.versions, "unknown version")
        return names, np.where(regions.known, regions.version, -1)
    if by == "label":
        return _titled(frame.labels, "without a label"), regions.label
    if by == "annotator":
        numbers = [int(number) for number in np.unique(regions.annotator)]
        titles = {n: people.get(n, "") or (f"user {n}" if n >= 0 else "unknown") for n in numbers}
        return {n: (str(n) if n >= 0 else "", titles[n]) for n in numbers}, regions.annotator
    if by == "phrase":
        names = {0: ("clicks", "without a phrase"), 1: ("phrase", "with a phrase")}
        return names, np.where(regions.known, regions.phrase.astype(np.int64), -1)
    week = _weeks(frame)
    mondays = {int(n): _monday(int(n)).date().isoformat() for n in np.unique(week) if n >= 0}
    return {number: (day, f"week of {day}") for number, day in mondays.items()}, week


def _titled(names: Sequence[str], unnamed: str) -> dict[int, tuple[str, str]]:
    return {index: (name, name or unnamed) for index, name in enumerate(names)}


def _group(frame: CostFrame, flags: Flags, name: str, title: str) -> GroupCost:
    regions = frame.regions
    known = flags & regions.known
    clicks, task = regions.interactions[known], regions.task[known]

    def measured(values: Floats, among: Flags = known) -> tuple[Floats, Ints]:
        there = among & ~np.isnan(values)
        return values[there], regions.task[there]

    return GroupCost(
        name=name,
        title=title,
        n=int(known.sum()),
        unknown=int((flags & ~regions.known).sum()),
        tasks=len(np.unique(regions.task[flags])),
        clicks=spread_of(clicks.astype(np.float64), task),
        seconds=spread_of(*measured(regions.seconds)),
        one=mean_of((clicks <= 1).astype(np.float64), task, 1.0),
        without_click=mean_of(*measured(regions.without_click, flags), 1.0),
        first_iou=mean_of(*measured(regions.first_iou), 1.0),
        last_iou=mean_of(*measured(regions.last_iou), 1.0),
        needed_85=mean_of(*measured(regions.needed_85)),
        corrected=spread_of(*measured(regions.corrected)),
        histogram=histogram_of(clicks, MOST),
    )


def _weeks(frame: CostFrame) -> Ints:
    """The number of each region's week; -1 if its time is unknown."""
    when = frame.regions.at
    number = np.floor((np.nan_to_num(when) - _MONDAY_S) / _WEEK_S).astype(np.int64)
    return np.where(np.isnan(when), -1, number)


def _monday(number: int) -> datetime:
    return datetime.fromtimestamp(_MONDAY_S, UTC) + timedelta(weeks=number)


def _sum(values: Floats, place: Ints, size: int) -> Floats:
    """Sums of what is known; nan where nothing is."""
    there = ~np.isnan(values)
    sums = np.bincount(place[there], weights=values[there], minlength=size)
    return np.where(np.bincount(place[there], minlength=size) > 0, sums, np.nan)


def _by_annotation(annotation: Ints, task: Ints, seconds: Floats, tasks: Ints) -> Floats:
    """Objects of one annotation are submitted together, so its longest time counts; the times of
    several annotations are summed."""
    there = ~np.isnan(seconds)
    numbers, first, at = np.unique(annotation[there], return_index=True, return_inverse=True)
    longest = np.zeros(len(numbers))
    np.maximum.at(longest, at, seconds[there])
    return _sum(longest, np.searchsorted(tasks, task[there][first]), len(tasks))


def _lead_times(frame: CostFrame, where: ReportFilter, annotations: Ints, tasks: Ints) -> Floats:
    leads = frame.lead_times
    counts = np.isin(leads.task, tasks) & ~np.isnan(leads.seconds)
    if where.picks_regions or where.since is not None or where.until is not None:
        counts &= np.isin(leads.annotation, annotations)
    return _sum(leads.seconds[counts], np.searchsorted(tasks, leads.task[counts]), len(tasks))


def _latest(size: int, *times: tuple[Ints, Floats]) -> Floats:
    latest = np.full(size, -np.inf)
    for place, values in times:
        there = ~np.isnan(values)
        np.maximum.at(latest, place[there], values[there])
    return np.where(np.isinf(latest), np.nan, latest)


def _names(names: tuple[str, ...], indices: Ints) -> tuple[str, ...]:
    return tuple(sorted({names[index] for index in np.unique(indices)} - {""}))
