"""The tables of reports: every mask that was served, and what each accepted region had cost."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.models.core import Base, UtcDateTime

_Number = BigInteger().with_variant(Integer, "sqlite")


class ServedMaskRow(Base):
    """A mask as it was answered. Dropped after a while; the figures drawn from it stay."""

    __tablename__ = "served_masks"

    id: Mapped[int] = mapped_column(_Number, primary_key=True)
    request_id: Mapped[str] = mapped_column(String(32))  # that of its events
    project: Mapped[str] = mapped_column(String(40))
    task_id: Mapped[int] = mapped_column(BigInteger)
    target_id: Mapped[int] = mapped_column(BigInteger, index=True)
    region_id: Mapped[str] = mapped_column(String(128))
    turn: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), index=True)
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    # Last, so that reading the others never touches the pages that hold it.
    mask: Mapped[bytes] = mapped_column(LargeBinary)

    # Found by target alone: every index more would be felt by whoever clicks.
    __table_args__ = ({"sqlite_autoincrement": True},)


class RegionCostRow(Base):
    """What an accepted region had cost: drawn from the log when the annotation was taken in."""

    __tablename__ = "region_costs"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    brush: Mapped[str] = mapped_column(String(128), primary_key=True)
    region_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    task_id: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(
        String(32), default=""
    )  # of the annotation it was drawn from
    label: Mapped[str] = mapped_column(Text, default="")
    annotator: Mapped[int | None] = mapped_column(BigInteger)
    model_version: Mapped[str] = mapped_column(String(128), default="")  # of its last answer
    # Whether the log knows how it was made; False: drawn by hand, or from a prediction.
    known: Mapped[bool] = mapped_column(Boolean, default=False)
    origin: Mapped[str] = mapped_column(String(32), default="")
    positive: Mapped[int] = mapped_column(Integer, default=0)
    negative: Mapped[int] = mapped_column(Integer, default=0)
    phrases: Mapped[int] = mapped_column(Integer, default=0)
    undos: Mapped[int] = mapped_column(Integer, default=0)
    predictions: Mapped[int] = mapped_column(Integer, default=0)
    interactions: Mapped[int] = mapped_column(Integer, default=0)  # until accept
    first_at: Mapped[datetime | None] = mapped_column(UtcDateTime(), index=True)
    accepted_at: Mapped[datetime | None]
    submitted_at: Mapped[datetime | None] = mapped_column(UtcDateTime(), index=True)
    seconds: Mapped[float | None]  # first interaction to submit
    area: Mapped[int | None] = mapped_column(Integer)
    pixels: Mapped[int | None] = mapped_column(BigInteger)  # of the picture
    ious: Mapped[list[Any]] = mapped_column(JSON)  # after each interaction, with the accepted mask
    first_iou: Mapped[float | None] = mapped_column(Float)
    last_iou: Mapped[float | None] = mapped_column(Float)
    needed_85: Mapped[int | None] = mapped_column(Integer)  # interactions to IoU 85 %; None: never
    corrected: Mapped[int | None] = mapped_column(BigInteger)  # pixels changed by hand afterwards
    phrase: Mapped[str] = mapped_column(Text, default="")  # that it was made with; '' for none
    targets: Mapped[list[Any]] = mapped_column(JSON)  # numbers of the targets whose events it is
    shape: Mapped[str] = mapped_column(String(32), default="")  # digest of the accepted mask
    drawn_at: Mapped[datetime]

    __table_args__ = (Index(None, "project", "task_id"), Index(None, "project", "drawn_at"))


class AnnotationTimeRow(Base):
    """Label Studio's own word on an annotation's time and maker; and what was drawn of it."""

    __tablename__ = "annotation_times"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    lead_time: Mapped[float | None]  # seconds
    owner: Mapped[str] = mapped_column(String(254), default="")  # as drafts name a user; '': untold
    # The version (its digest) whose costs were drawn, and the newest event that they hold.
    drawn: Mapped[str] = mapped_column(String(32), default="")
    through: Mapped[int] = mapped_column(BigInteger, default=0)


class ErrorRow(Base):
    """A failure that somebody should know of: for the page of an admin."""

    __tablename__ = "recent_errors"

    id: Mapped[int] = mapped_column(_Number, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime(), index=True)
    where: Mapped[str] = mapped_column(String(64))  # server, worker, training, …
    sentence: Mapped[str] = mapped_column(Text)

    __table_args__ = ({"sqlite_autoincrement": True},)


class ProcessRow(Base):
    """A process of this backend as it last said that it lives: servers, workers, scheduler."""

    __tablename__ = "processes"

    name: Mapped[str] = mapped_column(String(254), primary_key=True)  # host:pid:kind
    kind: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    about: Mapped[dict[str, Any]] = mapped_column(JSON)  # version, cache, queue, …
