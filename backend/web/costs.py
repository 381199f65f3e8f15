"""What a project's labels cost: annotators and labels as tables that can be sorted and saved as
files, the tasks, one task click by click, and what was submitted without a mask.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Request, Response

from backend.api.reports import query_of
from backend.db.models import INTERACTIONS
from backend.interaction.submitted import DroppedMasks, dropped_masks
from backend.label_studio.payloads import Project
from backend.reports.group_by import SORTS
from backend.reports.output import RECORDS
from backend.reports.records import By, RegionCost, ReportFilter, ServedStep
from backend.reports.tables import GROUPS, GroupTable
from backend.reports.wording import BY
from backend.web.board import OWN_FORM, Asked, Board, Dashboard, Key, Number, router
from backend.web.projects import project_page
from backend.web.rendering import number_in, segment

pages = router()

_WEEKS = (1, 4, 12, 52)
_MOST_WEEKS = 5_000  # there is no year 0
_PHRASE = {"with": True, "without": False}
_TABLES: tuple[By, ...] = ("annotator", "label")
_FILTERED: tuple[By, ...] = ("label", "version", "annotator")
# Rows of a table, and submits without a mask; the files have all of them.
_MOST_ROWS = 200
_MOST_WITHOUT_MASK = 50


@pages.get("/projects/{project}/groups")
def groups(request: Request, board: Board, key: Key, asked: Asked) -> Response:
    """Annotators and labels, filtered and sorted by the query."""
    where = _filter_of(board, key, asked)
    columns = {column.name: column for column in GROUPS}
    sorting = _sorting(asked, "n", columns)
    column, descending = columns[sorting["sort"]], sorting["descending"]
    unaccepted = [
        one for one in dropped_masks(board.database, Project.read(key)) if _within(one, where)
    ]
    missing = board.reports.without_mask(key, where)
    return project_page(
        *(request, board, key, "groups.html", "Annotators and labels"),
        group_tables=[
            GroupTable.of(by, column.order(costs, descending=descending), _MOST_ROWS)
            for by in _TABLES
            if (costs := board.reports.groups(key, by, where))
        ],
        dropped=unaccepted[:_MOST_WITHOUT_MASK],
        dropped_total=len(unaccepted),
        without_mask=missing[:_MOST_WITHOUT_MASK],
        without_mask_total=len(missing),
        files=_files(key, where),
        sorting=sorting,
        **_filter_form(board, key, asked),
    )


@pages.post(
    "/projects/{project}/tasks/{task}/annotations/{annotation}/put-back", dependencies=[OWN_FORM]
)
def put_back(
    request: Request, board: Board, key: Key, task: Number, annotation: Number
) -> Response:
    """Make the masks that were not accepted before Submit a prediction of their task."""
    masks = board.service.put_back(Project.read(key), task, annotation)
    said = f"Task {task} has a prediction with {'1 mask' if masks == 1 else f'{masks} masks'} now."
    return board.render.redirect(request, f"/projects/{segment(key)}/groups#not-accepted", said)


def _within(one: DroppedMasks, where: ReportFilter) -> bool:
    """Whether a filter of the page leaves it. Those of versions and phrases do not apply."""
    at = one.submitted_at
    return (
        (where.label is None or where.label in one.labels)
        and (where.annotator is None or where.annotator == one.annotator)
        and (where.since is None or (at is not None and at >= where.since))
        and (where.until is None or (at is not None and at < where.until))
    )


def _files(key: str, where: ReportFilter) -> list[tuple[str, str]]:
    """What this filter leaves, in every form that a report has: names and addresses."""
    query = query_of(where)
    listed = [("Report (HTML)", "report?format=html"), ("Everything (JSON)", "report?format=json")]
    for rows in RECORDS:
        for form in ("CSV", "Parquet"):
            listed.append((f"{rows.capitalize()} ({form})", f"{rows}?format={form.lower()}"))
    listed += [(f"{BY[by]}s (JSON)", f"groups?by={by}") for by in _TABLES]
    listed.append(("Submitted without a mask (JSON)", "without-mask?"))
    return [(name, f"{key}/{path}{'&' if query else ''}{query}") for name, path in listed]


def _sorting(asked: Mapping[str, str], usual: str, known: Collection[str]) -> dict[str, Any]:
    """How a table is sorted by the query; by ``usual`` if that names no known column."""
    return {
        "asked": asked,
        "sort": asked["sort"] if asked["sort"] in known else usual,
        "descending": asked["order"] != "asc",
    }


def _filter_form(board: Dashboard, key: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``filter.html`` shows."""
    choices = {
        by: sorted(
            {(group.name, group.title) for group in board.reports.groups(key, by) if group.name}
        )
        for by in _FILTERED
    }
    return {"asked": asked, "choices": choices, "weeks": _WEEKS}


