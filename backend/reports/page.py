"""The report as one self-contained HTML page: tiles, charts, tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from backend.reports import charts, weeks_chart, wording
from backend.reports.queries import Report
from backend.reports.records import BeforeAfter, GroupCost, Week

TEMPLATES = Path(__file__).parent / "templates"

_ERROR_BAR_WIDTH = 150.0
_WEEKS, _BARS = 620.0, 420.0
# More would make the page slow to open; --csv has all of them.
_MOST_TASKS = 200

FILTERS = {
    "number": wording.number,
    "signed": wording.signed,
    "share": wording.share,
    "duration": wording.duration,
    "day": wording.day,
    "minute": wording.minute,
    "serves": wording.serves,
    "verdict": wording.verdict,
}


@dataclass(frozen=True)
class GroupRow:
    """A group, with its clicks on the scale of its table."""

    group: GroupCost
    error_bar: charts.ErrorBar | None


@dataclass(frozen=True)
class GroupTable:
    """Groups of one kind. ``total``: how many exist, shown or not. low, high: of the scale."""

    title: str
    rows: tuple[GroupRow, ...]
    total: int
    low: str
    high: str

    @classmethod
    def of(cls, title: str, groups: Sequence[GroupCost], most: int, width: float) -> "GroupTable":
        """The first ``most`` groups."""
        means = [group.clicks.mean if group.clicks else None for group in groups]
        low, high = charts.scale([mean for mean in means if mean])
        rows = [
            GroupRow(group, charts.error_bar(mean, low, high, width))
            for group, mean in zip(groups, means, strict=True)
        ]
        return cls(title, tuple(rows[:most]), len(rows), f"{low:g}", f"{high:g}")


@dataclass(frozen=True)
class PromotionRow:
    """A promotion with its number, and its difference on a scale around zero."""

    number: int
    change: BeforeAfter
    error_bar: charts.ErrorBar | None


def promotion_rows(changes: Sequence[BeforeAfter], width: float) -> list[PromotionRow]:
    """Promotions numbered from 1, all on one scale."""
    reach = charts.reach_of(change.difference for change in changes)
    return [
        PromotionRow(number, change, charts.error_bar(change.difference, -reach, reach, width))
        for number, change in enumerate(changes, 1)
    ]


@cache
def environment(*folders: Path) -> Environment:
    """Templates in these folders, else those of reports; texts of users are escaped."""
    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= FILTERS
    return made


def render(report: Report) -> str:
    """The whole page."""
    weeks = _weeks(report.groups["week"])
    total = report.total
    template = environment().get_template("report.html")
    return template.render(
        report=report,
        facts=wording.facts(report.summary),
        empty=wording.empty(report),
        filters=wording.filters(report.where),
        not_known=wording.not_known(total.unknown) if total else "",
        agreement=list(wording.agreement(report.reconciliation)),
        weeks=weeks_chart.draw(
            weeks, [change.promotion for change in report.promotions], _WEEKS, report.made_at
        ),
        weeks_text=weeks_chart.text(weeks) if weeks else "",
        bars=charts.bars([("Objects", total.histogram)], _BARS) if total else None,
        error_bar_width=_ERROR_BAR_WIDTH,
        tables=[
            GroupTable.of(wording.BY[by], groups, len(groups), _ERROR_BAR_WIDTH)
            for by, groups in report.groups.items()
            if groups
        ],
        promotions=promotion_rows(report.promotions, _ERROR_BAR_WIDTH),
        tasks=report.costliest(_MOST_TASKS),
    )


def _weeks(groups: Sequence[GroupCost]) -> list[Week]:
    return [
        Week(datetime.fromisoformat(week.name).replace(tzinfo=UTC), week.n, week.clicks.mean)
        for week in groups
        if week.clicks
    ]
