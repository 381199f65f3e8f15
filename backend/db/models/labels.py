"""Accepted labels: annotations, the pictures under them, a row for each brush region, and what each
region cost."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, ForeignKeyConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.engine import (
    Base,
    BigInt,
    LabelStudioId,
    OptionalList,
    ProjectId,
    Str32,
    Str64,
    Str128,
    Str254,
    lock_row,
)


class SampledProjectRow(Base):
    """A project with labels. Its row is the lock under which its samples change."""

    __tablename__ = "sampled_projects"

    key: Mapped[ProjectId]
    label_config: Mapped[str] = mapped_column(default="")
    config_at: Mapped[datetime | None]  # the project's updated_at when it had this config
    gone_at: Mapped[datetime | None]  # when its deletion was reported
    asked_at: Mapped[datetime | None]  # when it was last read in full
    tried_at: Mapped[datetime | None]  # when a read was last begun
    # Since when too many labels are missing in Label Studio to delete them at once.
    missing_since: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(default="")  # why the last read ended early


class AnnotatedTaskRow(Base):
    """What a task looked like when its annotations were last read, or that it was deleted."""

    __tablename__ = "annotated_tasks"

    project: Mapped[ProjectId]
    task_id: Mapped[LabelStudioId]
    mark: Mapped[str] = mapped_column(String(80), default="")  # changes with its annotations
    asked_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]


class AnnotationRow(Base):
    """The newest known version of an annotation. A deleted one stays as a tombstone."""

    __tablename__ = "annotations"

    project: Mapped[ProjectId]
    annotation_id: Mapped[LabelStudioId]
    task_id: Mapped[BigInt | None]  # None: only its deletion is known
    updated_at: Mapped[datetime | None]  # on Label Studio's clock, as all but the next two
    asked_at: Mapped[datetime | None]  # when it was read from Label Studio; None: from a webhook
    seen_at: Mapped[datetime | None]  # when it was last reported
    digest: Mapped[Str32] = mapped_column(default="")  # of all that was reported
    created_at: Mapped[datetime | None]
    annotator: Mapped[BigInt | None]  # Label Studio's id of the user
    skipped: Mapped[bool] = mapped_column(default=False)
    ground_truth: Mapped[bool] = mapped_column(default=False)
    left_out: Mapped[dict[str, Any]] = mapped_column(default=dict)  # reason -> regions
    gone_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "project", "task_id"),)


def _annotation_key() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["project", "annotation_id"],
        ["annotations.project", "annotations.annotation_id"],
        ondelete="CASCADE",
    )


class AnnotatedPictureRow(Base):
    """The picture under an annotation's masks: its address, and what it was at first."""

    __tablename__ = "annotated_pictures"

    project: Mapped[ProjectId]
    annotation_id: Mapped[LabelStudioId]
    image: Mapped[Str128] = mapped_column(primary_key=True)  # its name in the labeling config
    address: Mapped[str]  # as in the task's data
    state: Mapped[str] = mapped_column(String(8), default="unseen")  # unseen, good, gone, changed
    key: Mapped[Str64] = mapped_column(default="")  # SHA-256 of its file when first read
    look_after: Mapped[datetime | None]  # when to try again; None: as soon as possible
    attempts: Mapped[int] = mapped_column(default=0)  # failures in a row
    error: Mapped[str] = mapped_column(default="")

    __table_args__ = (_annotation_key(), Index(None, "state"))


class SampleRow(Base):
    """A brush region of an accepted annotation, with the prompts that made it."""

    __tablename__ = "samples"

    project: Mapped[ProjectId]
    annotation_id: Mapped[LabelStudioId]
    number: Mapped[int] = mapped_column(primary_key=True)
    region_id: Mapped[Str128]
    image: Mapped[Str128]
    brush: Mapped[str]
    label: Mapped[str]  # as written into the result; '' for a plain <Brush>
    origin: Mapped[Str32]  # manual, prediction, prediction-changed
    phrase: Mapped[str]  # typed for it; '' if there was none
    clicks: Mapped[list[Any]]  # [x percent, y percent, positive], oldest first
    box: Mapped[OptionalList]  # left, top, right, bottom in percent
    width: Mapped[int]
    height: Mapped[int]
    area: Mapped[int]  # pixels of the mask, at least 1
    # Last, so that reading the other columns never touches the pages that hold it.
    mask: Mapped[bytes]

    __table_args__ = (_annotation_key(),)


