"""The report as one self-contained HTML page. The dashboard shows its tables, too."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from backend.reports import charts, tables, wording
from backend.reports.group_by import weeks_of
from backend.reports.queries import Report
from backend.reports.records import BeforeAfter, By, GroupCost, Interval

TEMPLATES = Path(__file__).parent / "templates"
# The style sheet of the report and of the dashboard.
STYLE = Path(__file__).parent / "static"

ERROR_BAR_WIDTH = 150.0
# More would make the page slow to open; --csv has all of them.
_MOST_TASKS = 200

FILTERS = {
    "number": wording.number,
    "signed": wording.signed,
    "share": wording.share,
    "duration": wording.duration,
    "counted": wording.counted,
    "day": wording.day,
    "minute": wording.minute,
    "serves": wording.serves,
    "promoted": wording.promoted,
}


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


def error_bars(changes: Sequence[Interval | None]) -> list[ErrorBar | None]:
    """Differences on one scale around zero."""
    reach = reach_of(changes)
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


def reach_of(changes: Iterable[Interval | None], least: float = 0.2) -> float:
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


@cache
def environment(*folders: Path) -> Environment:
    """Templates in these folders, else those of reports; texts of users are escaped."""
    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES, STYLE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= FILTERS
    made.globals |= {
        "error_bar_width": ERROR_BAR_WIDTH,
        "group_columns": tables.GROUPS,
        "task_columns": tables.TASKS,
        "promotion_columns": tables.PROMOTIONS,
    }
    return made


def render(report: Report) -> str:
    weeks = weeks_of(report.groups["week"])
    marks = [change.promotion for change in report.promotions]
    total = report.total
    template = environment().get_template("report.html")
    return template.render(
        report=report,
        facts=wording.facts(report.summary),
        empty=wording.empty(report),
        filters=wording.filters(report.where),
        not_known=wording.not_known(total.unknown) if total else "",
        agreement=list(wording.agreement(report.reconciliation)),
        weeks=[charts.weeks_chart(weeks, marks, width, report.made_at) for width in charts.WIDTHS],
        weeks_text=charts.weeks_text(weeks) if weeks else "",
        bars=[
            charts.bars([("Objects", total.histogram)] if total else [], width)
            for width in charts.WIDTHS
        ],
        group_tables=[GroupTable.of(by, groups) for by, groups in report.groups.items() if groups],
        promotions=promotion_rows(report.promotions),
        tasks=report.costliest(_MOST_TASKS),
    )
