"""The first page: every project at a glance, and whether anything needs a look."""

from dataclasses import dataclass

from fastapi import Request, Response

from backend.reports.records import ProjectSummary
from backend.web import charts, health
from backend.web.board import Board, router
from backend.web.training_status import Standing, standings

pages = router()


@dataclass(frozen=True)
class Card:
    """A project, as the overview shows it."""

    summary: ProjectSummary
    standing: Standing
    spark: charts.Sparkline | None
    told: str  # what the sparkline says
    week: float | None  # interactions an object in the newest week
    serves: str


@pages.get("")
@pages.get("/")
def overview(request: Request, board: Board) -> Response:
    """Projects, and what is not well."""
    summaries = board.reports.projects()
    standing = standings(board.database, board.settings, [it.key for it in summaries])
    cards = [_card(board, it, standing[it.key]) for it in summaries]
    # Those that are worked in first.
    cards.sort(key=lambda it: it.summary.last_at.timestamp() if it.summary.last_at else 0.0)
    return board.render.page(
        request,
        "overview.html",
        section="Overview",
        cards=cards[::-1],
        worries=health.worries(board),
        interactions=sum(it.interactions for it in summaries),
        objects=sum(it.regions for it in summaries),
        tasks=sum(it.tasks for it in summaries),
        base=board.base,
        learns=board.settings.learn,
    )


def _card(board: Board, summary: ProjectSummary, standing: Standing) -> Card:
    over = board.reports.over_time(summary.key)
    spark = charts.sparkline(over.weeks, over.promotions)
    told = ""
    if spark is not None:
        first, last = over.weeks[0], over.weeks[-1]
        told = (
            f"Clicks for each object over {len(over.weeks)} weeks: {first.clicks.mean:.2f} in the "
            f"first, {last.clicks.mean:.2f} in the last; {len(over.promotions)} promotions."
        )
    return Card(
        summary=summary,
        standing=standing,
        spark=spark,
        told=told,
        week=over.weeks[-1].clicks.mean if over.weeks else None,
        serves=summary.champion or board.serves(""),
    )
