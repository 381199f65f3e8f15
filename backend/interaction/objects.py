"""Clicks, the objects they make, their events, and a task's objects as the database has them.

The code calls an object a target, as the database does: one brush region and the prompts behind it.
A task's objects are read at one revision of the task, and written only if nothing came between:
the optimistic concurrency that ``store`` describes.
"""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any, Literal, cast

import numpy as np
from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select, update

from backend.db.engine import insert_of
from backend.db.models import EventKind, TargetRow, TaskRow
from backend.label_studio.payloads import Project
from model.prompt import Click as PixelClick

# A click this far out of a box, in its size, may still be meant for it. *choice*
_BESIDE = 0.1

# open: answered at most, not accepted yet. kept: a draft shows its mask. submitted: an annotation
# does. gone: its mask or its prompts were removed from the page.
State = Literal["open", "kept", "submitted", "gone"]


@dataclass(frozen=True)
class Click:
    """A click, or a box as its two corners, from the request to the predictor.

    Places are percents of the upright picture.
    """

    id: str
    x_percent: float  # 0 to 100 of the width
    y_percent: float
    positive: bool
    label: str  # the click label's text as the config has it; '' for a plain key point
    from_name: str
    counts: bool = True  # False: it was undone
    on_page: bool = True  # its key point was in the last request of its label
    x2_percent: float | None = None  # the opposite corner of a box
    y2_percent: float | None = None
    signed: bool = True  # False: the page has lost the sign, and ``positive`` is a guess

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """Left, top, right and bottom in percent; None for a click."""
        if self.x2_percent is None or self.y2_percent is None:
            return None
        return self.x_percent, self.y_percent, self.x2_percent, self.y2_percent

    def surrounds(self, other: "Click") -> bool:
        """Whether a click is in this box, or just beside it."""
        if self.box is None:
            return False
        left, top, right, bottom = self.box
        across, down = (right - left) * _BESIDE, (bottom - top) * _BESIDE
        return (
            left - across <= other.x_percent <= right + across
            and top - down <= other.y_percent <= bottom + down
        )

    @property
    def kind(self) -> tuple[str, str]:
        """The page sends all clicks of one kind together, and no others."""
        return self.from_name, self.label

    def pixel(self, width: int, height: int) -> tuple[float, float]:
        """Its place in pixels of a picture of this size."""
        return self.x_percent / 100 * width, self.y_percent / 100 * height

    def in_pixels(self, width: int, height: int) -> PixelClick:
        """As the predictor takes a click, in a picture of this size."""
        return PixelClick(*self.pixel(width, height), self.positive)

    def corners(self, width: int, height: int) -> tuple[float, float, float, float] | None:
        """Left, top, right and bottom of a box in pixels; None for a click."""
        if self.box is None:
            return None
        left, top, right, bottom = (part / 100 for part in self.box)
        return left * width, top * height, right * width, bottom * height

    def cell(self, mask: np.ndarray) -> tuple[int, int]:
        """Row and column of the pixel that it is on, of a mask H,W."""
        height, width = mask.shape
        x, y = self.pixel(width, height)
        return min(int(y), height - 1), min(int(x), width - 1)


@dataclass
class Target:
    """An object, as its row of ``targets`` describes it. ``id`` is 0 until it is written."""

    id: int
    owner: str
    region_id: str
    image: str
    brush: str
    label: str
    state: State
    sequence: int
    turn: int
    clicks: tuple[Click, ...]
    created_at: datetime
    updated_at: datetime
    answered_turn: int = 0
    answered_at: datetime | None = None
    confidence: float | None = None
    phrase_id: str = ""
    phrase: str = ""
    phrase_sequence: int = 0
    phrase_group: str = ""  # region id of the first object that its phrase made; '': made alone
    phrase_saved: str = ""
    phrase_seen_at: datetime | None = None
    saved: str = ""
    saved_created_at: datetime | None = None
    seen_at: datetime | None = None
    accepted_at: datetime | None = None
    shown_digest: str = ""
    stays: bool = False
    dropped_by: int | None = None  # annotation with its prompts, but without its newest mask
    kept_turn: int = 0  # the turn of the mask that it has instead; 0: none
    put_back_turn: int = 0  # that mask became a prediction
    model_version: str = ""  # the one that finishes it

    @classmethod
    def of_row(cls, row: RowMapping) -> "Target":
        values = {name: row[name] for name in COLUMNS}
        values["clicks"] = tuple(Click(*entry) for entry in row["clicks"])
        return cls(**values)

    def changes(self, before: "Target | None") -> dict[str, Any]:
        """The columns that differ from ``before``, as the database takes them; None: all."""
        values = {
            name: value
            for name, value in vars(self).items()
            if name != "id" and (before is None or value != getattr(before, name))
        }
        if "clicks" in values:
            values["clicks"] = [
                [*(getattr(click, name) for name in _STORED_OF_CLICK)] for click in self.clicks
            ]
        return values

    @property
    def counting(self) -> tuple[Click, ...]:
        """The clicks that make it, oldest first."""
        return tuple(click for click in self.clicks if click.counts)

    @property
    def of_class(self) -> tuple[str, str]:
        return self.brush, self.label

    @property
    def by_phrase_alone(self) -> bool:
        """Typed, never clicked."""
        return bool(self.phrase) and not self.clicks

    @property
    def untouched(self) -> bool:
        """One of several that a phrase made, and not clicked since."""
        return bool(self.phrase_group) and not self.clicks

    @property
    def accepted(self) -> bool:
        """A draft or an annotation has shown its mask."""
        return self.accepted_at is not None

    def click(self, identity: str) -> Click | None:
        return next((click for click in self.clicks if click.id == identity), None)

    def change(self, identity: str, **values: object) -> None:
        self.clicks = tuple(
            replace(click, **cast(Any, values)) if click.id == identity else click
            for click in self.clicks
        )

    def take_back(self, identity: str) -> None:
        """The click is neither on the page nor behind the mask any more."""
        self.change(identity, counts=False, on_page=False)


