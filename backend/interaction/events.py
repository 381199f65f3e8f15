"""The event log: one row for each interaction, appended when it comes and completed when it is
answered.

Label Studio deletes prompts after use, so this is the only record of what was clicked and typed. A
row is written with the decision about its object: if the process crashes while the model runs, the
row stays, without an answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Boolean, Connection, bindparam, func, insert, select, update

from backend.db.models import EventKind, EventRow
from backend.interaction.objects import Target
from backend.label_studio.payloads import Project

# Built once: building a statement costs more than running it.
_APPEND = insert(EventRow)
_COMPLETE = (
    update(EventRow)
    .where(EventRow.request_id == bindparam("of_request"))
    .values(
        x_pixel=func.coalesce(EventRow.x_pixel, EventRow.x_percent * bindparam("x_scale")),
        y_pixel=func.coalesce(EventRow.y_pixel, EventRow.y_percent * bindparam("y_scale")),
    )
)
_LOGGED = (
    select(EventRow.click_id, EventRow.kind)
    .where(
        EventRow.project == bindparam("of_project"),
        EventRow.task_id == bindparam("of_task"),
        EventRow.click_id.in_(bindparam("ids", expanding=True)),
        EventRow.kind.in_(("positive_click", "negative_click", "box")),
        EventRow.owner.in_(bindparam("owners", expanding=True))
        | bindparam("anybody", type_=Boolean),
    )
    .order_by(EventRow.id)
)


@dataclass(frozen=True)
class Event:
    """One interaction. ``request_id`` is '' for what was inferred and needs no answer."""

    kind: EventKind
    target_id: int | None = None
    region_id: str = ""
    request_id: str = ""
    starts: bool = False
    click_id: str = ""
    phrase_id: str = ""
    x_percent: float | None = None
    y_percent: float | None = None
    x_pixel: float | None = None
    y_pixel: float | None = None
    x2_percent: float | None = None
    y2_percent: float | None = None
    text: str = ""
    label: str = ""
    changed: float | None = None
    edited: int | None = None

    @classmethod
    def about(cls, target: Target, kind: EventKind, **values: Any) -> "Event":
        """One that concerns an object."""
        return cls(kind, target.id, target.region_id, label=target.label, **values)

    @classmethod
    def undo(cls, target: Target, click_id: str) -> "Event":
        """Take the click back, and the event that says so."""
        target.take_back(click_id)
        return cls.about(target, "undo", click_id=click_id)


@dataclass(frozen=True)
class Outcome:
    """How a request was answered. ``mask`` is None where there is none; ``error`` says why."""

    mask: np.ndarray | None = None  # H,W bool at the upright picture's size
    confidence: float | None = None
    model_version: str = ""
    milliseconds: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict)  # milliseconds by step
    error: str = ""
    digest: str = ""  # of the region as answered: tells when a draft shows it again


def append_events(
    connection: Connection,
    project: Project,
    task_id: int,
    events: Sequence[tuple[Event, str]],
    at: datetime,
) -> None:
    """Write events, each with the user who caused it, when they come."""
    if not events:
        return
    shared = {"project": project.key, "task_id": task_id, "created_at": at}
    rows = [{**vars(event), **shared, "owner": owner} for event, owner in events]
    connection.execute(_APPEND, rows)


def complete_events(
    connection: Connection,
    request_id: str,
    outcome: Outcome,
    at: datetime,
    changed: float | None = None,
) -> None:
    """Complete a request's rows with its answer. Missing places in pixels are filled in."""
    height, width = (None, None) if outcome.mask is None else outcome.mask.shape
    values = {
        "of_request": request_id,
        "answered_at": at,
        "milliseconds": outcome.milliseconds,
        "steps": dict(outcome.steps),
        "model_version": outcome.model_version[:128],
        "confidence": outcome.confidence,
        "changed": changed,
        "error": outcome.error,
        "x_scale": width / 100 if width else None,
        "y_scale": height / 100 if height else None,
    }
    connection.execute(_COMPLETE, values)


def logged_clicks(
    connection: Connection, project: Project, task_id: int, ids: Sequence[str], user: str
) -> dict[str, bool]:
    """Which of these clicks the same annotator made before: id -> positive."""
    if not ids:
        return {}
    values = {
        "of_project": project.key,
        "of_task": task_id,
        "ids": list(ids),
        "owners": ["", user],
        "anybody": not user,
    }
    rows = connection.execute(_LOGGED, values)
    return {row.click_id: row.kind != "negative_click" for row in rows}
