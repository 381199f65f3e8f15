"""Jobs over HTTP, for scripts: look at them, start one, end one.

A browser adds the password to whatever any page sends here. So a change must be announced as JSON,
which no form of a page can do, and must not come from a page of another host.
"""

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response

from backend.api import job_schema
from backend.api.openapi import refusals
from backend.api.origin import same_site
from backend.api.service import Service
from backend.db.models.jobs import Job, State
from backend.errors import JobError
from backend.jobs.queue import Jobs

LARGEST_PAGE = 200
# The largest number that a database keeps.
_MOST = 2**63 - 1

_NOT_JSON = "Send it as application/json, with -H 'Content-Type: application/json'."
_ELSEWHERE = "This came from another site's page, so nothing was changed."

router = APIRouter(prefix="/api/jobs", tags=["jobs"], responses=refusals(401, 404, 422))


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _meant(request: Request) -> None:
    """Refuse what a page of another site could have sent."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, _NOT_JSON)
    if not same_site(request.headers):
        raise HTTPException(403, _ELSEWHERE)


Served = Annotated[Service, Depends(_service)]
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
) -> job_schema.Jobs:
    """Jobs, the newest first."""
    key = None if project is None else service.reports.key(project)
    found = Jobs(service.database).listed(key, kind, state, limit + 1, before)
    more = None
    if len(found) > limit:
        found = found[:limit]
        asked = [(k, v) for k, v in request.query_params.multi_items() if k != "before"]
        more = f"{request.url.path}?{urlencode([*asked, ('before', found[-1].id)])}"
    return job_schema.Jobs(jobs=[job_schema.Job.model_validate(it) for it in found], next=more)


@router.get("/{id}")
def job(
    service: Served,
    number: Number,
    after: Annotated[
        int, Query(ge=0, le=_MOST, description="Only lines of the log with a higher number.")
    ] = 0,
) -> job_schema.JobWithLog:
    """One job, with its log."""
    store = Jobs(service.database)
    found = _found(store, number)
    log = [job_schema.Line.model_validate(line) for line in store.log(number, after)]
    return job_schema.JobWithLog(**job_schema.Job.model_validate(found).model_dump(), log=log)


@router.post(
    "",
    status_code=202,
    responses=refusals(400, 403, 409, 413, 415),
    dependencies=[Depends(_meant)],
)
def start(
    request: Request, response: Response, service: Served, asked: job_schema.Asked
) -> job_schema.Job:
    """Have a training or a re-scoring done, as soon as a worker is free.

    One that waits already is joined, not doubled.
    """
    key = service.reports.key(str(asked.project))
    made = Jobs(service.database).enqueue(key, asked.kind, trigger="hand", by=_who(service))
    service.job_asked()
    response.headers["Location"] = f"{request.url.path}/{made.id}"
    return job_schema.Job.model_validate(made)


@router.post(
    "/{id}/cancel",
    responses=refusals(403, 409, 413, 415),
    dependencies=[Depends(_meant)],
)
def cancel(service: Served, number: Number) -> job_schema.Job:
    """End a job: at once where it waits, within a step where it runs. It needs no body."""
    store = Jobs(service.database)
    _found(store, number)
    return job_schema.Job.model_validate(store.cancel(number, _who(service)))


def _found(store: Jobs, number: int) -> Job:
    try:
        return store.get(number)
    except JobError as error:
        raise HTTPException(404, str(error)) from None


def _who(service: Service) -> str:
    return service.settings.basic_auth_user or "a script"
