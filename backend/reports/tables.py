"""The tables of costs, each defined once: for the terminal, the HTML report and the dashboard."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from backend.reports import charts, wording
from backend.reports.queries import Report
from backend.reports.records import (
    BeforeAfter,
    By,
    GroupCost,
    Interval,
    TaskCost,
    about,
)

ERROR_BAR_WIDTH = 150.0

_LEFT = "left"
# Left out on screens below 1100 pixels, and below 800.
_MIDDLE, _NARROW = "hide-middle", "hide-narrow"
_iou = partial(wording.number, digits=2)
_one_digit = partial(wording.number, digits=1)


@dataclass(frozen=True)
class Column:
    """A column of a table of records.

    Attributes:
        name: of the field that it shows, and of the column in addresses.
        form: how a value is written; None is unknown.
        css: its classes in HTML.
        path: to the value, such as "clicks.median", if it is not the field; "": the whole record.
        terminal: whether it is one of the few that fit into 80 characters.
        chart: whether a chart of the value stands beside it in HTML.
        about: what it means.
    """

    name: str
    title: str
    form: Callable[[Any], str] = wording.number
    css: str = ""
    path: str | None = None
    terminal: bool = False
    chart: bool = False
    about: str = ""

    def value(self, record: object) -> Any:
        value: Any = record
        for name in filter(None, (self.name if self.path is None else self.path).split(".")):
            value = None if value is None else getattr(value, name)
        return value

    def text(self, record: object) -> str:
        return self.form(self.value(record))

    def order(self, records: Iterable[Any], *, descending: bool) -> list[Any]:
        """Sorted by this column; those without the figure come last."""
        keys = [(self._key(record), record) for record in records]
        known = [pair for pair in keys if pair[0] is not None]
        known.sort(key=lambda pair: pair[0], reverse=descending)
        return [record for _, record in known] + [record for key, record in keys if key is None]

    def _key(self, record: object) -> Any:
        value = self.value(record)
        if isinstance(value, Interval):
            return value.mean
        return value.casefold() if isinstance(value, str) else value


def _columns(record: type, *columns: Column) -> tuple[Column, ...]:
    """Explained by the descriptions of the record's fields."""
    meaning = about(record)
    return tuple(replace(one, about=one.about or meaning.get(one.name, "")) for one in columns)


GROUPS = _columns(
    GroupCost,
    Column("name", "", wording.group, path="title", terminal=True),
    Column("n", "Objects", terminal=True),
    Column("unknown", "Unknown", css=_NARROW),
    Column("clicks", "Clicks", wording.mean, _LEFT, "clicks.mean", terminal=True, chart=True),
    Column(
        *("median", "Median", _one_digit, _NARROW, "clicks.median"),
        terminal=True,
        about="Median of the interactions per region.",
    ),
    Column("one", "In one", wording.share, terminal=True),
    Column("without_click", "No click", wording.share, _NARROW),
    Column("seconds", "Time", wording.duration, _NARROW, "seconds.median", terminal=True),
    Column("first_iou", "First IoU", _iou, _NARROW, "first_iou.mean", terminal=True),
    Column("last_iou", "Last IoU", _iou, _NARROW, "last_iou.mean", terminal=True),
    Column("needed_85", "To 85\N{NO-BREAK SPACE}%", _iou, _NARROW, "needed_85.mean"),
    Column("corrected", "By hand", wording.pixels, _NARROW, "corrected.mean.mean"),
)

TASKS = _columns(
    TaskCost,
    Column("task", "Task", str, _LEFT, terminal=True),
    Column("objects", "Objects", terminal=True),
    Column("unknown", "Unknown", css=_MIDDLE),
    Column("interactions", "Clicks", terminal=True),
    Column("positive", "+", css=_NARROW, terminal=True),
    Column("negative", "−", css=_NARROW, terminal=True),
    Column("phrases", "Phrases", css=_NARROW, terminal=True),
    Column("boxes", "Boxes", css=_NARROW, terminal=True),
    Column("undos", "Undos", css=_MIDDLE),
    Column("abandoned", "Unused", css=_NARROW),
    Column("per_object", "Per object", _one_digit, terminal=True),
    Column("seconds", "Time", wording.duration, _NARROW, terminal=True),
    Column("lead_time", "Lead time", wording.duration, _MIDDLE),
    Column("first_iou", "First IoU", _iou, _NARROW, terminal=True),
    Column("last_iou", "Last IoU", _iou, _NARROW, terminal=True),
    Column("needed_85", "To 85\N{NO-BREAK SPACE}%", _one_digit, _MIDDLE),
    Column("corrected", "By hand", wording.pixels, _MIDDLE),
    Column("last_at", "Last used", wording.minute),
)

PROMOTIONS = _columns(
    BeforeAfter,
    Column("version", "Version", wording.promoted, path="promotion", terminal=True),
    Column("at", "Since", wording.day, _NARROW, "promotion.at", terminal=True),
    Column(
        *("matched", "Objects", wording.matched, _NARROW, ""),
        terminal=True,
        about="Objects before and after it that are compared.",
    ),
    Column("before", "Before", _iou, terminal=True),
    Column("after", "After", _iou, terminal=True),
    Column("difference", "Difference", wording.change, _LEFT, terminal=True, chart=True),
    Column("verdict", "Conclusion", wording.verdict, f"{_LEFT} wrap", "", terminal=True),
)


# -- tables in HTML, with a chart in each row


@dataclass(frozen=True)
class ErrorBar:
    """A mean with its interval on a small scale; ``zero`` is None if the scale does not cross 0."""

    low: float | None
    mean: float
    high: float | None
    zero: float | None


