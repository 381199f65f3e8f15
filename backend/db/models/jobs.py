"""The tables of jobs. A Celery message carries a job's number; everything else is here."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.models.core import Base, UtcDateTime

_Number = BigInteger().with_variant(Integer, "sqlite")


class JobRow(Base):
    """One piece of work: who asked for it, how far it is, what came of it. Never deleted."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(_Number, primary_key=True)
    project: Mapped[str] = mapped_column(String(40), index=True)
    kind: Mapped[str] = mapped_column(String(16))  # training, scoring, replay
    state: Mapped[str] = mapped_column(String(16), index=True)  # queued, running, done, failed, …
    trigger: Mapped[str] = mapped_column(String(16))  # labels, label_studio, schedule, hand, …
    asked_by: Mapped[str] = mapped_column(String(254), default="")
    request: Mapped[dict[str, Any]] = mapped_column(JSON)  # options of this kind of job
    created_at: Mapped[datetime]
    due_at: Mapped[datetime] = mapped_column(UtcDateTime(), index=True)  # not before
    started_at: Mapped[datetime | None]  # its first attempt
    ended_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    phase: Mapped[str] = mapped_column(String(24), default="")
    progress: Mapped[float] = mapped_column(Float, default=0.0)  # 0 to 1, of the whole job
    message: Mapped[str] = mapped_column(Text, default="")  # what it is doing, in a sentence
    heartbeat_at: Mapped[datetime | None]
    worker: Mapped[str] = mapped_column(String(254), default="")
    cancel_asked_at: Mapped[datetime | None]
    cancel_asked_by: Mapped[str] = mapped_column(String(254), default="")
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = ({"sqlite_autoincrement": True},)


class JobLogRow(Base):
    """A line of a job's log: words for people, or a point of its curves."""

    __tablename__ = "job_log"

    id: Mapped[int] = mapped_column(_Number, primary_key=True)
    job_id: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    level: Mapped[str] = mapped_column(String(8), default="info")  # info, warning, error
    line: Mapped[str] = mapped_column(Text, default="")
    figures: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # step, loss, …

    __table_args__ = (Index(None, "job_id", "id"), {"sqlite_autoincrement": True})


class LeaseRow(Base):
    """Who may do something that must not be done twice at once. ``beat`` counts while it lives."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)  # training:6.1795384361
    holder: Mapped[str] = mapped_column(String(254), default="")  # '': free
    token: Mapped[int] = mapped_column(BigInteger, default=0)  # counts up with every new holder
    beat: Mapped[int] = mapped_column(BigInteger, default=0)  # counts up with every heartbeat


class LearningRow(Base):
    """How a project learns, where it differs from the settings; and when its schedule is due."""

    __tablename__ = "learning"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    paused: Mapped[bool] = mapped_column(Boolean, default=False)
    after_labels: Mapped[int | None] = mapped_column(Integer)  # None: as the settings say
    cron: Mapped[str] = mapped_column(String(100), default="")  # '': no schedule
    due_at: Mapped[datetime | None]  # next by the schedule
    ran_at: Mapped[datetime | None]  # last by the schedule
    changed_by: Mapped[str] = mapped_column(String(254), default="")
    changed_at: Mapped[datetime | None]


class LearnedLabelRow(Base):
    """A label that a training has seen, in the version it saw: what is not here is new."""

    __tablename__ = "learned_labels"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    updated_at: Mapped[datetime]  # the annotation's, on Label Studio's clock
    job_id: Mapped[int] = mapped_column(BigInteger)


class ScoreRow(Base):
    """What the re-scoring found of a task: how many interactions it is expected to take."""

    __tablename__ = "scores"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    version: Mapped[str] = mapped_column(String(128))
    method: Mapped[str] = mapped_column(String(16))  # clicks, uncertainty, random
    expected: Mapped[float | None]  # interactions to reach 85 %
    uncertainty: Mapped[float | None]
    descriptor: Mapped[bytes | None] = mapped_column(LargeBinary)  # float16: what is on it
    score: Mapped[float | None]  # as Label Studio has it, lowest first
    rank: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str] = mapped_column(Text, default="")
    scored_at: Mapped[datetime]
    written_at: Mapped[datetime | None]  # to Label Studio
