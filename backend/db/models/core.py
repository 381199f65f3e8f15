"""The tables: what the backend must not forget, kept nowhere else.

Keyed by Label Studio's project key ("6.1795384361") and task id. The event log refers to targets by
number without a foreign key: targets are forgotten after a while, the log is not.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

# SQLite counts up only a column that is exactly INTEGER.
_Number = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite keeps no zone, so it is taken off on the way in and put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can find it on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        bytes: LargeBinary(),
    }


class ProjectRow(Base):
    """A connected project, as ``/setup`` last described it; its title is what webhooks call it."""

    __tablename__ = "projects"

    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[int] = mapped_column(BigInteger, index=True)
    hostname: Mapped[str] = mapped_column(Text, default="")
    access_token: Mapped[str] = mapped_column(Text, default="")
    label_config: Mapped[str] = mapped_column(Text, default="")
    config_hash: Mapped[str] = mapped_column(String(64), default="")
    extra_params: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    title: Mapped[str] = mapped_column(Text, default="", server_default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class TaskRow(Base):
    """One row for each task that was clicked on: the lock that makes decisions one at a time."""

    __tablename__ = "tasks"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(Integer, default=0)  # counts up with every turn
    # How far Label Studio's clock was seen ahead of this machine's; drafts carry its times.
    clock_ahead_s: Mapped[float] = mapped_column(Float, default=0.0)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime(), index=True)


class TargetRow(Base):
    """An object being made: one brush region and the prompts that make it."""

    __tablename__ = "targets"

    id: Mapped[int] = mapped_column(_Number, primary_key=True)
    project: Mapped[str] = mapped_column(String(40))
    task_id: Mapped[int] = mapped_column(BigInteger)
    owner: Mapped[str] = mapped_column(String(254), default="")  # '' until a draft tells
    region_id: Mapped[str] = mapped_column(String(128))
    image: Mapped[str] = mapped_column(Text)
    brush: Mapped[str] = mapped_column(Text)
    label: Mapped[str] = mapped_column(Text)  # '' for a plain <Brush>
    state: Mapped[str] = mapped_column(String(16))  # open, kept, submitted, gone
    sequence: Mapped[int] = mapped_column(Integer)  # the task's revision at its last turn
    turn: Mapped[int] = mapped_column(Integer)  # its own turns
    clicks: Mapped[list[Any]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    answered_turn: Mapped[int] = mapped_column(Integer, default=0)
    answered_at: Mapped[datetime | None]
    phrase_id: Mapped[str] = mapped_column(String(128), default="")
    phrase: Mapped[str] = mapped_column(Text, default="")
    phrase_sequence: Mapped[int] = mapped_column(Integer, default=0)  # revision when it was typed
    phrase_saved: Mapped[str] = mapped_column(String(40), default="")  # draft that showed it
    phrase_seen_at: Mapped[datetime | None]
    saved: Mapped[str] = mapped_column(String(40), default="")  # draft or annotation with its mask
    saved_created_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]  # on Label Studio's clock
    accepted_at: Mapped[datetime | None]
    shown_digest: Mapped[str] = mapped_column(String(32), default="")
    stays: Mapped[bool] = mapped_column(Boolean, default=False)  # key points outlive answers
    # The version that it is made with; '' before the first answer.
    model_version: Mapped[str] = mapped_column(String(128), default="", server_default="")

    # A number is never given twice: the event log outlives the target that it names.
    __table_args__ = (
        Index(None, "project", "task_id", "sequence"),
        Index(None, "updated_at"),
        {"sqlite_autoincrement": True},
    )


class AnswerRow(Base):
    """A mask that was answered, with the prompts it rests on. Only the last few are kept."""

    __tablename__ = "answers"

    target_id: Mapped[int] = mapped_column(
        _Number, ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True
    )
    turn: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    clicks: Mapped[list[Any]] = mapped_column(JSON)  # ids and signs of the clicks behind it
    phrase: Mapped[str] = mapped_column(Text, default="")
    by_hand: Mapped[bool] = mapped_column(Boolean, default=False)  # drawn on by the annotator
    digest: Mapped[str] = mapped_column(String(32), default="")  # of the RLE as answered
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    mask: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


Kind = Literal[
    "positive_click",
    "negative_click",
    "phrase",
    "undo",  # inferred: a click or phrase that was there is there no more
    "redo",  # inferred: an undone click is back
    "accept",  # a draft shows the mask
    "submit",  # an annotation shows it
    "delete",  # inferred: the mask, or all that makes it, is gone from the page
]

# What a person does; the other kinds are what followed from it.
INTERACTIONS: tuple[Kind, ...] = ("positive_click", "negative_click", "phrase")


class EventRow(Base):
    """One interaction, written when it comes and completed when it is answered. Never deleted."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(_Number, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), index=True)
    project: Mapped[str] = mapped_column(String(40))
    task_id: Mapped[int] = mapped_column(BigInteger)
    owner: Mapped[str] = mapped_column(String(254), default="")
    target_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    region_id: Mapped[str] = mapped_column(String(128), default="")
    request_id: Mapped[str] = mapped_column(String(32), index=True)
    kind: Mapped[str] = mapped_column(String(24))
    starts: Mapped[bool] = mapped_column(Boolean, default=False)  # it began a new target
    click_id: Mapped[str] = mapped_column(String(128), default="")
    phrase_id: Mapped[str] = mapped_column(String(128), default="")
    x_percent: Mapped[float | None]
    y_percent: Mapped[float | None]
    x_pixel: Mapped[float | None]
    y_pixel: Mapped[float | None]
    text: Mapped[str] = mapped_column(Text, default="")
    label: Mapped[str] = mapped_column(Text, default="")
    note: Mapped[str] = mapped_column(Text, default="")
    answered_at: Mapped[datetime | None]  # None: never answered (the process died, or none due)
    model_version: Mapped[str] = mapped_column(String(128), default="")
    milliseconds: Mapped[float | None]
    steps: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    confidence: Mapped[float | None]
    changed: Mapped[float | None]  # 1 - IoU with the mask that the page showed before
    error: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (Index(None, "project", "task_id", "click_id"),)


