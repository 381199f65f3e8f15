"""What clicking is about: clicks, the objects they make, and what a request was taken to mean.

The code calls an object a target, as the database does: one brush region and the prompts behind it.
"""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any, Literal, cast

import numpy as np
from sqlalchemy import RowMapping

from backend.db.packed_mask import PackedMask
from backend.interaction.manual_edits import ManualEdits
from backend.label_studio.controls import BrushControl, ImageControls, Label
from backend.label_studio.payloads import Project

# open: answered at most, not accepted yet. kept: a draft shows its mask. submitted: an annotation
# does. gone: its mask or its prompts were removed from the page.
# A click this far out of a box, in its size, may still be meant for it. *choice*
_BESIDE = 0.1

State = Literal["open", "kept", "submitted", "gone"]
PhraseSource = Literal["typed", "label", "none"]


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
        """From the database."""
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
        """The click of this id, counted or not."""
        return next((click for click in self.clicks if click.id == identity), None)

    def change(self, identity: str, **values: object) -> None:
        """Replace one click."""
        self.clicks = tuple(
            replace(click, **cast(Any, values)) if click.id == identity else click
            for click in self.clicks
        )


COLUMNS = tuple(f.name for f in fields(Target))
# A click's sign is certain when it is stored.
_STORED_OF_CLICK = tuple(f.name for f in fields(Click) if f.name != "signed")


def new_region_id() -> str:
    """A region id that no other object has."""
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
class Prompts:
    """An object as the predictor and the answer need it."""

    id: int
    region_id: str  # the region to answer with: Label Studio replaces the one of the same id
    label: Label | None  # None for a plain <Brush>
    brush: BrushControl
    image: ImageControls
    clicks: tuple[Click, ...]
    phrase: str  # what the model reads; '': nothing
    phrase_source: PhraseSource
    packed_mask: PackedMask | None = None
    edits: ManualEdits | None = None  # by hand, to be kept in the answer
    model_version: str = ""  # what it began with and finishes on; '': the project's champion
    every: bool = False  # the phrase alone asks, and it means every one of a kind
    accepted: bool = False  # a draft or an annotation has shown its mask

    @property
    def points(self) -> tuple[Click, ...]:
        """Its clicks without the boxes."""
        return tuple(click for click in self.clicks if click.box is None)

    @property
    def box(self) -> Click | None:
        """Its newest box."""
        return next((click for click in reversed(self.clicks) if click.box is not None), None)

    @property
    def previous_mask(self) -> np.ndarray | None:
        """H,W bool: the mask before this request that fits its prompts; None for a new object."""
        return None if self.packed_mask is None else self.packed_mask.unpack()


@dataclass(frozen=True)
class Suggestion:
    """Another object of a phrase that made several, while nobody has accepted it."""

    region_id: str
    label: Label | None
    brush: BrushControl
    packed_mask: PackedMask
    confidence: float
    same_phrase: bool  # as the object that the request is about
    id: int = 0  # 0 until it is written


@dataclass(frozen=True)
class Turn:
    """What to do with a request. Pass it to ``record`` with the outcome, failures too."""

    request_id: str
    project: Project
    task_id: int
    image: ImageControls | None
    target: Prompts | None = None  # None: there is nothing to predict
    started: bool = False  # the object is new with this request
    new: tuple[str, ...] = ()  # kinds of the interactions that this request added to the log
    notes: tuple[str, ...] = ()  # for the status line, plain sentences without a full stop
    number: int = 0  # the object's turn; a late answer never overwrites a later one
    shown_mask: PackedMask | None = None  # what the page showed last, to measure the change
    suggestions: tuple[Suggestion, ...] = ()  # other objects that the page shows, not accepted yet


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
    width: int | None = None  # of the picture, where there is no mask to tell
    height: int | None = None
    # What else the page shows now; None: the turn's suggestions, as they were.
    suggestions: tuple[Suggestion, ...] | None = None
