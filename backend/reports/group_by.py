"""Costs by task, by group and by week: sums, and means with 95 % intervals, of a ``CostFrame``.

Objects of one task share an image and an annotator's day, so they are not independent: the interval
is based on the tasks' sums (the cluster-robust sandwich estimate of a ratio, with Student's t for
few tasks). A bootstrap over tasks gives the same for many tasks and takes a thousand times as long.
Fewer than five tasks give no interval: it would span the whole scale, or be narrow by chance.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from backend.errors import ReportError
from backend.label_studio.payloads import number_of
from backend.reports.cost_frame import COUNTS, CostFrame, Floats, Ints, Rows
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


@dataclass(frozen=True, eq=False)
class TaskTable:
    """All tasks that pass the filters, one column per figure; nan where it is unknown."""

    regions: Rows  # sorted by task
    starts: Ints  # where the regions of each task begin, and the end
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
        figures: dict[str, Any] = {
            name: None if np.isnan(column[index]) else float(column[index])
            for name, column in self.columns.items()
        }
        if figures["last_at"] is not None:
            figures["last_at"] = datetime.fromtimestamp(round(figures["last_at"], 3), UTC)
        mine = self.regions[self.starts[index] : self.starts[index + 1]]
        return TaskCost(
            **figures,
            versions=tuple(sorted({*mine.version} - {""})),
            labels=tuple(sorted({*mine.label} - {""})),
            annotators=tuple(sorted({*mine.annotator.tolist()} - {-1})),
        )


def by_task(frame: CostFrame, where: ReportFilter) -> TaskTable:
    regions, unused = frame.chosen(where), frame.chosen_unused(where)
    regions = regions[np.argsort(regions.task, kind="stable")]
    tasks = np.unique(np.concatenate([regions.task, unused.task]))
    place, other = (np.searchsorted(tasks, rows.task) for rows in (regions, unused))
    size = len(tasks)

    def total(values: NDArray[np.generic], at: Ints = place) -> Floats:
        return np.bincount(at, weights=values, minlength=size).astype(np.float64)

    def mean(values: Floats) -> Floats:
        return _sum(values, place, size) / np.maximum(total(~np.isnan(values)), 1)

    columns: dict[str, Floats] = {"task": tasks.astype(np.float64)}
    for name in (*COUNTS, "interactions"):
        columns[name] = total(getattr(regions, name)) + total(getattr(unused, name), other)
    columns["abandoned"] = total(unused.interactions, other)
    objects = columns["objects"] = total(np.ones(len(regions)))
    columns["per_object"] = np.where(
        objects > 0, columns["interactions"] / np.maximum(objects, 1), np.nan
    )
    columns["unknown"] = total(~regions.known)
    columns["known"] = ((objects > 0) & (columns["unknown"] == 0)).astype(np.float64)
    columns["phrase"] = (total(regions.phrase & regions.known) > 0).astype(np.float64)
    columns["first_iou"] = mean(regions.first_iou)
    columns["last_iou"] = mean(regions.last_iou)
    never = total(regions.known & np.isnan(regions.needed_85)) > 0
    columns["needed_85"] = np.where(never, np.nan, mean(regions.needed_85))
    columns["corrected"] = _sum(regions.corrected, place, size)
    columns["seconds"] = _by_annotation(regions, tasks)
    columns["lead_time"] = _lead_times(frame, where, regions, tasks)
    columns["last_at"] = latest = np.full(size, np.nan)
    for at, values in (
        (place, regions.submitted_at),
        (place, regions.first_at),
        (other, unused.last_at),
    ):
        np.fmax.at(latest, at, values)
    return TaskTable(regions, np.searchsorted(place, np.arange(size + 1)), columns)


def _sum(values: Floats, place: Ints, size: int) -> Floats:
    """Sums of what is known; nan where nothing is."""
    there = ~np.isnan(values)
    sums = np.bincount(place[there], weights=values[there], minlength=size)
    return np.where(np.bincount(place[there], minlength=size) > 0, sums, np.nan)


def _by_annotation(regions: Rows, tasks: Ints) -> Floats:
    """Objects of one annotation are submitted together, so its longest time counts; the times of
    several annotations are summed."""
    _, first, at = np.unique(regions.annotation, return_index=True, return_inverse=True)
    longest = np.full(len(first), np.nan)
    np.fmax.at(longest, at, regions.seconds)
    return _sum(longest, np.searchsorted(tasks, regions.task[first]), len(tasks))


def _lead_times(frame: CostFrame, where: ReportFilter, regions: Rows, tasks: Ints) -> Floats:
    leads = frame.lead_times
    leads = leads[np.isin(leads.task, tasks)]
    if where.picks_regions or where.since is not None or where.until is not None:
        leads = leads[np.isin(leads.annotation, regions.annotation)]
    return _sum(leads.seconds, np.searchsorted(tasks, leads.task), len(tasks))


# -- groups


def by_group(
    frame: CostFrame, by: By, where: ReportFilter, people: dict[int, str]
) -> list[GroupCost]:
    """The groups that have a region, the largest first (weeks: the oldest first)."""
    titles: dict[By, Callable[[str], str]] = {
        "project": lambda name: f"Project {number_of(name)}",
        "version": lambda name: name or "unknown version",
        "label": lambda name: name or "without a label",
        "annotator": lambda name: people.get(int(name or -1)) or (name and f"user {name}"),
        "week": lambda name: f"week of {name}",
        "phrase": lambda name: "with a phrase" if name == "phrase" else "without a phrase",
    }
    if by not in BYS:
        raise ReportError(f"Regions cannot be grouped by {by!r}, only by {', '.join(BYS)}.")
    regions = frame.chosen(where)
    # A region that no model answered has no version, and an unknown making says nothing on phrases.
    if by in ("version", "phrase"):
        regions = regions[regions.known]
    elif by == "week":
        regions = regions[~np.isnan(regions.at)]
    numbers: dict[str, list[int]] = {}
    for number, name in enumerate(_names(frame, by, regions)):
        numbers.setdefault(name, []).append(number)
    groups = [
        _group(regions[numbers[name]], name, titles[by](name) or "unknown")
        for name in sorted(numbers)
    ]
    if by == "week":
        return groups
    return sorted(groups, key=lambda group: (-group.n, -group.unknown, group.name))


def weeks_of(groups: Iterable[GroupCost]) -> tuple[Week, ...]:
    return tuple(
        Week(datetime.fromisoformat(week.name).replace(tzinfo=UTC), week.n, week.clicks.mean)
        for week in groups
        if week.clicks
    )


def _names(frame: CostFrame, by: By, regions: Rows) -> Sequence[str]:
    """The name of each region's group."""
    if by in ("version", "label"):
        return list(getattr(regions, by))
    if by == "annotator":
        return [str(number) if number >= 0 else "" for number in regions.annotator.tolist()]
    if by == "phrase":
        return ["phrase" if phrase else "clicks" for phrase in regions.phrase.tolist()]
    if by == "week":
        day = (regions.at // 86_400).astype(np.int64)
        monday = day - (day + 3) % 7  # 1970-01-01 was a Thursday
        return [str(day) for day in monday.astype("datetime64[D]")]
    return [frame.project] * len(regions)


def _group(regions: Rows, name: str, title: str) -> GroupCost:
    known = regions[regions.known]

    def measured(figure: str, among: Rows = known) -> tuple[Floats, Ints]:
        values = getattr(among, figure)
        there = ~np.isnan(values)
        return values[there], among.task[there]

    clicks = known.interactions
    return GroupCost(
        name=name,
        title=title,
        n=len(known),
        unknown=len(regions) - len(known),
        tasks=len(np.unique(regions.task)),
        clicks=spread_of(clicks.astype(np.float64), known.task),
        seconds=spread_of(*measured("seconds")),
        one=mean_of((clicks <= 1).astype(np.float64), known.task, 1.0),
        without_click=mean_of(*measured("without_click", regions), 1.0),
        first_iou=mean_of(*measured("first_iou"), 1.0),
        last_iou=mean_of(*measured("last_iou"), 1.0),
        needed_85=mean_of(*measured("needed_85")),
        corrected=spread_of(*measured("corrected")),
        histogram=histogram_of(clicks, MOST),
    )
