"""Jobs over HTTP, for scripts: look at them, start one, end one. Times are UTC."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from backend.api.label_studio import Served
from backend.api.openapi import ProjectKey, refusals
from backend.api.reports import page_link
from backend.api.service import Service
from backend.db.models import Job as JobRow
from backend.db.models.jobs import State, Trigger
from backend.errors import JobError
from backend.jobs import queue
from backend.label_studio.projects import project_key

LARGEST_PAGE = 200
# The largest number that a database stores.
_MOST = 2**63 - 1


class _RecordModel(BaseModel):
    """Read from a record of the same field names."""

    model_config = ConfigDict(from_attributes=True)


class Job(_RecordModel):
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


class Line(_RecordModel):
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


class JobRequest(BaseModel):
    """What a script requests."""

    model_config = ConfigDict(extra="forbid")

    project: ProjectKey = Field(description="Number or key of the project.", examples=[6])
    kind: Literal["training", "scoring"] = "training"


router = APIRouter(prefix="/api/jobs", tags=["jobs"], responses=refusals(401, 404, 422))


Number = Annotated[int, Path(alias="id", ge=1, le=_MOST, description="Number of the job.")]


@router.get("")
def jobs(
    request: Request,
    service: Served,
    project: Annotated[str | None, Query(description="Number or key of the project.")] = None,
    kind: Annotated[Literal["training", "scoring", "replay"] | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 50,
    before: Annotated[
        int | None, Query(ge=1, le=_MOST, description="Only jobs with a lower number.")
    ] = None,
) -> Jobs:
    """Jobs, the newest first."""
    key = None if project is None else project_key(service.database, project)
    rows = queue.Jobs(service.database).listed(key, kind, state, limit + 1, before)
    more = None
    if len(rows) > limit:
        rows = rows[:limit]
        more = page_link(request, before=rows[-1].id)
    return Jobs(jobs=[Job.model_validate(row) for row in rows], next=more)


@router.get("/{id}")
def job(
    service: Served,
    number: Number,
    after: Annotated[
        int, Query(ge=0, le=_MOST, description="Only lines of the log with a higher number.")
    ] = 0,
) -> JobWithLog:
    """One job, with its log."""
    store = queue.Jobs(service.database)
    row = _stored(store, number)
    log = [Line.model_validate(line) for line in store.log(number, after)]
    return JobWithLog(**Job.model_validate(row).model_dump(), log=log)


@router.post(
    "",
    status_code=202,
    responses=refusals(400, 403, 409, 413, 415),
)
def start(request: Request, response: Response, service: Served, asked: JobRequest) -> Job:
    """Start a training or a re-scoring as soon as a worker is free.

    If one waits already, it is returned instead of adding another.
    """
    key = project_key(service.database, asked.project)
    made = queue.Jobs(service.database).enqueue(key, asked.kind, trigger="hand", by=_who(service))
    service.job_asked()
    response.headers["Location"] = f"{request.url.path}/{made.id}"
    return Job.model_validate(made)


@router.post("/{id}/cancel", responses=refusals(403, 409, 413, 415))
def cancel(service: Served, number: Number) -> Job:
    """End a job: at once if it waits, within a step if it runs. It needs no body."""
    store = queue.Jobs(service.database)
    _stored(store, number)
    return Job.model_validate(store.cancel(number, _who(service)))


def _stored(store: queue.Jobs, number: int) -> JobRow:
    try:
        return store.get(number)
    except JobError as error:
        raise HTTPException(404, str(error)) from None


def _who(service: Service) -> str:
    return service.settings.basic_auth_user or "a script"
