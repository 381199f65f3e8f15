"""A project's tasks as a table, and one task: how each object was made, click by click."""

from dataclasses import dataclass

from fastapi import Request, Response

from backend.db.models import INTERACTIONS
from backend.reports.records import RegionCost, ServedStep, TaskCost, about
from backend.web import filters
from backend.web.board import Board, Dashboard, Number, router
from backend.web.projects import label_studio_url
from backend.web.rendering import number_in, query_of

pages = router()

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
    """One event in the making of an object. ``number``: among clicks and phrases. ``shows``: its
    mask is available."""

    event: ServedStep
    title: str
    number: int | None
    shows: bool


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
def tasks(request: Request, board: Board, project: str) -> Response:
    """The table, filtered and sorted by the query."""
    key = board.reports.key(project)
    asked = query_of(request)
    sort, descending = asked["sort"] or "last_at", asked["order"] != "asc"
    listed = board.reports.tasks(
        key,
        filters.where(board, key, asked),
        sort=sort,
        descending=descending,
        page=number_in(asked["page"]) or 1,
        size=_SIZE,
    )
    return board.render.page(
        request,
        "tasks.html",
        section="Overview",
        tab="Tasks",
        project=board.reports.project(key),
        key=key,
        newest=listed,
        asked=asked,
        sort=sort,
        descending=descending,
        sortable=True,
        choices=filters.choices(board, key),
        weeks=filters.WEEKS,
        about=about(TaskCost),
        studio=label_studio_url(board, key),
    )


@pages.get("/projects/{project}/tasks/{task}")
def task_page(request: Request, board: Board, project: str, task: Number) -> Response:
    """One task and the making of its objects."""
    key = board.reports.key(project)
    cost = board.reports.task(key, task)
    studio = label_studio_url(board, key)
    return board.render.page(
        request,
        "task.html",
        section="Overview",
        project=board.reports.project(key),
        key=key,
        task=cost,
        objects=[_object(board, key, region) for region in cost.regions[:_MOST_OBJECTS]],
        most=_MOST_OBJECTS,
        studio=f"{studio}/data?task={task}" if studio else "",
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
    for event in history:
        if event.kind in ("accept", "submit") and region.area:
            continue  # the submitted mask is shown at the end
        counts = event.kind in INTERACTIONS
        number += counts
        title = _KINDS.get(event.kind, event.kind.replace("_", " ").capitalize())
        steps.append(Step(event, title, number if counts else None, event.mask is not None))
    answered = any(event.kind in INTERACTIONS and not event.error for event in history)
    return Object(
        region,
        tuple(steps[:_MOST_STEPS]),
        max(0, len(steps) - _MOST_STEPS),
        masks_expired=answered and not any(step.shows for step in steps),
        photograph=board.masks.has_photograph(project, region.annotation),
    )
