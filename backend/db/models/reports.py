"""What each accepted region cost, and what Label Studio knows of its annotation's time."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.models.base import (
    Base,
    BigInt,
    LabelStudioId,
    ProjectId,
    Str32,
    Str128,
    Str254,
)


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
