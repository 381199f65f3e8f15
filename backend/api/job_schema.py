"""Jobs as programs read them over HTTP. Times are UTC; see ``backend.db.models.jobs``."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.db.models.jobs import State, Trigger


class _Form(BaseModel):
    """Read from a record of the same field names."""

    model_config = ConfigDict(from_attributes=True)


class Job(_Form):
    """One piece of background work."""

    id: int
    project: str = Field(description="Key of the project.")
    kind: str = Field(examples=["training", "scoring", "replay"])
    state: State
    trigger: Trigger
    asked_by: str
    request: Mapping[str, Any] = Field(description="Options of this kind of job.")
    created_at: datetime
    due_at: datetime = Field(description="It starts no earlier.")
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    phase: str
    progress: float = Field(description="0 to 1, of the whole job.")
    message: str = Field(description="What it is doing, in a sentence.")
    cancel_asked_at: datetime | None
    cancel_asked_by: str
    result: Mapping[str, Any] | None
    error: str


class Line(_Form):
    """A line of a job's log: words for people, or a point of its curves."""

    id: int
    at: datetime
    attempt: int
    level: str
    line: str
    figures: Mapping[str, Any] | None


class JobWithLog(Job):
    """One job and its log, oldest line first."""

    log: list[Line]


class Jobs(BaseModel):
    """Jobs, the newest first; ``next`` leads to older ones, null where there are none."""

    jobs: list[Job]
    next: str | None


class Asked(BaseModel):
    """What a script wants done."""

    model_config = ConfigDict(extra="forbid")

    project: (
        Annotated[str, Field(pattern=r"^[0-9]{1,18}(\.[0-9]{1,18})?$")]
        | Annotated[int, Field(ge=0, lt=10**18, strict=True)]
    ) = Field(description="Number or key of the project.", examples=[6])
    kind: Literal["training", "scoring"] = "training"
