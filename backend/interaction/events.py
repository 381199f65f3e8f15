"""The event log: one row for each interaction, appended when it comes, completed when answered.

Label Studio deletes prompts once they have done their work, so what was clicked and typed is known
only here. A row is written in the same transaction that decides what the click belongs to: a
process that dies while the model runs leaves the row behind, without an answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, Connection, Table, bindparam, func, insert, select, update

from backend.db.models.core import EventRow, Kind
from backend.label_studio.payloads import Project

_events: Table = EventRow.__table__  # type: ignore[assignment]

# Built once: building a statement costs more than running it.
_APPEND = insert(_events)
_COMPLETE = (
    update(_events)
    .where(_events.c.request_id == bindparam("of_request"))
    .values(
        x_pixel=func.coalesce(_events.c.x_pixel, _events.c.x_percent * bindparam("x_scale")),
        y_pixel=func.coalesce(_events.c.y_pixel, _events.c.y_percent * bindparam("y_scale")),
    )
)
_LOGGED = (
    select(_events.c.click_id, _events.c.kind)
    .where(
        _events.c.project == bindparam("of_project"),
        _events.c.task_id == bindparam("of_task"),
        _events.c.click_id.in_(bindparam("ids", expanding=True)),
        _events.c.kind.in_(("positive_click", "negative_click")),
        _events.c.owner.in_(bindparam("owners", expanding=True))
        | bindparam("anybody", type_=Boolean),
    )
    .order_by(_events.c.id)
)


@dataclass(frozen=True)
class Event:
    """One interaction. ``request_id`` is '' for what was inferred, which nothing answers."""

    kind: Kind
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
    text: str = ""
    label: str = ""
    note: str = ""


@dataclass(frozen=True)
class Answered:
    """How a request was answered, for all rows that it wrote."""

    at: datetime
    milliseconds: float
    steps: Mapping[str, float]
    model_version: str = ""
    confidence: float | None = None
    changed: float | None = None
    error: str = ""
    width: int | None = None
    height: int | None = None


def append(
    connection: Connection,
    project: Project,
    task_id: int,
    events: Sequence[tuple[Event, str]],
    at: datetime,
) -> None:
    """Write events, each with who caused it, at the time they come."""
    if not events:
        return
    shared = {"project": project.key, "task_id": task_id, "created_at": at}
    rows = [{**vars(event), **shared, "owner": owner} for event, owner in events]
    connection.execute(_APPEND, rows)


def complete(connection: Connection, request_id: str, answered: Answered) -> None:
    """Add to a request's rows how it went. Places in pixels are filled in where they lacked."""
    values = {
        "of_request": request_id,
        "answered_at": answered.at,
        "milliseconds": answered.milliseconds,
        "steps": dict(answered.steps),
        "model_version": answered.model_version[:128],
        "confidence": answered.confidence,
        "changed": answered.changed,
        "error": answered.error,
        "x_scale": answered.width / 100 if answered.width else None,
        "y_scale": answered.height / 100 if answered.height else None,
    }
    connection.execute(_COMPLETE, values)


def logged_clicks(
    connection: Connection, project: Project, task_id: int, ids: Sequence[str], user: str
) -> dict[str, bool]:
    """Signs of those of these clicks that were logged before, by the same annotator."""
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
    return {row.click_id: row.kind == "positive_click" for row in rows}