def _filter_of(board: Dashboard, project: str, asked: Mapping[str, str]) -> ReportFilter:
    """The filters of a project's page, from its query: the same for its tables and for its files.

    Raises FilterError for a day or an annotator that does not exist.
    """
    chosen = board.reports.where(
        project,
        since=asked["since"],
        until=asked["until"],
        version=asked["version"],
        label=asked["label"] or None,
        annotator=asked["annotator"],
        phrase=_PHRASE.get(asked["words"]),
    )
    weeks = number_in(asked["weeks"])
    if weeks and chosen.since is None:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        chosen = replace(chosen, since=today - timedelta(weeks=min(weeks, _MOST_WEEKS)))
    return chosen


# -- tasks

_SIZE = 50
# Steps of one object, and objects of one task, that are shown.
_MOST_STEPS, _MOST_OBJECTS = 40, 30

# A served mask never changes; the accepted one may be edited.
_CACHE_LONG = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
_CACHE_SHORT = {**_CACHE_LONG, "Cache-Control": "private, max-age=30"}

_KINDS = {
    "positive_click": "Click: add",
    "negative_click": "Click: remove",
    "phrase": "Phrase",
    "box": "Box",
    "undo": "Undo",
    "redo": "Redo",
    "edit": "Edited by hand",
    "accept": "Accepted",
    "submit": "Submitted",
    "delete": "Deleted",
}


@dataclass(frozen=True)
class Step:
    """One event in the making of an object. ``number``: among clicks and phrases."""

    served: ServedStep
    title: str
    number: int | None


@dataclass(frozen=True)
class Object:
    """An accepted region and its steps. ``left_out``: steps that are not shown. ``masks_expired``:
    answers were served, but none of their masks is left."""

    region: RegionCost
    steps: tuple[Step, ...]
    left_out: int
    masks_expired: bool
    photograph: bool


@pages.get("/projects/{project}/tasks")
def tasks(request: Request, board: Board, key: Key, asked: Asked) -> Response:
    sorting = _sorting(asked, "last_at", SORTS)
    where, task = _filter_of(board, key, asked), number_in(asked["task"])
    listed = board.reports.tasks(
        key,
        where if task is None else replace(where, tasks=(task,)),
        sort=sorting["sort"],
        descending=sorting["descending"],
        page=number_in(asked["page"]) or 1,
        size=_SIZE,
    )
    return project_page(
        *(request, board, key, "tasks.html", "Tasks"),
        newest=listed,
        sorting=sorting,
        **_filter_form(board, key, asked),
    )


@pages.get("/projects/{project}/tasks/{task}")
def task_page(request: Request, board: Board, key: Key, task: Number) -> Response:
    cost = board.reports.task(key, task)
    return project_page(
        *(request, board, key, "task.html"),
        task=cost,
        objects=[_object(board, key, region) for region in cost.regions[:_MOST_OBJECTS]],
        most=_MOST_OBJECTS,
        days=board.settings.keep_masks_days,
    )


@pages.get("/projects/{project}/masks/{annotation}/{region:path}/{event}.jpg")
def mask(board: Board, project: str, annotation: Number, region: str, event: str) -> Response:
    """The photograph with the mask of one step, or with the submitted one."""
    if event == "accepted":
        picture = board.masks.accepted(project, annotation, region)
        return Response(picture, media_type="image/jpeg", headers=_CACHE_SHORT)
    picture = board.masks.after(project, annotation, region, number_in(event) or 0)
    return Response(picture, media_type="image/jpeg", headers=_CACHE_LONG)


def _object(board: Dashboard, project: str, region: RegionCost) -> Object:
    history = board.reports.history(project, region.task, region.region, region.annotation)
    steps, number = [], 0
    for served in history:
        kind = served.event.kind
        if kind in ("accept", "submit") and region.area:
            continue  # the submitted mask is shown at the end
        counts = kind in INTERACTIONS
        number += counts
        title = _KINDS.get(kind, kind.replace("_", " ").capitalize())
        steps.append(Step(served, title, number if counts else None))
    answered = any(s.event.kind in INTERACTIONS and not s.event.error for s in history)
    return Object(
        region,
        tuple(steps[:_MOST_STEPS]),
        max(0, len(steps) - _MOST_STEPS),
        masks_expired=answered and all(step.served.mask is None for step in steps),
        photograph=board.masks.has_photograph(project, region.annotation, region.region),
    )