def error_bar(interval: Interval | None, low: float, high: float) -> ErrorBar | None:
    """An estimate on a scale from low to high; cut off at its ends."""
    if interval is None:
        return None

    def place(value: float) -> float:
        share = (min(max(value, low), high) - low) / ((high - low) or 1.0)
        return round(ERROR_BAR_WIDTH * share, 1)

    return ErrorBar(
        None if interval.low is None else place(interval.low),
        place(interval.mean),
        None if interval.high is None else place(interval.high),
        place(0.0) if low < 0.0 < high else None,
    )


def error_bars(changes: Sequence[Interval | None], least: float = 0.2) -> list[ErrorBar | None]:
    """Differences on one scale around zero, which ends at ``least`` or beyond."""
    reach = reach_of(changes, least)
    return [error_bar(change, -reach, reach) for change in changes]


def scale(intervals: Sequence[Interval]) -> tuple[float, float]:
    """Round ends of a scale on which these means are distinct."""
    means = [interval.mean for interval in intervals]
    if not means:
        return 0.0, 1.0
    # The interval of two objects must not press all others together.
    reach = max(max(means) - min(means), 0.25 * max(means), 0.1)
    lows = [max(interval.low or interval.mean, interval.mean - reach) for interval in intervals]
    highs = [min(interval.high or interval.mean, interval.mean + reach) for interval in intervals]
    step = charts.nice_step(max(highs) - min(lows), 3)
    return max(0.0, step * math.floor(min(lows) / step)), step * math.ceil(max(highs) / step)


def reach_of(changes: Iterable[Interval | None], least: float) -> float:
    """Where a scale around zero ends on which these differences are drawn.

    A very wide interval is cut off, so that it does not press all others together.
    """
    reach = least
    for change in changes:
        if change is not None:
            mean = abs(change.mean)
            ends = max(abs(change.low or 0.0), abs(change.high or 0.0), mean)
            reach = max(reach, min(ends, max(3 * mean, 1.0)))
    return reach


@dataclass(frozen=True)
class GroupTable:
    """Groups of one kind, each with its clicks on the scale of the table, from ``low`` to ``high``.
    ``total``: how many exist, shown or not."""

    by: By
    rows: tuple[tuple[GroupCost, ErrorBar | None], ...]
    total: int
    low: str
    high: str

    @property
    def title(self) -> str:
        return wording.BY[self.by]

    @classmethod
    def of(cls, by: By, groups: Sequence[GroupCost], most: int | None = None) -> "GroupTable":
        """The first ``most`` groups."""
        means = [group.clicks.mean if group.clicks else None for group in groups]
        low, high = scale([mean for mean in means if mean])
        rows = zip(groups[:most], (error_bar(mean, low, high) for mean in means), strict=False)
        return cls(by, tuple(rows), len(groups), f"{low:g}", f"{high:g}")


def promotion_rows(
    changes: Sequence[BeforeAfter],
) -> list[tuple[int, BeforeAfter, ErrorBar | None]]:
    """Promotions numbered from 1, and their differences on one scale around zero."""
    return list(zip(count(1), changes, error_bars([change.difference for change in changes])))


# -- in a terminal

# A few sentences say what is wrong; all of them would push the tables off the screen.
_DIFFERENCES = 5


def in_terminal(report: Report, tasks: int) -> Iterator[RenderableType]:
    """The report, with the ``tasks`` costliest tasks; at most 80 characters wide."""
    summary = report.summary
    yield _title(summary.title)
    yield Text(f"{wording.facts(summary)} Served by {wording.serves(summary.champion)}.")
    if report.filtered:
        yield Text("Filters: " + ", ".join(wording.filters(report.where)) + ".", style="yellow")
    if nothing := wording.empty(report):
        yield Text(nothing)
        return
    if report.total is not None:
        yield Text()
        yield _title("Objects (± half the 95 % interval)")
        yield _table(GROUPS, [report.total])
        for by, groups in report.groups.items():
            if groups and (len(groups) > 1 or by in ("version", "annotator")):
                yield _table(GROUPS, groups, wording.BY[by])
        shares = wording.without_click(report.total), wording.not_known(report.total.unknown)
        for sentence in filter(None, shares):
            yield Text(f"{sentence}\n")
    if report.promotions:
        yield _title("Before and after each promotion, within the same label and size")
        yield _table(PROMOTIONS, report.promotions)
    if shown := report.costliest(tasks):
        most = f"the {len(shown)} costliest of " if len(shown) < report.number_of_tasks else ""
        yield _title(f"Tasks: {most}{report.number_of_tasks:,}")
        yield _table(TASKS, shown)
    said = list(wording.agreement(report.reconciliation))
    for sentence in said[:_DIFFERENCES]:
        yield Text(sentence, style="" if report.reconciliation.agrees else "yellow")
    if len(said) > _DIFFERENCES:
        yield Text("The HTML and JSON reports list all of these.", style="yellow")


def _title(text: str) -> Text:
    # The title of a rich table would be wrapped to the table's width.
    return Text(text, style="bold")


def _table(columns: Sequence[Column], records: Sequence[object], title: str = "") -> Table:
    """title: of the first column, if it has none of its own."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown = [column for column in columns if column.terminal]
    for column in shown:
        first = column is shown[0]
        table.add_column(
            (column.title or title).replace(" ", "\n", not first),
            justify="left" if first or _LEFT in column.css else "right",
            overflow="fold",
            no_wrap=not first and "wrap" not in column.css,
        )
    for record in records:
        table.add_row(*(Text(column.text(record)) for column in shown))
    return table
