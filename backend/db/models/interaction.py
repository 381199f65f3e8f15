"""Projects, tasks that were clicked on, objects in progress, their masks, and the event log.

Rows are keyed by Label Studio's project key ("6.1795384361") and task id. The event log and the
served masks name an object by number without a foreign key: objects are deleted after a while, the
log is not.
"""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.engine import (
    AutoId,
    Base,
    BigInt,
    LabelStudioId,
    ProjectId,
    ProjectKey,
    Str16,
    Str32,
    Str64,
    Str128,
    Str254,
)

EventKind = Literal[
    "positive_click",
    "negative_click",
    "phrase",
    "box",
    "suggest",  # a phrase that means all of a kind made this object, too, without a click
    "undo",  # inferred: a click or phrase is no longer there
    "redo",  # inferred: an undone click is back
    "edit",  # inferred: brush or eraser changed the mask
    "accept",  # a draft shows the mask
    "submit",  # an annotation shows it
    "delete",  # inferred: the mask, or all its prompts, were removed from the page
]

# Actions of annotators; the other kinds follow from them.
INTERACTIONS: tuple[EventKind, ...] = ("positive_click", "negative_click", "phrase", "box")


class ProjectRow(Base):
    """A connected project, as ``/setup`` last described it; its title comes from webhooks."""

    __tablename__ = "projects"

    key: Mapped[ProjectId]
    project_id: Mapped[BigInt] = mapped_column(index=True)
    hostname: Mapped[str] = mapped_column(default="")
    access_token: Mapped[str] = mapped_column(default="")
    label_config: Mapped[str] = mapped_column(default="")
    title: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class TaskRow(Base):
    """A task that was clicked on; ``revision`` orders the decisions about its objects."""

    __tablename__ = "tasks"

    project: Mapped[ProjectId]
    task_id: Mapped[LabelStudioId]
    revision: Mapped[int] = mapped_column(default=0)  # counts requests
    # Seconds that Label Studio's clock, whose times drafts carry, is ahead of this machine's.
    clock_ahead_s: Mapped[float] = mapped_column(default=0.0)
    updated_at: Mapped[datetime] = mapped_column(index=True)


