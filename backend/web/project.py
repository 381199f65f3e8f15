"""A project's page: what an object costs, whether that fell, and where it is dear."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request, Response
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models.core import ProjectRow
from backend.reports.records import BeforeAfter, By, GroupCost, Interval, Mark, OverTime
from backend.settings import Settings
from backend.web import charts
from backend.web.board import Board, router
from backend.web.replays import replays
from backend.web.training_status import standings

pages = router()

WHISKER = 150.0
_TABLES: tuple[tuple[By, str], ...] = (
    ("version", "Model version"),
    ("label", "Label"),
    ("annotator", "Annotator"),
)
# Rows of a table; the report has the rest.
_SHOWN = 12
_NEWEST = 8


@dataclass(frozen=True)
class Row:
    """One group in a table, with its mean on the table's scale."""

    group: GroupCost
    whisker: charts.Whisker | None


@dataclass(frozen=True)
class GroupTable:
    """Groups of one kind. ``total``: as many there are, shown or not; low, high: the scale's."""

    title: str
    rows: tuple[Row, ...]
    total: int
    low: str
    high: str


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
            for width in (charts.WIDE, charts.NARROW)
        ],
        by_phrase=by_phrase,
        tables=[
            _table(title, _by_age(groups, over.promotions) if by == "version" else groups)
            for by, title in _TABLES
            if (groups := board.reports.groups(key, by))
        ],
        words=_table("Words", by_phrase),
        compared=_compared(compared),
        replays=replays(board, key),
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


def _table(title: str, groups: Sequence[GroupCost]) -> GroupTable:
    means = [it.clicks.mean for it in groups if it.clicks is not None]
    low, high = charts.scale(means)
    rows = tuple(
        Row(it, charts.whisker(it.clicks.mean if it.clicks else None, low, high, WHISKER))
        for it in groups
    )
    return GroupTable(title, rows[:_SHOWN], len(rows), f"{low:g}", f"{high:g}")


def _by_age(groups: Sequence[GroupCost], marks: Sequence[Mark]) -> list[GroupCost]:
    """Versions, those that began to serve last first."""
    since = {it.version: number for number, it in enumerate(marks)}
    return sorted(groups, key=lambda it: -since.get(it.name, -1))


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
