"""Annotators and labels of a project as tables that can be sorted, what was submitted without a
mask, and the same figures as files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi import Request, Response

from backend.api.reports import query_of
from backend.interaction.dropped import DroppedMasks, dropped_masks
from backend.label_studio.payloads import Project
from backend.reports.page import GroupTable
from backend.reports.records import By, Distribution, GroupCost, Interval, ReportFilter, about
from backend.web import filters
from backend.web.board import OWN_FORM, Board, Number, router
from backend.web.learning import ERROR_BAR_WIDTH
from backend.web.projects import label_studio_url
from backend.web.rendering import query_of as asked_of
from backend.web.rendering import segment

pages = router()

_TABLES: tuple[tuple[By, str], ...] = (("annotator", "Annotator"), ("label", "Label"))
# Rows of a table, and submits without a mask; the files have all of them.
_MOST_ROWS = 200
_MOST_WITHOUT_MASK = 50


def _mean(value: Interval | Distribution | None) -> float | None:
    interval = value.mean if isinstance(value, Distribution) else value
    return None if interval is None else interval.mean


def _median(value: Distribution | None) -> float | None:
    return None if value is None else value.median


# The columns that groups can be sorted by.
_SORTS: dict[str, Callable[[GroupCost], float | str | None]] = {
    "name": lambda group: group.title.casefold(),
    "n": lambda group: group.n,
    "clicks": lambda group: _mean(group.clicks),
    "median": lambda group: _median(group.clicks),
    "one": lambda group: _mean(group.one),
    "without_click": lambda group: _mean(group.without_click),
    "seconds": lambda group: _median(group.seconds),
    "first_iou": lambda group: _mean(group.first_iou),
    "last_iou": lambda group: _mean(group.last_iou),
    "needed_85": lambda group: _mean(group.needed_85),
    "corrected": lambda group: _mean(group.corrected),
}


@dataclass(frozen=True)
class File:
    """A download: its name on the page, and its address below ``/api/reports``."""

    name: str
    path: str


@pages.get("/projects/{project}/groups")
def groups(request: Request, board: Board, project: str) -> Response:
    """Annotators and labels, filtered and sorted by the query."""
    key = board.reports.key(project)
    asked = asked_of(request)
    where = filters.where(board, key, asked)
    sort = asked["sort"] if asked["sort"] in _SORTS else "n"
    descending = asked["order"] != "asc"
    unaccepted = [
        one for one in dropped_masks(board.database, Project.read(key)) if _within(one, where)
    ]
    missing = board.reports.without_mask(key, where)
    return board.render.page(
        request,
        "groups.html",
        section="Overview",
        tab="Annotators and labels",
        project=board.reports.project(key),
        key=key,
        tables=[
            (
                by,
                GroupTable.of(title, _sorted(costs, sort, descending), _MOST_ROWS, ERROR_BAR_WIDTH),
            )
            for by, title in _TABLES
            if (costs := board.reports.groups(key, by, where))
        ],
        about=about(GroupCost),
        dropped=unaccepted[:_MOST_WITHOUT_MASK],
        dropped_total=len(unaccepted),
        without_mask=missing[:_MOST_WITHOUT_MASK],
        without_mask_total=len(missing),
        asked=asked,
        sort=sort,
        descending=descending,
        choices=filters.choices(board, key),
        weeks=filters.WEEKS,
        files=files(key, where),
        studio=label_studio_url(board, key),
        error_bar_width=ERROR_BAR_WIDTH,
    )


@pages.post(
    "/projects/{project}/tasks/{task}/annotations/{annotation}/put-back", dependencies=[OWN_FORM]
)
def put_back(
    request: Request, board: Board, project: str, task: Number, annotation: Number
) -> Response:
    """Make the masks that were not accepted before Submit a prediction of their task."""
    key = board.reports.key(project)
    masks = board.service.put_back(Project.read(key), task, annotation)
    said = f"Task {task} has a prediction with {'1 mask' if masks == 1 else f'{masks} masks'} now."
    return board.render.redirect(request, f"/projects/{segment(key)}/groups#not-accepted", said)


def _within(one: DroppedMasks, where: ReportFilter) -> bool:
    """Whether a filter of the page leaves it. Those of versions and phrases do not apply."""
    at = one.submitted_at
    return (
        (where.label is None or where.label in one.labels)
        and (where.annotator is None or where.annotator == one.annotator)
        and (where.tasks is None or one.task in where.tasks)
        and (where.since is None or (at is not None and at >= where.since))
        and (where.until is None or (at is not None and at < where.until))
    )


def files(key: str, where: ReportFilter) -> list[File]:
    """What this filter leaves, in every form that a report has."""
    query = query_of(where)
    listed = [
        File("Report (HTML)", "report?format=html"),
        File("Everything (JSON)", "report?format=json"),
        *(
            File(f"{rows.capitalize()} ({form})", f"{rows}?format={form.lower()}")
            for rows in ("tasks", "regions")
            for form in ("CSV", "Parquet")
        ),
    ]
    return [File(f.name, f"{key}/{f.path}{'&' if query else ''}{query}") for f in listed]


def _sorted(costs: Sequence[GroupCost], sort: str, descending: bool) -> list[GroupCost]:
    """Groups without the figure come last."""
    figure = _SORTS[sort]
    known = [group for group in costs if figure(group) is not None]
    unknown = [group for group in costs if figure(group) is None]
    return sorted(known, key=figure, reverse=descending) + unknown  # type: ignore[arg-type]