COLUMNS = tuple(f.name for f in fields(Target))
# A click's sign is certain when it is stored.
_STORED_OF_CLICK = tuple(f.name for f in fields(Click) if f.name != "signed")


def new_region_id() -> str:
    return f"pc-{token_hex(6)}"


@dataclass
class TaskObjects:
    """The objects of one task, newest first, as read at one revision and changed since."""

    project: Project
    task_id: int
    revision: int = 0
    known: bool = False  # whether the task has a row
    clock_ahead: timedelta = timedelta()  # of Label Studio's clock against ours
    targets: list[Target] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._before = {target.id: copy(target) for target in self.targets}
        self._ahead_before = self.clock_ahead

    def start(self, **values: Any) -> Target:
        """A new object, in front of the others."""
        target = Target(id=0, region_id=new_region_id(), **values)
        self.targets.insert(0, target)
        return target

    def with_click(self, identity: str, user: str) -> Target | None:
        """The newest object with this click that may be the asking user's."""
        for target in self.targets:
            if (not user or target.owner in ("", user)) and target.click(identity):
                return target
        return None

    def relabeled(self, target: Target) -> bool:
        """Whether its label is another one than when the task was read."""
        before = self._before.get(target.id)
        return before is not None and before.label != target.label

    def changed(self) -> Iterable[tuple[Target, dict[str, Any]]]:
        """New objects, and those that differ from what was read, each with its changes."""
        for target in self.targets:
            changes = target.changes(self._before.get(target.id))
            if changes:
                yield target, changes

    @property
    def clock_changed(self) -> bool:
        """Whether Label Studio's clock was seen further ahead than before."""
        return self.clock_ahead != self._ahead_before


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
    picture: str = ""  # key of the picture that it was made on


# Built once: building a statement costs more than running it.
_THIS_TASK = (TaskRow.project == bindparam("of_project")) & (
    TaskRow.task_id == bindparam("of_task")
)
_REQUESTS = (
    select(TargetRow.sequence)
    .where(TargetRow.project == bindparam("of_project"), TargetRow.task_id == bindparam("of_task"))
    .distinct()
    .order_by(TargetRow.sequence.desc())
    .limit(bindparam("newest"))
    .subquery()
)
_OLDEST = select(func.min(_REQUESTS.c.sequence)).scalar_subquery()
_READ = (
    select(TaskRow.revision, TaskRow.clock_ahead_s, *(getattr(TargetRow, name) for name in COLUMNS))
    .outerjoin(
        TargetRow,
        (TargetRow.project == TaskRow.project) & (TargetRow.task_id == TaskRow.task_id),
    )
    .where(
        _THIS_TASK,
        # Objects that one phrase made came with one request and count as one.
        TargetRow.sequence.is_(None) | (TargetRow.sequence >= _OLDEST),
    )
    .order_by(TargetRow.sequence.desc(), TargetRow.id)
)
_ADVANCE = update(TaskRow).where(_THIS_TASK, TaskRow.revision == bindparam("read_at"))
# Inserts an object and returns its number; changes the object of number ``of_id``.
START = insert(TargetRow).returning(TargetRow.id)
CHANGE = update(TargetRow).where(TargetRow.id == bindparam("of_id"))


def read_task(connection: Connection, project: Project, task_id: int, newest: int) -> TaskObjects:
    """The objects of the ``newest`` requests on a task."""
    key = {"of_project": project.key, "of_task": task_id, "newest": newest}
    rows = connection.execute(_READ, key).mappings().all()
    if not rows:
        return TaskObjects(project, task_id)
    return TaskObjects(
        project,
        task_id,
        revision=rows[0]["revision"],
        known=True,
        clock_ahead=timedelta(seconds=rows[0]["clock_ahead_s"]),
        targets=[Target.of_row(row) for row in rows if row["id"] is not None],
    )


def advance(connection: Connection, task: TaskObjects, now: datetime) -> bool:
    """Move the task from the revision that was read to the next one; False if it has moved on."""
    key = {"project": task.project.key, "task_id": task.task_id}
    state = {
        "revision": task.revision + 1,
        "clock_ahead_s": task.clock_ahead.total_seconds(),
        "updated_at": now,
    }
    if task.known:
        where = {"of_project": task.project.key, "of_task": task.task_id}
        moved = connection.execute(_ADVANCE, {**state, **where, "read_at": task.revision})
        return moved.rowcount == 1
    row = insert_of(connection, TaskRow).values(**key, **state).on_conflict_do_nothing()
    return connection.execute(row.returning(TaskRow.task_id)).first() is not None
