"""Jobs with their logs and leases, schedules, scores of tasks; webhook deliveries, processes and
errors.

A Celery message carries a job's number; everything else is here. The classes that are dataclasses
are also the records that other packages pass around (``backend.db.engine.records``). To change a
row, write an UPDATE.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import JSON, Connection, Index, String, select
from sqlalchemy.orm import Mapped, MappedAsDataclass, mapped_column

from backend.db.engine import (
    AutoId,
    Base,
    BigInt,
    LabelStudioId,
    ProjectId,
    ProjectKey,
    Str16,
    Str64,
    Str128,
    Str254,
    lock_row,
    records,
)

# queued: waits for its time or for a worker. The last three are final: the row never changes again.
State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDS: tuple[State, ...] = ("done", "failed", "cancelled")

TRAINING, SCORING, REPLAY = "training", "scoring", "replay"

# label_studio: the "Start training" button. promotion: a new champion re-scores the tasks.
Trigger = Literal["labels", "label_studio", "schedule", "hand", "promotion"]
# These wait while a project is paused; the others were asked for by a person or a promotion.
AUTOMATIC: tuple[Trigger, ...] = ("labels", "schedule")


class Job(MappedAsDataclass, Base, kw_only=True):
    """One piece of work: who requested it, its progress, its result. Never deleted."""

    __tablename__ = "jobs"

    id: Mapped[AutoId]
    project: Mapped[ProjectKey] = mapped_column(index=True)
    kind: Mapped[Str16]  # training, scoring, replay
    state: Mapped[State] = mapped_column(String(16), index=True)
    trigger: Mapped[Trigger] = mapped_column(String(16))
    asked_by: Mapped[Str254] = mapped_column(default="")
    request: Mapped[Mapping[str, Any]] = mapped_column(JSON)  # options of this kind of job
    created_at: Mapped[datetime]
    due_at: Mapped[datetime] = mapped_column(index=True)  # starts no earlier
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
    result: Mapped[Mapping[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str] = mapped_column(default="")

    __table_args__ = ({"sqlite_autoincrement": True},)

    @property
    def ended(self) -> bool:
        return self.state in ENDS


class LogLine(MappedAsDataclass, Base, kw_only=True):
    """A line of a job's log: text for people, or a point of its curves (``figures``)."""

    __tablename__ = "job_log"

    id: Mapped[AutoId]
    job_id: Mapped[BigInt]
    at: Mapped[datetime]
    attempt: Mapped[int] = mapped_column(default=1)
    level: Mapped[str] = mapped_column(String(8), default="info")  # info, warning, error
    line: Mapped[str] = mapped_column(default="")
    figures: Mapped[Mapping[str, Any] | None] = mapped_column(JSON(none_as_null=True))

    __table_args__ = (Index(None, "job_id", "id"), {"sqlite_autoincrement": True})


class LeaseRow(MappedAsDataclass, Base, kw_only=True):
    """Which process may do work that must not run twice at once (``backend.jobs.lease``)."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)  # training:6.1795384361
    holder: Mapped[Str254] = mapped_column(default="")  # process id; '': free
    token: Mapped[BigInt] = mapped_column(default=0)  # fencing token: counts holders
    beat: Mapped[BigInt] = mapped_column(default=0)  # counts heartbeats


class Schedule(MappedAsDataclass, Base, kw_only=True):
    """When a project trains. Projects without a row follow the settings."""

    __tablename__ = "learning"

    project: Mapped[ProjectId]
    paused: Mapped[bool] = mapped_column(default=False)
    after_labels: Mapped[int | None] = mapped_column(default=None)  # None: as in the settings
    cron: Mapped[str] = mapped_column(String(100), default="")  # five fields, UTC; '': none
    due_at: Mapped[datetime | None] = mapped_column(default=None)  # next run
    ran_at: Mapped[datetime | None] = mapped_column(default=None)  # last run
    changed_by: Mapped[Str254] = mapped_column(default="")
    changed_at: Mapped[datetime | None] = mapped_column(default=None)


class LearnedLabel(Base):
    """The version of a label that a training last read. Labels without a row are new."""

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


class RecentError(MappedAsDataclass, Base, kw_only=True):
    __tablename__ = "recent_errors"

    id: Mapped[AutoId]
    at: Mapped[datetime] = mapped_column(index=True)
    where: Mapped[Str64]  # server, worker, training, …
    sentence: Mapped[str]

    __table_args__ = ({"sqlite_autoincrement": True},)


class Process(MappedAsDataclass, Base, kw_only=True):
    """A server, worker or scheduler of this backend, as it last reported itself."""

    __tablename__ = "processes"

    name: Mapped[Str254] = mapped_column(primary_key=True)  # host:pid:kind
    kind: Mapped[Str16]  # server, worker, training, scheduler
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    about: Mapped[dict[str, Any]]  # version, cache, queue, …

    def is_running(self, now: datetime | None = None) -> bool:
        """Whether it reported lately; it does so every ten seconds."""
        return (now or datetime.now(UTC)) - self.seen_at < timedelta(seconds=35)


# -- locks on rows; each lasts until the transaction ends


def lease_name(kind: str, project: str) -> str:
    """The lease that all jobs of a kind of one project share: one of them runs at a time."""
    return f"{kind}:{project}"


def lock_lease(connection: Connection, name: str) -> LeaseRow:
    """Lock a lease's row, creating it if needed, and return it."""
    return lock_row(connection, LeaseRow, LeaseRow.name == name, {"name": name})


def lock_job(connection: Connection, number: int) -> Job | None:
    jobs = records(connection, select(Job).where(Job.id == number).with_for_update())
    return jobs[0] if jobs else None


def lock_schedule(connection: Connection, project: str) -> Schedule:
    """Lock a project's schedule, creating it if needed, and return it."""
    return lock_row(connection, Schedule, Schedule.project == project, {"project": project})
