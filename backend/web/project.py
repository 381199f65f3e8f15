"""A project's page: what an object costs, whether that fell, and where it is dear."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request, Response
from sqlalchemy import select

from backend.database import Database
from backend.reports.records import BeforeAfter, By, GroupCost, Interval, OverTime
from backend.settings import Settings
from backend.tables import ProjectRow
from backend.web import charts
from backend.web.board import Board, router
from backend.web.learning import standings

pages = router()

WHISKER = 150.0
_TABLES: tuple[tuple[By, str], ...] = (
    ("version", "Model version"),
    ("label", "Label"),
    ("annotator", "Annotator"),
)
# Rows of a table that are shown at once; the rest unfolds.
_SHOWN = 12
_NEWEST = 8


@dataclass(frozen=True)
class Row:
    """One group in a table, with its mean on the table's scale."""

    group: GroupCost
    whisker: charts.Whisker | None


@dataclass(frozen=True)
class Compared:
    """A promotion and what it changed."""

    number: int
    found: BeforeAfter
    whisker: charts.Whisker | None


@pages.get("/projects/{project}")
def show(request: Request, board: Board, project: str) -> Response:
    """See the module."""
    key = board.reports.key(project)
    over = board.reports.over_time(key)
    total = board.reports.groups(key, "project")
    by_phrase = board.reports.groups(key, "phrase")
    compared = board.reports.promotions(key)
    newest = board.reports.tasks(key, sort="last_at", descending=True, size=_NEWEST)
    return board.render.page(
        request,
        "project.html",
        section="Overview",
        tab="Costs",
        it=board.reports.project(key),
        key=key,
        total=total[0] if total else None,
        over=over,
        weeks=_both(over),
        bars=[
            charts.bars([(it.title, it.histogram) for it in by_phrase[:2]], width)
            for width in (charts.WIDE / 1.3, charts.NARROW)
        ],
        by_phrase=by_phrase,
        tables=[
            (title, _rows(groups), _SHOWN)
            for by, title in _TABLES
            if (groups := board.reports.groups(key, by))
        ],
        phrase_rows=_rows(by_phrase),
        compared=_compared(compared),
        newest=newest,
        standing=standings(board.database, board.settings, [key])[key],
        serves=board.serves(key),
        studio=label_studio(board.database, board.settings, key),
        whisker_width=WHISKER,
        base=board.base,
    )


def label_studio(database: Database, settings: Settings, project: str) -> str:
    """The project's address in Label Studio; '' where it is not known, or is no web address.

    Whoever may call ``/setup`` announces it, so it is looked at before it becomes a link.
    """
    with database.read() as connection:
        query = select(ProjectRow.hostname).where(ProjectRow.key == project)
        announced = connection.execute(query).scalar() or ""
    host = settings.label_studio_url or announced
    if not host.lower().startswith(("http://", "https://")):
        return ""
    return f"{host.rstrip('/')}/projects/{project.partition('.')[0]}"


def _both(over: OverTime) -> list[charts.WeeksChart | None]:
    return [charts.weeks(over.weeks, over.promotions, it) for it in (charts.WIDE, charts.NARROW)]


def _rows(groups: Sequence[GroupCost]) -> list[Row]:
    means = [it.clicks.mean for it in groups if it.clicks is not None]
    # One group of two objects must not press all others together.
    least = max((it.mean for it in means), default=1.0)
    most = max([least, *(min(it.high or 0.0, 1.6 * least) for it in means)])
    return [
        Row(it, charts.whisker(it.clicks.mean if it.clicks else None, 0.0, most, WHISKER))
        for it in groups
    ]


def _compared(found: Sequence[BeforeAfter]) -> list[Compared]:
    """The newest first, all differences on one scale around zero."""
    differences = [it.difference for it in found if it.difference is not None]
    reach = max((_reach(it) for it in differences), default=1.0)
    return [
        Compared(number, it, charts.whisker(it.difference, -reach, reach, WHISKER))
        for number, it in enumerate(found, 1)
    ][::-1]


def _reach(it: Interval) -> float:
    mean = abs(it.mean)
    ends = max(abs(it.low or 0.0), abs(it.high or 0.0), mean)
    return max(0.2, min(ends, max(3 * mean, 1.0)))
