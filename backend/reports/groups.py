"""Objects that have something in common, and a project's weeks."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from backend.errors import ReportError
from backend.reports.cost_frame import Flags, Ledger
from backend.reports.estimate import histogram_of, mean_of, spread_of
from backend.reports.event_totals import Ints
from backend.reports.records import BYS, MOST, By, GroupCost, Week, Where

_WEEK_S = 7 * 86_400
# The first Monday after 1970-01-01, a Thursday.
_MONDAY_S = 4 * 86_400


def groups(ledger: Ledger, by: By, where: Where, people: dict[int, str]) -> list[GroupCost]:
    """The groups that have a region, the largest first (weeks: the oldest first)."""
    if by not in BYS:
        raise ReportError(f"Regions are not grouped by {by!r}, but by {', '.join(BYS)}.")
    chosen = ledger.chosen(where)
    names, keys = _keys(ledger, by, people)
    # Who has no answer of the model has no version, and words that nobody saw are no absence.
    if by in ("version", "phrase", "week"):
        chosen &= keys >= 0
    found = []
    for key in np.unique(keys[chosen]):
        name, title = names[int(key)]
        found.append(_group(ledger, chosen & (keys == key), name, title))
    if by == "week":
        return found
    return sorted(found, key=lambda group: (-group.n, -group.unknown, group.name))


def weeks(ledger: Ledger) -> list[Week]:
    """Interactions an object, by the week of its submit, oldest first."""
    it = ledger.regions
    week = _weeks(ledger)
    found = []
    for number in np.unique(week[it.known & (week >= 0)]):
        flags = it.known & (week == number)
        mean = mean_of(it.interactions[flags].astype(np.float64), it.task[flags])
        if mean is not None:
            found.append(Week(_monday(int(number)), mean.n, mean))
    return found


def _keys(
    ledger: Ledger, by: By, people: dict[int, str]
) -> tuple[dict[int, tuple[str, str]], Ints]:
    """(key -> name and title, the key of each region)."""
    it = ledger.regions
    if by == "project":
        return {0: (ledger.project, f"Project {ledger.project.partition('.')[0]}")}, it.task * 0
    if by == "version":
        known = np.where(it.known, it.version, -1)
        return _named(ledger.versions, "unknown version"), known
    if by == "label":
        return _named(ledger.labels, "without a label"), it.label
    if by == "annotator":
        numbers = [int(number) for number in np.unique(it.annotator)]
        titles = {n: people.get(n, "") or (f"user {n}" if n >= 0 else "unknown") for n in numbers}
        return {n: (str(n) if n >= 0 else "", titles[n]) for n in numbers}, it.annotator
    if by == "phrase":
        names = {0: ("clicks", "without a phrase"), 1: ("phrase", "with a phrase")}
        return names, np.where(it.known, it.phrase.astype(np.int64), -1)
    week = _weeks(ledger)
    mondays = {int(n): _monday(int(n)).date().isoformat() for n in np.unique(week) if n >= 0}
    return {number: (day, f"week of {day}") for number, day in mondays.items()}, week


def _named(names: Sequence[str], nothing: str) -> dict[int, tuple[str, str]]:
    return {place: (name, name or nothing) for place, name in enumerate(names)}


def _group(ledger: Ledger, flags: Flags, name: str, title: str) -> GroupCost:
    it = ledger.regions
    known = flags & it.known
    clicks = it.interactions[known]
    task = it.task[known]

    def where_known(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        there = known & ~np.isnan(values)
        return values[there], it.task[there]

    return GroupCost(
        name=name,
        title=title,
        n=int(known.sum()),
        unknown=int((flags & ~it.known).sum()),
        tasks=len(np.unique(it.task[flags])),
        clicks=spread_of(clicks.astype(np.float64), task),
        seconds=spread_of(*where_known(it.seconds)),
        one=mean_of((clicks <= 1).astype(np.float64), task),
        first_iou=mean_of(*where_known(it.first_iou)),
        last_iou=mean_of(*where_known(it.last_iou)),
        needed_85=mean_of(*where_known(it.needed_85)),
        corrected=spread_of(*where_known(it.corrected)),
        histogram=histogram_of(clicks, MOST),
    )


def _weeks(ledger: Ledger) -> Ints:
    """The number of each region's week; -1 where its time is not known."""
    it = ledger.regions
    when = np.where(np.isnan(it.submitted_at), it.first_at, it.submitted_at)
    number = np.floor((np.nan_to_num(when) - _MONDAY_S) / _WEEK_S).astype(np.int64)
    return np.where(np.isnan(when), -1, number)


def _monday(number: int) -> datetime:
    return datetime.fromtimestamp(_MONDAY_S, UTC) + timedelta(weeks=number)
