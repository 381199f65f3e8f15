"""Jobs with their logs and leases, how projects learn, scores of tasks; webhook deliveries,
processes and errors.

A Celery message carries a job's number; everything else is here.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.models.base import (
    AutoId,
    Base,
    BigInt,
    LabelStudioId,
    OptionalJson,
    ProjectId,
    ProjectKey,
    Str16,
    Str64,
    Str128,
    Str254,
)


class JobRow(Base):
    """One piece of work: who requested it, its progress, its result. Never deleted."""

    __tablename__ = "jobs"

    id: Mapped[AutoId]
    project: Mapped[ProjectKey] = mapped_column(index=True)
    kind: Mapped[Str16]  # training, scoring, replay
    state: Mapped[Str16] = mapped_column(index=True)  # queued, running, done, failed, …
    trigger: Mapped[Str16]  # labels, label_studio, schedule, hand, …
    asked_by: Mapped[Str254] = mapped_column(default="")
    request: Mapped[dict[str, Any]]  # options of this kind of job
    created_at: Mapped[datetime]
    due_at: Mapped[datetime] = mapped_column(index=True)  # not before
    started_at: Mapped[datetime | None]  # its first attempt
    ended_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    phase: Mapped[str] = mapped_column(String(24), default="")
    progress: Mapped[float] = mapped_column(default=0.0)  # 0 to 1, of the whole job
    message: Mapped[str] = mapped_column(default="")  # what it is doing, in a sentence
    heartbeat_at: Mapped[datetime | None]
    worker: Mapped[Str254] = mapped_column(default="")
    cancel_asked_at: Mapped[datetime | None]
    cancel_asked_by: Mapped[Str254] = mapped_column(default="")
    result: Mapped[OptionalJson]
    error: Mapped[str] = mapped_column(default="")

    __table_args__ = ({"sqlite_autoincrement": True},)


class JobLogRow(Base):
    """A line of a job's log: text for people, or a point of its curves."""

    __tablename__ = "job_log"

    id: Mapped[AutoId]
    job_id: Mapped[BigInt]
    at: Mapped[datetime]
    attempt: Mapped[int] = mapped_column(default=1)
    level: Mapped[str] = mapped_column(String(8), default="info")  # info, warning, error
    line: Mapped[str] = mapped_column(default="")
    figures: Mapped[OptionalJson]  # step, loss, …

    __table_args__ = (Index(None, "job_id", "id"), {"sqlite_autoincrement": True})


class LeaseRow(Base):
    """Who holds a lock that outlasts a transaction, such as the right to run a project's job."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)  # training:6.1795384361
    holder: Mapped[Str254] = mapped_column(default="")  # '': free
    token: Mapped[BigInt] = mapped_column(default=0)  # fencing token: counts holders
    beat: Mapped[BigInt] = mapped_column(default=0)  # counts heartbeats


class LearningRow(Base):
    """How a project learns where that differs from the settings, and when its schedule is due."""

    __tablename__ = "learning"

    project: Mapped[ProjectId]
    paused: Mapped[bool] = mapped_column(default=False)
    after_labels: Mapped[int | None]  # None: as in the settings
    cron: Mapped[str] = mapped_column(String(100), default="")  # '': no schedule
    due_at: Mapped[datetime | None]  # next by the schedule
    ran_at: Mapped[datetime | None]  # last by the schedule
    changed_by: Mapped[Str254] = mapped_column(default="")
    changed_at: Mapped[datetime | None]


class LearnedLabelRow(Base):
    """A label that a training has used, in the version it used; any other label is new."""

    __tablename__ = "learned_labels"

    project: Mapped[ProjectId]
    annotation_id: Mapped[LabelStudioId]
    updated_at: Mapped[datetime]  # the annotation's, on Label Studio's clock
    job_id: Mapped[BigInt]


class ScoreRow(Base):
    """A task's score: how many interactions it is expected to take."""

    __tablename__ = "scores"

    project: Mapped[ProjectId]
    task_id: Mapped[LabelStudioId]
    version: Mapped[Str128]
    method: Mapped[Str16]  # clicks, uncertainty, random
    expected: Mapped[float | None]  # interactions to reach 85 %
    uncertainty: Mapped[float | None]
    descriptor: Mapped[bytes | None]  # float16: what is on the picture
    score: Mapped[float | None]  # as Label Studio has it, lowest first
    rank: Mapped[int | None]
    error: Mapped[str] = mapped_column(default="")
    scored_at: Mapped[datetime]
    written_at: Mapped[datetime | None]  # to Label Studio


class Delivery(Base):
    """A webhook's body as received. Label Studio sends it once, so it is stored before parsing."""

    __tablename__ = "deliveries"

    id: Mapped[AutoId]
    received_at: Mapped[datetime]
    action: Mapped[Str64]
    project_id: Mapped[BigInt | None]
    body: Mapped[bytes]
    processed_at: Mapped[datetime | None] = mapped_column(index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]


class ErrorRow(Base):
    """A recent failure, for the admin's dashboard."""

    __tablename__ = "recent_errors"

    id: Mapped[AutoId]
    at: Mapped[datetime] = mapped_column(index=True)
    where: Mapped[Str64]  # server, worker, training, …
    sentence: Mapped[str]

    __table_args__ = ({"sqlite_autoincrement": True},)


class ProcessRow(Base):
    """A server, worker or scheduler of this backend, as it last reported itself."""

    __tablename__ = "processes"

    name: Mapped[Str254] = mapped_column(primary_key=True)  # host:pid:kind
    kind: Mapped[Str16]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    about: Mapped[dict[str, Any]]  # version, cache, queue, …
