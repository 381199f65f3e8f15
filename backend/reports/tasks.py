"""What each task had cost: sums over its regions and over what was clicked in vain."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import ReportError
from backend.reports.cost_frame import Ledger, clicks_and_phrases
from backend.reports.event_totals import COUNTS, Floats, Ints
from backend.reports.records import TaskCost, Where

_NOT_SORTED_BY = {"project", "regions", "versions", "labels", "annotators"}
SORTS = (*(f.name for f in fields(TaskCost) if f.name not in _NOT_SORTED_BY), "per_object")


@dataclass(frozen=True, eq=False)
class TaskTable:
    """All tasks that a question is about, a column for each figure; nan where it is not known."""

    ledger: Ledger
    chosen: Ints  # places of the regions that count, sorted by task
    starts: Ints  # where the regions of each task begin among them, and the end
    columns: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.columns["task"])

    def order(self, sort: str, *, descending: bool) -> Ints:
        """Places of the tasks, sorted; those of which the figure is not known come last."""
        if sort not in SORTS:
            raise ReportError(f"Tasks are not sorted by {sort!r}, but by {', '.join(SORTS)}.")
        values = self.columns[sort]
        unknown = np.isnan(values)
        by_value = np.where(unknown, 0.0, -values if descending else values)
        return np.lexsort((self.columns["task"], by_value, unknown))

    def cost(self, place: int) -> TaskCost:
        """One task."""
        it = {name: _number(column[place]) for name, column in self.columns.items()}
        regions = self.chosen[self.starts[place] : self.starts[place + 1]]
        mine = self.ledger.regions
        last_at = it["last_at"]
        figures: dict[str, Any] = {name: int(it[name] or 0) for name in _WHOLE}
        figures |= {name: it[name] for name in _PARTS}
        return TaskCost(
            project=self.ledger.project,
            **figures,
            corrected=None if it["corrected"] is None else int(it["corrected"]),
            known=bool(it["known"]),
            phrase=bool(it["phrase"]),
            versions=_names(self.ledger.versions, mine.version[regions]),
            labels=_names(self.ledger.labels, mine.label[regions]),
            annotators=tuple(int(n) for n in np.unique(mine.annotator[regions]) if n >= 0),
            last_at=None if last_at is None else datetime.fromtimestamp(round(last_at, 3), UTC),
        )


_WHOLE = ("task", *COUNTS, "interactions", "abandoned", "objects", "unknown")
_PARTS = ("seconds", "lead_time", "first_iou", "last_iou", "needed_85")


def table(ledger: Ledger, where: Where) -> TaskTable:
    """Add up by task."""
    chosen = np.flatnonzero(ledger.chosen(where))
    chosen = chosen[np.argsort(ledger.regions.task[chosen], kind="stable")]
    loose = np.flatnonzero(ledger.chosen_loose(where))
    it, aside = ledger.regions, ledger.loose
    tasks = np.unique(np.concatenate([it.task[chosen], aside.task[loose]]))
    place = np.searchsorted(tasks, it.task[chosen])
    other = np.searchsorted(tasks, aside.task[loose])
    size = len(tasks)

    def added(values: NDArray[np.generic], at: Ints = place) -> Floats:
        return np.bincount(at, weights=values, minlength=size).astype(np.float64)

    def mean(values: Floats) -> Floats:
        there = ~np.isnan(values)
        sums = np.bincount(place[there], weights=values[there], minlength=size)
        counts = np.bincount(place[there], minlength=size)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    columns: dict[str, Floats] = {"task": tasks.astype(np.float64)}
    for number, name in enumerate(COUNTS):
        columns[name] = added(it.counts[number][chosen]) + added(aside.counts[number][loose], other)
    columns["abandoned"] = added(clicks_and_phrases(aside.counts)[loose], other)
    columns["interactions"] = added(it.interactions[chosen]) + columns["abandoned"]
    columns["objects"] = added(np.ones(len(chosen)))
    known = it.known[chosen]
    columns["unknown"] = added(~known)
    columns["known"] = ((columns["objects"] > 0) & (columns["unknown"] == 0)).astype(np.float64)
    columns["phrase"] = (added(it.phrase[chosen] & known) > 0).astype(np.float64)
    columns["first_iou"] = mean(it.first_iou[chosen])
    columns["last_iou"] = mean(it.last_iou[chosen])
    needed = mean(it.needed_85[chosen])
    never = added(known & np.isnan(it.needed_85[chosen])) > 0
    columns["needed_85"] = np.where(never, np.nan, needed)
    columns["corrected"] = _sum(it.corrected[chosen], place, size)
    columns["seconds"] = _by_annotation(
        it.annotation[chosen], it.task[chosen], it.seconds[chosen], tasks
    )
    columns["lead_time"] = _leads(ledger, where, it.annotation[chosen], tasks)
    with np.errstate(divide="ignore", invalid="ignore"):
        columns["per_object"] = np.where(
            columns["objects"] > 0, columns["interactions"] / columns["objects"], np.nan
        )
    columns["last_at"] = _latest(
        size,
        (place, it.submitted_at[chosen]),
        (place, it.first_at[chosen]),
        (other, aside.last_at[loose]),
    )
    starts = np.searchsorted(place, np.arange(size + 1))
    return TaskTable(ledger, chosen, starts, columns)


def _sum(values: Floats, place: Ints, size: int) -> Floats:
    """Of what is known; nan where nothing is."""
    there = ~np.isnan(values)
    sums = np.bincount(place[there], weights=values[there], minlength=size)
    return np.where(np.bincount(place[there], minlength=size) > 0, sums, np.nan)


def _by_annotation(annotation: Ints, task: Ints, seconds: Floats, tasks: Ints) -> Floats:
    """Objects of one annotation are made one after the other and submitted together: the longest
    time is the annotation's. Those of several annotations add up."""
    there = ~np.isnan(seconds)
    numbers, first, at = np.unique(annotation[there], return_index=True, return_inverse=True)
    longest = np.zeros(len(numbers))
    np.maximum.at(longest, at, seconds[there])
    return _sum(longest, np.searchsorted(tasks, task[there][first]), len(tasks))


def _leads(ledger: Ledger, where: Where, annotations: Ints, tasks: Ints) -> Floats:
    leads = ledger.leads
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


def _names(names: tuple[str, ...], places: Ints) -> tuple[str, ...]:
    return tuple(sorted({names[place] for place in np.unique(places)} - {""}))


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
