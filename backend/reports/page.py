"""The report as one HTML page that needs nothing but itself: tiles, charts, tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from backend.reports import charts, wording
from backend.reports.records import BeforeAfter, GroupCost
from backend.reports.report import Report

WHISKER_WIDTH = 150.0
# More would make the page slow to open; --csv has all of them.
MOST_TASKS = 200


@dataclass(frozen=True)
class Row:
    """A group and where its clicks lie among the others."""

    group: GroupCost
    whisker: charts.Whisker | None


@dataclass(frozen=True)
class PromotionRow:
    """A promotion, its number in the chart, what came of it."""

    number: int
    it: BeforeAfter
    whisker: charts.Whisker | None
    verdict: str


def render(report: Report) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": wording.number,
        "signed": wording.signed,
        "share": wording.share,
        "duration": wording.duration,
        "day": wording.day,
        "minute": wording.minute,
        "serves": wording.serves,
    }
    shown = report.costliest(MOST_TASKS)
    return environment.get_template("page.html").render(
        report=report,
        facts=wording.facts(report.summary),
        empty=wording.empty(report),
        narrowed=wording.narrowed(report.where),
        not_known=wording.not_known(report.total.unknown) if report.total else "",
        agreement=list(wording.agreement(report.reconciliation)),
        weeks=charts.weeks(report.groups["week"], report.promotions),
        histogram=charts.histogram(report.total) if report.total else None,
        chart_width=charts.WIDTH,
        whisker_width=WHISKER_WIDTH,
        tables=[(wording.BY[by], _rows(found)) for by, found in report.groups.items() if found],
        promotions=_promotions(report.promotions),
        tasks=shown,
    )


def _rows(groups: Sequence[GroupCost]) -> list[Row]:
    end = charts.scale(groups)
    return [
        Row(it, charts.whisker(it.clicks.mean if it.clicks else None, 0.0, end, WHISKER_WIDTH))
        for it in groups
    ]


def _promotions(found: Sequence[BeforeAfter]) -> list[PromotionRow]:
    reach = max(
        (
            abs(end)
            for it in found
            if it.difference is not None
            for end in (it.difference.low, it.difference.high, it.difference.mean)
            if end is not None
        ),
        default=1.0,
    )
    reach = max(reach, 0.1)
    return [
        PromotionRow(
            number,
            it,
            charts.whisker(it.difference, -reach, reach, WHISKER_WIDTH),
            wording.verdict(it),
        )
        for number, it in enumerate(found, 1)
    ]