class RegionCostRow(Base):
    """What an accepted region cost, computed from the log when the annotation was ingested."""

    __tablename__ = "region_costs"

    project: Mapped[ProjectId]
    annotation_id: Mapped[LabelStudioId]
    brush: Mapped[Str128] = mapped_column(primary_key=True)
    region_id: Mapped[Str128] = mapped_column(primary_key=True)
    task_id: Mapped[BigInt]
    digest: Mapped[Str32] = mapped_column(default="")  # of the annotation it was computed from
    label: Mapped[str] = mapped_column(default="")
    annotator: Mapped[BigInt | None]
    model_version: Mapped[Str128] = mapped_column(default="")  # of its last answer
    # Whether the log knows how it was made; False: drawn by hand, or from a prediction.
    known: Mapped[bool] = mapped_column(default=False)
    origin: Mapped[Str32] = mapped_column(default="")
    positive: Mapped[int] = mapped_column(default=0)
    negative: Mapped[int] = mapped_column(default=0)
    phrases: Mapped[int] = mapped_column(default=0)
    boxes: Mapped[int] = mapped_column(default=0)
    undos: Mapped[int] = mapped_column(default=0)
    predictions: Mapped[int] = mapped_column(default=0)
    interactions: Mapped[int] = mapped_column(default=0)  # until accept
    first_at: Mapped[datetime | None] = mapped_column(index=True)
    accepted_at: Mapped[datetime | None]
    submitted_at: Mapped[datetime | None] = mapped_column(index=True)
    seconds: Mapped[float | None]  # first interaction to submit
    area: Mapped[int | None]
    pixels: Mapped[BigInt | None]  # of the picture
    ious: Mapped[list[Any]]  # with the accepted mask, after each interaction
    first_iou: Mapped[float | None]
    last_iou: Mapped[float | None]
    needed_85: Mapped[int | None]  # interactions to IoU 85 %; None: never reached
    corrected: Mapped[BigInt | None]  # pixels edited by hand afterwards
    phrase: Mapped[str] = mapped_column(default="")  # that it was made with; '' for none
    targets: Mapped[list[Any]]  # numbers of the objects whose events it sums up
    shape: Mapped[Str32] = mapped_column(default="")  # digest of the accepted mask
    drawn_at: Mapped[datetime]

    __table_args__ = (Index(None, "project", "task_id"), Index(None, "project", "drawn_at"))


class AnnotationTimeRow(Base):
    """Label Studio's time and user of an annotation, and how far its costs are computed."""

    __tablename__ = "annotation_times"

    project: Mapped[ProjectId]
    annotation_id: Mapped[LabelStudioId]
    lead_time: Mapped[float | None]  # seconds
    owner: Mapped[Str254] = mapped_column(default="")  # as drafts name a user; '': unknown
    # The version (its digest) whose costs were computed, and the newest event that they include.
    drawn: Mapped[Str32] = mapped_column(default="")
    through: Mapped[BigInt] = mapped_column(default=0)


_OfAnnotation = type[
    AnnotatedPictureRow | AnnotationRow | AnnotationTimeRow | RegionCostRow | SampleRow
]


def same_annotation(one: _OfAnnotation, other: _OfAnnotation) -> ColumnElement[bool]:
    """The condition that joins two of these tables."""
    return (one.project == other.project) & (one.annotation_id == other.annotation_id)


def exists_in_label_studio() -> ColumnElement[bool]:
    """Annotations that are not deleted, and of which more than a deletion is known."""
    return AnnotationRow.gone_at.is_(None) & AnnotationRow.task_id.is_not(None)


def lock_samples(connection: Connection, key: str) -> SampledProjectRow:
    """Lock a project's samples by its row, creating that if needed, and return the row."""
    return lock_row(connection, SampledProjectRow, SampledProjectRow.key == key, {"key": key})