class TargetRow(Base):
    """An object in progress: one brush region and the prompts that make it."""

    __tablename__ = "targets"

    id: Mapped[AutoId]
    project: Mapped[ProjectKey]
    task_id: Mapped[BigInt]
    owner: Mapped[Str254] = mapped_column(default="")  # '' until a draft names the user
    region_id: Mapped[Str128]
    image: Mapped[str]
    brush: Mapped[str]
    label: Mapped[str]  # '' for a plain <Brush>
    state: Mapped[Str16]  # open, kept, submitted, gone
    sequence: Mapped[int]  # the task's revision at the object's last request
    turn: Mapped[int]  # counts the object's own requests
    clicks: Mapped[list[Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    answered_turn: Mapped[int] = mapped_column(default=0)
    answered_at: Mapped[datetime | None]
    confidence: Mapped[float | None]  # of the last answer
    phrase_id: Mapped[Str128] = mapped_column(default="")
    phrase: Mapped[str] = mapped_column(default="")
    phrase_sequence: Mapped[int] = mapped_column(default=0)  # revision when it was typed
    # Objects that one phrase made share the region id of the first; '' for all others.
    phrase_group: Mapped[Str128] = mapped_column(default="")
    phrase_saved: Mapped[ProjectKey] = mapped_column(default="")  # draft that showed it
    phrase_seen_at: Mapped[datetime | None]
    saved: Mapped[ProjectKey] = mapped_column(default="")  # draft or annotation with its mask
    saved_created_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]  # on Label Studio's clock
    accepted_at: Mapped[datetime | None]
    shown_digest: Mapped[Str32] = mapped_column(default="")
    stays: Mapped[bool] = mapped_column(default=False)  # key points stay after an answer
    # The annotation that was submitted with its prompts, but without its newest mask.
    dropped_by: Mapped[BigInt | None] = mapped_column(index=True)
    kept_turn: Mapped[int] = mapped_column(default=0)  # of the mask that it has instead; 0: none
    put_back_turn: Mapped[int] = mapped_column(default=0)  # that mask became a prediction
    # The version that it is made with; '' before the first answer.
    model_version: Mapped[Str128] = mapped_column(default="")

    # A number is never reused: the event log outlives the object that it names.
    __table_args__ = (
        Index(None, "project", "task_id", "sequence"),
        Index(None, "updated_at"),
        {"sqlite_autoincrement": True},
    )


class AnswerRow(Base):
    """An answered mask with the prompts it is based on. Only the last few are kept."""

    __tablename__ = "answers"

    target_id: Mapped[AutoId] = mapped_column(ForeignKey("targets.id", ondelete="CASCADE"))
    turn: Mapped[int] = mapped_column(primary_key=True)
    clicks: Mapped[list[Any]]  # ids and signs of the clicks behind it
    phrase: Mapped[str] = mapped_column(default="")
    by_hand: Mapped[bool] = mapped_column(default=False)  # edited by the annotator
    # What brush and eraser added and removed, and no later click has taken back.
    painted: Mapped[bytes | None]
    erased: Mapped[bytes | None]
    digest: Mapped[Str32] = mapped_column(default="")  # of the RLE as answered
    picture: Mapped[Str64] = mapped_column(default="")  # SHA-256 of its file; '' for edited masks
    width: Mapped[int]
    height: Mapped[int]
    mask: Mapped[bytes]
    created_at: Mapped[datetime]


class EventRow(Base):
    """One interaction, written when it arrives and completed when it is answered. Never deleted."""

    __tablename__ = "events"

    id: Mapped[AutoId]
    created_at: Mapped[datetime] = mapped_column(index=True)
    project: Mapped[ProjectKey]
    task_id: Mapped[BigInt]
    owner: Mapped[Str254] = mapped_column(default="")
    target_id: Mapped[BigInt | None] = mapped_column(index=True)
    region_id: Mapped[Str128] = mapped_column(default="")
    request_id: Mapped[Str32] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(24))
    starts: Mapped[bool] = mapped_column(default=False)  # it began a new object
    click_id: Mapped[Str128] = mapped_column(default="")
    phrase_id: Mapped[Str128] = mapped_column(default="")
    x_percent: Mapped[float | None]
    y_percent: Mapped[float | None]
    x_pixel: Mapped[float | None]
    y_pixel: Mapped[float | None]
    # The opposite corner of a box.
    x2_percent: Mapped[float | None]
    y2_percent: Mapped[float | None]
    text: Mapped[str] = mapped_column(default="")
    label: Mapped[str] = mapped_column(default="")
    note: Mapped[str] = mapped_column(default="")
    answered_at: Mapped[datetime | None]  # None: no answer (the process died, or none was due)
    model_version: Mapped[Str128] = mapped_column(default="")
    milliseconds: Mapped[float | None]
    steps: Mapped[dict[str, Any] | None]
    confidence: Mapped[float | None]
    changed: Mapped[float | None]  # 1 - IoU with the mask that the page showed before
    edited: Mapped[BigInt | None]  # pixels that brush and eraser changed
    error: Mapped[str] = mapped_column(default="")

    __table_args__ = (Index(None, "project", "task_id", "click_id"),)

    @property
    def interaction(self) -> bool:
        """Whether it is a click, a phrase or a box."""
        return self.kind in INTERACTIONS

    @property
    def answered(self) -> bool:
        """Whether the model answered it."""
        return self.answered_at is not None and not self.error and bool(self.request_id)


class ServedMaskRow(Base):
    """A mask as it was answered. Deleted after a while; the figures computed from it stay."""

    __tablename__ = "served_masks"

    id: Mapped[AutoId]
    request_id: Mapped[Str32]  # that of its events
    project: Mapped[ProjectKey]
    task_id: Mapped[BigInt]
    target_id: Mapped[BigInt] = mapped_column(index=True)
    region_id: Mapped[Str128]
    turn: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(index=True)
    width: Mapped[int]
    height: Mapped[int]
    # Last, so that reading the other columns never touches the pages that hold it.
    mask: Mapped[bytes]

    # Looked up by target alone: each further index would slow down clicks.
    __table_args__ = ({"sqlite_autoincrement": True},)
