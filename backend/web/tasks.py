"""A project's tasks as a table, and one task: each object's making, click by click."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Request, Response

from backend.db.models.core import INTERACTIONS
from backend.reports.records import RegionCost, ServedStep, Where
from backend.web import project as projects
from backend.web.board import Board, router
from backend.web.rendering import asked_of, number_in

pages = router()

_SIZE = 50
# Steps of one object that are shown; a script's hundreds are not a story.
_MOST_STEPS = 40
# Of objects in a task, as many are told in full.
_MOST_OBJECTS = 30

_WEEKS = (1, 4, 12, 52)
# A mask that was served never changes; whoever looks again need not ask again.
_KEEP_IT = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
_ASK_AGAIN = {**_KEEP_IT, "Cache-Control": "private, max-age=30"}

_SAID = {
    "positive_click": "Click: more",
    "negative_click": "Click: less",
    "phrase": "Phrase",
    "undo": "Undone",
    "redo": "Done again",
    "accept": "Accepted",
    "submit": "Submitted",
    "delete": "Deleted",
}


@dataclass(frozen=True)
class Step:
    """One event of an object's making, in words; ``shows``: a picture of its mask is to be had."""

    it: ServedStep
    said: str
    number: int | None  # among clicks and phrases
    shows: bool


@dataclass(frozen=True)
class Object:
    """An accepted region and its story."""

    it: RegionCost
    steps: tuple[Step, ...]
    left_out: int  # steps that are not shown
    masks_gone: bool  # answers were served, yet no mask of them is kept
    photograph: bool


@pages.get("/projects/{project}/tasks")
def tasks(request: Request, board: Board, project: str) -> Response:
    """The table, as the address' query narrows and sorts it."""
    key = board.reports.key(project)
    asked = asked_of(request)
    sort, order = asked.get("sort") or "last_at", asked.get("order") or "desc"
    descending = order != "asc"
    found = board.reports.tasks(
        key,
        _where(asked),
        sort=sort,
        descending=descending,
        page=number_in(asked.get("page")) or 1,
        size=_SIZE,
    )
    return board.render.page(
        request,
        "tasks.html",
        section="Overview",
        tab="Tasks",
        it=board.reports.project(key),
        key=key,
        newest=found,
        asked=asked,
        sort=sort,
        descending=descending,
        sortable=True,
        choices=_choices(board, key),
        weeks=_WEEKS,
        studio=projects.label_studio(board.database, board.settings, key),
    )


@pages.get("/projects/{project}/tasks/{task}")
def task(request: Request, board: Board, project: str, task: int) -> Response:
    """One task with the making of its objects."""
    key = board.reports.key(project)
    found = board.reports.task(key, task)
    studio = projects.label_studio(board.database, board.settings, key)
    return board.render.page(
        request,
        "task.html",
        section="Overview",
        it=board.reports.project(key),
        key=key,
        task=found,
        objects=[_told(board, key, task, each) for each in found.regions[:_MOST_OBJECTS]],
        most=_MOST_OBJECTS,
        studio=f"{studio}/data?task={task}" if studio else "",
        days=board.settings.keep_masks_days,
    )


@pages.get("/projects/{project}/masks/{annotation}/{region:path}/{event}.jpg")
def mask(board: Board, project: str, annotation: int, region: str, event: str) -> Response:
    """The photograph with the mask of one step, or with the one that was submitted."""
    if event == "accepted":
        picture = board.masks.accepted(project, annotation, region)
        return Response(picture, media_type="image/jpeg", headers=_ASK_AGAIN)
    picture = board.masks.after(project, annotation, region, number_in(event) or 0)
    return Response(picture, media_type="image/jpeg", headers=_KEEP_IT)


def _told(board: Board, project: str, task: int, region: RegionCost) -> Object:
    history = board.reports.history(project, task, region.region, region.annotation)
    steps, number = [], 0
    for it in history:
        if it.kind in ("accept", "submit") and region.area:
            continue  # the mask that was submitted stands at the end
        counts = it.kind in INTERACTIONS
        number += counts
        said = _SAID.get(it.kind, it.kind.replace("_", " ").capitalize())
        steps.append(Step(it, said, number if counts else None, it.mask is not None))
    answered = any(it.kind in INTERACTIONS and not it.error for it in history)
    return Object(
        region,
        tuple(steps[:_MOST_STEPS]),
        max(0, len(steps) - _MOST_STEPS),
        masks_gone=answered and not any(step.shows for step in steps),
        photograph=board.masks.has_photograph(project, region.annotation),
    )


def _choices(board: Board, project: str) -> dict[str, Sequence[tuple[str, str]]]:
    """What the table can be narrowed to: (value, name)."""
    return {
        by: sorted({(it.name, it.title) for it in board.reports.groups(project, by) if it.name})
        for by in ("label", "version", "annotator")
    }


def _where(asked: Mapping[str, str]) -> Where:
    words: dict[str, bool] = {"with": True, "without": False}
    weeks = number_in(asked.get("weeks"))
    number = number_in(asked.get("task"))
    told: dict[str, Any] = {
        "label": asked.get("label") or None,
        "version": asked.get("version") or None,
        "annotator": number_in(asked.get("annotator")),
        "phrase": words.get(asked.get("words", "")),
        "since": datetime.now(UTC) - timedelta(weeks=weeks) if weeks else None,
        "tasks": (number,) if number is not None else None,
    }
    return Where(**told)
