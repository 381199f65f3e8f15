"""The overview of all projects, and the page of one project: costs, trend, breakdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response
from sqlalchemy import select

from backend.db.models import ProjectRow, SampledProjectRow
from backend.db.models.jobs import REPLAY, TRAINING, Job
from backend.interaction.submitted import dropped_masks
from backend.label_studio.payloads import Project
from backend.reports import charts
from backend.reports.records import By, GroupCost, ProjectSummary, PromotionMark
from backend.reports.tables import GroupTable, promotion_rows
from backend.web import health
from backend.web.board import OWN_FORM, Board, Dashboard, Key, router
from backend.web.training import TrainingStatus, replay_of, request_job, training_status
from backend.web.versions import Suggested, suggested_of

pages = router()

_TABLES: tuple[By, ...] = ("version", "label", "annotator")
# Older replays are in the list of jobs.
_REPLAYS_SHOWN = 3
# Replays and trainings without a result are passed over; older ones say little of the present.
_JOBS = 10
# Rows of a table; the report has the rest.
_ROWS = 12
_NEWEST_TASKS = 8


@dataclass(frozen=True)
class Card:
    """A project on the overview."""

    summary: ProjectSummary
    status: TrainingStatus
    spark: charts.Chart | None
    spark_text: str
    serves: str


@dataclass(frozen=True)
class LastTraining:
    """A training whose candidate was compared with the champion of that time."""

    job: Job
    suggested: Suggested


@pages.get("")
@pages.get("/")
def overview(request: Request, board: Board) -> Response:
    summaries = board.reports.projects()
    status = training_status(board, [summary.key for summary in summaries])
    cards = [_card(board, summary, status[summary.key]) for summary in summaries]
    # The most recently used first.
    cards.sort(key=lambda card: card.summary.last_at.timestamp() if card.summary.last_at else 0.0)
    return board.render.page(
        request,
        "overview.html",
        section="Overview",
        cards=cards[::-1],
        problems=health.problems(board),
        interactions=sum(summary.interactions for summary in summaries),
        objects=sum(summary.regions for summary in summaries),
        tasks=sum(summary.tasks for summary in summaries),
        base=board.registry.base_name,
        learns=board.settings.learn,
    )


def _card(board: Dashboard, summary: ProjectSummary, status: TrainingStatus) -> Card:
    over = board.reports.over_time(summary.key)
    return Card(
        summary=summary,
        status=status,
        spark=charts.sparkline(over.weeks, over.promotions, datetime.now(UTC)),
        spark_text=charts.weeks_text(over.weeks) if over.weeks else "",
        serves=summary.champion or board.registry.serves(""),
    )


def project_page(
    request: Request, board: Dashboard, key: str, template: str, tab: str = "", **values: Any
) -> Response:
    return board.render.page(
        request,
        template,
        section="Overview",
        tab=tab,
        key=key,
        project=board.reports.project(key),
        studio=label_studio_url(board, key),
        **values,
    )


@pages.get("/projects/{project}")
def project_costs(request: Request, board: Board, key: Key) -> Response:
    over = board.reports.over_time(key)
    total = board.reports.groups(key, "project")
    by_phrase = board.reports.groups(key, "phrase")
    replays = board.jobs.listed(project=key, kind=REPLAY, limit=_JOBS)
    # Why its labels cannot be read from Label Studio at the moment.
    unread = select(SampledProjectRow.error).where(SampledProjectRow.key == key)
    return project_page(
        *(request, board, key, "project.html", "Costs"),
        total=total[0] if total else None,
        over=over,
        weeks=[
            charts.weeks_chart(over.weeks, over.promotions, width, datetime.now(UTC))
            for width in charts.WIDTHS
        ],
        weeks_text=charts.weeks_text(over.weeks) if over.weeks else "",
        bars=[
            charts.bars([(group.title, group.histogram) for group in by_phrase[:2]], width)
            for width in charts.WIDTHS
        ],
        group_tables=[
            GroupTable.of(
                by, _by_age(groups, over.promotions) if by == "version" else groups, _ROWS
            )
            for by in _TABLES
            if (groups := board.reports.groups(key, by))
        ],
        phrase_table=GroupTable.of("phrase", by_phrase),
        promotions=promotion_rows(board.reports.promotions(key))[::-1],
        replays=[made for job in replays if (made := replay_of(job))][:_REPLAYS_SHOWN],
        replaying=replays[0] if replays and not replays[0].ended else None,
        without_mask=len(board.reports.without_mask(key)),
        dropped=len(dropped_masks(board.database, Project.read(key))),
        trouble="".join(board.database.records(unread)),
        newest=board.reports.tasks(key, sort="last_at", descending=True, size=_NEWEST_TASKS),
        learning=training_status(board, [key])[key],
        last=_last_training(board, key),
        serves=board.registry.serves(key),
        base=board.registry.base_name,
    )


@pages.post("/projects/{project}/replay", dependencies=[OWN_FORM])
def start_replay(request: Request, board: Board, key: Key) -> Response:
    """Compare the champion with its predecessor on the labeled objects."""
    return request_job(request, board, key, REPLAY)


def _last_training(board: Dashboard, project: str) -> LastTraining | None:
    """The newest training of the project that has these figures."""
    for job in board.jobs.listed(project=project, kind=TRAINING, state="done", limit=_JOBS):
        result = job.result or {}
        if suggested := suggested_of(board, result.get("version", ""), result.get("gate")):
            return LastTraining(job, suggested)
    return None


def label_studio_url(board: Dashboard, project: str) -> str:
    """The project's address in Label Studio; '' if it is unknown or not a web address.

    Anyone who may call ``/setup`` can set it, so it is checked before it becomes a link.
    """
    announced = select(ProjectRow.hostname).where(ProjectRow.key == project)
    host = board.settings.label_studio_url or "".join(board.database.records(announced))
    if not host.lower().startswith(("http://", "https://")):
        return ""
    return f"{host.rstrip('/')}/projects/{project.partition('.')[0]}"


def _by_age(groups: Sequence[GroupCost], marks: Sequence[PromotionMark]) -> list[GroupCost]:
    """Versions, the latest to be promoted first."""
    since = {mark.version: number for number, mark in enumerate(marks)}
    return sorted(groups, key=lambda group: -since.get(group.name, -1))
