"""What the tables of jobs tell: a job, a line of its log, and how a project wants to learn."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

# queued: waits for its time or for a worker. The last three are ends: such a row never changes.
State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDS: tuple[State, ...] = ("done", "failed", "cancelled")

TRAINING, SCORING, REPLAY = "training", "scoring", "replay"

# label_studio: START_TRAINING, the button of its page. promotion: a new champion scores anew.
Trigger = Literal["labels", "label_studio", "schedule", "hand", "promotion"]


@dataclass(frozen=True)
class Job:
    """One piece of work. ``progress`` is 0 to 1 of the whole job; times are UTC."""

    id: int
    project: str
    kind: str
    state: State
    trigger: Trigger
    asked_by: str
    request: Mapping[str, Any]
    created_at: datetime
    due_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    phase: str
    progress: float
    message: str
    heartbeat_at: datetime | None
    worker: str
    cancel_asked_at: datetime | None
    cancel_asked_by: str
    result: Mapping[str, Any] | None
    error: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDS


@dataclass(frozen=True)
class LogLine:
    """Words for people, or a point of a job's curves (``figures``), in the order of ``id``."""

    id: int
    job_id: int
    at: datetime
    attempt: int
    level: str
    line: str
    figures: Mapping[str, Any] | None


@dataclass(frozen=True)
class Plan:
    """How a project learns. ``after_labels`` None: as the settings say; ``cron`` '': never."""

    project: str
    paused: bool = False
    after_labels: int | None = None
    cron: str = ""
    due_at: datetime | None = None  # next by the schedule
    ran_at: datetime | None = None  # last by the schedule
    changed_by: str = ""
    changed_at: datetime | None = None