class Delivery(Base):
    """A webhook's body as it came. Label Studio sends it once, so it is kept before it is read."""

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(_Number, primary_key=True)
    received_at: Mapped[datetime]
    action: Mapped[str] = mapped_column(String(64))
    project_id: Mapped[int | None] = mapped_column(BigInteger)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    processed_at: Mapped[datetime | None] = mapped_column(UtcDateTime(), index=True)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[str | None] = mapped_column(Text)


class SampledProjectRow(Base):
    """One row for each project with labels: the lock under which its samples change."""

    __tablename__ = "sampled_projects"

    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    label_config: Mapped[str] = mapped_column(Text, default="")
    config_at: Mapped[datetime | None]  # the project's updated_at when it had this config
    gone_at: Mapped[datetime | None]  # when its deletion was heard of
    busy_until: Mapped[datetime | None]  # a worker asks Label Studio about it
    asked_at: Mapped[datetime | None]  # when all of it was last asked for, to the end
    error: Mapped[str] = mapped_column(Text, default="")  # why the last asking ended early


class AnnotatedTaskRow(Base):
    """How a task looked when its annotations were last asked for; or that it is gone."""

    __tablename__ = "annotated_tasks"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    mark: Mapped[str] = mapped_column(String(80), default="")  # changes with its annotations
    asked_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]


class AnnotationRow(Base):
    """An annotation, its newest version that was heard of. A deleted one stays as a gravestone."""

    __tablename__ = "annotations"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    task_id: Mapped[int | None] = mapped_column(BigInteger)  # None: only its deletion is known
    updated_at: Mapped[datetime | None]  # on Label Studio's clock, as all but the next two
    asked_at: Mapped[datetime | None]  # when Label Studio was asked for it; None: a webhook told
    seen_at: Mapped[datetime | None]  # when it was last heard of
    digest: Mapped[str] = mapped_column(String(32), default="")  # of all that was told
    created_at: Mapped[datetime | None]
    annotator: Mapped[int | None] = mapped_column(BigInteger)  # Label Studio's number of the user
    skipped: Mapped[bool] = mapped_column(Boolean, default=False)
    ground_truth: Mapped[bool] = mapped_column(Boolean, default=False)
    left_out: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # reason -> regions
    gone_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "project", "task_id"),)


class AnnotatedPictureRow(Base):
    """The picture that an annotation's masks lie on: where it is, and what it was."""

    __tablename__ = "annotated_pictures"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    image: Mapped[str] = mapped_column(String(128), primary_key=True)  # name in the config
    address: Mapped[str] = mapped_column(Text)  # as in the task's data
    state: Mapped[str] = mapped_column(String(8), default="unseen")  # unseen, good, gone, changed
    key: Mapped[str] = mapped_column(String(64), default="")  # SHA-256 of its file at first sight
    look_after: Mapped[datetime | None]  # when to try again; None: as soon as can be
    attempts: Mapped[int] = mapped_column(Integer, default=0)  # failed looks in a row
    error: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (
        ForeignKeyConstraint(
            ["project", "annotation_id"],
            ["annotations.project", "annotations.annotation_id"],
            ondelete="CASCADE",
        ),
        Index(None, "state"),
    )


class SampleRow(Base):
    """A brush region of an accepted annotation, with the prompts that made it."""

    __tablename__ = "samples"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    region_id: Mapped[str] = mapped_column(String(128))
    image: Mapped[str] = mapped_column(String(128))
    brush: Mapped[str] = mapped_column(Text)
    label: Mapped[str] = mapped_column(Text)  # as written into the result; '' for a plain <Brush>
    origin: Mapped[str] = mapped_column(String(32))  # manual, prediction, prediction-changed
    phrase: Mapped[str] = mapped_column(Text)  # typed for it; '' where none was
    clicks: Mapped[list[Any]] = mapped_column(
        JSON
    )  # [x percent, y percent, positive], oldest first
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    area: Mapped[int] = mapped_column(Integer)  # pixels of the mask, at least 1
    # Last, so that reading the others never touches the pages that hold it.
    mask: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (
        ForeignKeyConstraint(
            ["project", "annotation_id"],
            ["annotations.project", "annotations.annotation_id"],
            ondelete="CASCADE",
        ),
    )
