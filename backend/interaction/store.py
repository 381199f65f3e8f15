"""Keeps clicks, phrases and their objects in the database, and nowhere else.

``receive`` decides what a request belongs to and logs it before the model runs; ``record`` adds the
mask and how it was answered. So a crash loses nothing, and all processes see the same.

Decisions use optimistic concurrency on the task's ``revision``: read the task's objects, decide
without any lock (a rule may need the model), and write only if the revision is still the one that
was read. Otherwise another request for the same task was faster, and the decision is repeated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Connection, bindparam, func, insert, select, update

from backend.db.engine import Database
from backend.db.models import EventRow, ServedMaskRow, TargetRow
from backend.errors import DatabaseError
from backend.interaction.assignment import Context, Knows, Touches
from backend.interaction.mask_history import (
    Answer,
    ManualEdits,
    MaskHistory,
    TaskMasks,
    change,
    read_answers,
    store_answer,
)
from backend.interaction.objects import (
    CHANGE,
    COLUMNS,
    START,
    Event,
    Outcome,
    Target,
    TaskObjects,
    advance,
    read_task,
)
from backend.interaction.request import Interaction, Prompts, Suggestion, Turn
from backend.interaction.rules import Rules
from backend.label_studio.payloads import Project
from backend.label_studio.rle import PackedMask
from backend.settings import Settings

# Masks kept for each object: enough to follow a few Ctrl+Z.
ANSWERS_KEPT = 5
# Each repetition means that another request for the same task was written in between.
ATTEMPTS = 50
# A click looks at the newest objects only, so a task with a thousand masks is as quick as one with
# two. Submits and webhooks are in no hurry and look at many more.
_NEWEST = 24
ALL = 1_000
# Until a draft shows who asks, a phrase is carried to the next task only for this long.
_CARRIED_FROM = timedelta(hours=1)

# Built once: building a statement costs more than running it.
_SERVED = insert(ServedMaskRow)
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
_ANSWERED = CHANGE.where(TargetRow.answered_turn < bindparam("of_turn"))


@dataclass(frozen=True)
class InteractionStore:
    """Clicks and objects of all tasks. Threads may share it; processes share the database."""

    database: Database
    settings: Settings
    # Whether a model version knows the words of a label's name.
    knows: Knows = lambda name, version: False

    def receive(
        self,
        ask: Interaction,
        *,
        touches: Touches = lambda click, target: False,
        version_for: Callable[[str], str] = lambda label: "",
        keep: bool = True,
    ) -> Turn:
        """Decide what a request belongs to, and write it down.

        version_for: the model version that a new object of a label begins with. keep: False decides
        as for a first click on the task and writes nothing.

        Raises:
            DatabaseError: the database fails, or never stops changing.
        """
        if ask.image is None and not ask.saved:
            return Turn("", ask, notes=ask.ignored)
        carried = self._carried_phrase(ask) if self.settings.carry_phrase == "task" else ""
        context = Context(self.settings, touches, self.knows, version_for, carried)
        if not keep:
            task = TaskObjects(ask.project, ask.task_id)
            return Rules(ask, context, task, TaskMasks(self.database), {}).decide()
        for _ in range(ATTEMPTS):
            rules = Rules(ask, context, *self._read(ask))
            turn = rules.decide()
            at, histories = ask.received_at, rules.histories
            if write_decision(self.database, rules.task, rules.log, ask.user, at, histories):
                prompts = turn.target
                if prompts is not None and rules.target is not None:
                    prompts = replace(prompts, id=rules.target.id)  # a new one has its number now
                return replace(turn, target=prompts)
        raise DatabaseError("Too many requests for this task at the same time. Click again.")

    def record(
        self,
        turn: Turn,
        outcome: Outcome,
        suggestions: Sequence[Suggestion] | None = None,
        now: datetime | None = None,
    ) -> None:
        """Keep the answer's mask and complete the log, in one transaction; failures too.

        suggestions: what else the page shows now; None: the turn's suggestions, as they were.
        """
        now = now or datetime.now(UTC)
        packed = None if outcome.mask is None else PackedMask.pack(outcome.mask)
        # An empty mask is not shown: the page keeps the one before, and so does the history.
        kept = packed if outcome.mask is not None and outcome.mask.any() else None
        replaced = suggestions is not None and turn.suggestions
        if not turn.new and not replaced and (turn.target is None or kept is None):
            return
        with self.database.write() as connection:
            if turn.target is not None and kept is not None:
                current = self._keep_answer(connection, turn, turn.target, kept, outcome, now)
                if current and suggestions:
                    picture = outcome.picture
                    self._keep_suggestions(connection, turn, turn.target, suggestions, picture, now)
            if suggestions is not None:
                shown = {suggestion.id for suggestion in suggestions}
                gone = [before.id for before in turn.suggestions if before.id not in shown]
                connection.execute(
                    update(TargetRow).where(TargetRow.id.in_(gone)).values(state="gone")
                )
            if turn.new:
                changed = None if packed is None else change(turn.shown_mask, packed)
                complete_events(connection, turn.request_id, outcome, now, changed)

    # -- reading

    def _read(self, ask: Interaction) -> tuple[TaskObjects, TaskMasks, Mapping[str, bool]]:
        """All that a decision usually needs, in one transaction: the task's objects, the masks of
        the newest one, and which of the clicks were logged before."""
        newest = _NEWEST if ask.image else ALL
        with self.database.read() as connection:
            task = read_task(connection, ask.project, ask.task_id, newest)
            if ask.image is None:
                return task, TaskMasks(self.database), {}
            answers = read_answers(connection, [target.id for target in task.targets[:1]])
            new = [c.id for c in ask.clicks if task.with_click(c.id, ask.user) is None]
            logged = logged_clicks(connection, ask.project, ask.task_id, new, ask.user)
        return task, TaskMasks(self.database, answers), logged

    def _carried_phrase(self, ask: Interaction) -> str:
        """The phrase that the same annotator typed last in the project. Before a first draft shows
        who asks, only while no more than one is at work."""
        here = TargetRow.project == ask.project.key
        query = select(TargetRow.phrase).where(here, TargetRow.phrase != "")
        with self.database.read() as connection:
            if ask.user:
                query = query.where(TargetRow.owner == ask.user)
            else:
                here &= TargetRow.updated_at > ask.received_at - _CARRIED_FROM
                owners = select(TargetRow.owner).where(here, TargetRow.owner != "").distinct()
                if len(connection.execute(owners.limit(2)).all()) > 1:
                    return ""
                query = query.where(here)
            latest = query.order_by(TargetRow.updated_at.desc()).limit(1)
            return connection.execute(latest).scalar() or ""

    def _keep_answer(
        self,
        connection: Connection,
        turn: Turn,
        target: Prompts,
        mask: PackedMask,
        outcome: Outcome,
        now: datetime,
    ) -> bool:
        """Keep a mask as served; and for the next click, unless a later turn was answered first.

        False if one was.
        """
        of_object = {"target_id": target.id, "region_id": target.region_id, "turn": turn.number}
        _keep_served(connection, turn, mask, now, **of_object)
        written = connection.execute(
            _ANSWERED,
            {
                "of_id": target.id,
                "of_turn": turn.number,
                "answered_turn": turn.number,
                "answered_at": now,
                # Another version than it began with, if that one is not available any more.
                "model_version": outcome.model_version or target.model_version,
                "confidence": outcome.confidence,
                **(_first_of_several(target) if target.every else {}),
            },
        )
        if not written.rowcount:
            return False
        answer = Answer(
            turn=turn.number,
            clicks=sorted([click.id, click.positive] for click in target.clicks),
            phrase=target.phrase if target.typed else "",
            by_hand=False,
            digest=outcome.digest,
            mask=mask,
            edits=target.edits or ManualEdits(),
            picture=outcome.picture,
        )
        store_answer(connection, target.id, answer, now, keep=ANSWERS_KEPT)
        return True

    def _keep_suggestions(
        self,
        connection: Connection,
        turn: Turn,
        first: Prompts,
        suggestions: Sequence[Suggestion],
        picture: str,
        now: datetime,
    ) -> None:
        """Each further object of a phrase becomes one of its own, with its mask."""
        query = select(*(getattr(TargetRow, name) for name in COLUMNS))
        row = connection.execute(query.where(TargetRow.id == first.id)).mappings().one()
        shared = {name: row[name] for name in COLUMNS if name != "id"}
        shared |= {"project": turn.ask.project.key, "task_id": turn.ask.task_id, "state": "open"}
        events = []
        for other in suggestions:
            values = {
                "region_id": other.region_id,
                "brush": other.brush.name,
                "label": other.label.value if other.label else "",
                "confidence": other.confidence,
                "model_version": other.model_version,
                "phrase_group": first.region_id,
            }
            number = other.id
            if number:
                connection.execute(CHANGE, {**values, "of_id": number, "updated_at": now})
            else:
                number = connection.execute(START, {**shared, **values}).scalar_one()
                event = Event("suggest", number, other.region_id, starts=True, text=first.phrase)
                events.append((replace(event, label=str(values["label"])), str(row["owner"])))
            mask = other.packed_mask
            of_object = {"target_id": number, "region_id": other.region_id, "turn": row["turn"]}
            _keep_served(connection, turn, mask, now, **of_object)
            answer = Answer(row["turn"], [], first.phrase, False, "", mask, picture=picture)
            store_answer(connection, number, answer, now, keep=1)
        append_events(connection, turn.ask.project, turn.ask.task_id, events, now)


def write_decision(
    database: Database,
    task: TaskObjects,
    logged: Sequence[Event],
    user: str,
    now: datetime,
    histories: Sequence[tuple[Target, MaskHistory]] = (),
) -> bool:
    """Write a decision, unless the task has changed since it was read."""
    changed = list(task.changed())
    if not (changed or logged or (task.known and task.clock_changed)):
        return True
    with database.write() as connection:
        if not advance(connection, task, now):
            return False
        for target, changes in changed:
            if target.id:
                connection.execute(CHANGE, {**changes, "of_id": target.id})
            else:
                key = {"project": task.project.key, "task_id": task.task_id}
                target.id = connection.execute(START, {**changes, **key}).scalar_one()
        by_region = {target.region_id: target for target in reversed(task.targets)}
        for target, history in histories:
            history.write(connection, target.id, now)
        rows = []
        for event in logged:
            of = by_region.get(event.region_id)
            if of is not None and not event.target_id:
                event = replace(event, target_id=of.id)
            rows.append((event, user or (of.owner if of else "")))
        append_events(connection, task.project, task.task_id, rows, now)
    return True


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


def _first_of_several(target: Prompts) -> dict[str, str]:
    """What the objects that were found say about the one that the request is about."""
    return {
        "phrase_group": target.region_id,
        "brush": target.brush.name,
        "label": target.label.value if target.label else "",
        "model_version": target.model_version,
    }


def _keep_served(
    connection: Connection, asked: Turn, mask: PackedMask, now: datetime, **of_object: Any
) -> None:
    """Keep a mask as it was served in a turn of an object (``target_id``, ``region_id``, ``turn``);
    reports compare it with the one that was accepted."""
    values = {
        "request_id": asked.request_id,
        "project": asked.ask.project.key,
        "task_id": asked.ask.task_id,
        "created_at": now,
        "width": mask.width,
        "height": mask.height,
        "mask": mask.data,
    }
    connection.execute(_SERVED, {**values, **of_object})
