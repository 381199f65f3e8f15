"""Reports over HTTP, for programs: pages of tasks and regions, groups, promotions.

Every list can be narrowed by the same filters. Tasks and regions come page by page with links, or,
with ``format=csv``, all at once as the table that ``phraseclick report --csv`` writes.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from backend.api.openapi import refusals
from backend.reports import csv_table, schema
from backend.reports.columns import REGION_COLUMNS, TASK_COLUMNS, Column
from backend.reports.filters import read_where
from backend.reports.records import By, Page, Where
from backend.reports.report import every_task
from backend.reports.source import Reports
from backend.reports.tasks import SORTS

LARGEST_PAGE = 500
# The largest numbers that a database keeps and finds.
_MOST = 2**63 - 1
_LAST_PAGE = 1_000_000

Form = TypeVar("Form", bound=schema.Form)
Sort = Literal[SORTS]  # type: ignore[valid-type]

router = APIRouter(prefix="/api/reports", tags=["reports"], responses=refusals(401, 404, 422))


# Not plain functions where nothing waits: those go to the thread pool.
async def _reports(request: Request) -> Reports:
    reports: Reports = request.app.state.service.reports
    return reports


Served = Annotated[Reports, Depends(_reports)]
ProjectName = Annotated[
    str,
    Path(
        alias="project",
        description="Number or key of the project.",
        pattern=r"^[0-9]{1,18}(\.[0-9]{1,18})?$",
        examples=["6", "6.1795384361"],
    ),
]
PageNumber = Annotated[int, Query(ge=1, le=_LAST_PAGE, description="Pages count from 1.")]
Size = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Entries of a page.")]
Format = Annotated[
    Literal["json", "csv"],
    Query(alias="format", description="csv: all entries at once, as a spreadsheet opens them."),
]


def _key(reports: Served, project: ProjectName) -> str:
    return reports.key(project)


Key = Annotated[str, Depends(_key)]


def _where(
    reports: Served,
    key: Key,
    since: Annotated[
        str | None,
        Query(
            description="Submitted then or later: a day or a moment, UTC.", examples=["2026-11-01"]
        ),
    ] = None,
    until: Annotated[
        str | None,
        Query(
            description="Submitted on that day or earlier, or before that moment.",
            examples=["2026-11-30"],
        ),
    ] = None,
    version: Annotated[str | None, Query(description="Made with this model version.")] = None,
    label: Annotated[str | None, Query(description="Empty: regions without a label.")] = None,
    annotator: Annotated[
        str | None, Query(description="Number or e-mail address of the user.")
    ] = None,
    phrase: Annotated[bool | None, Query(description="Made with words, or without.")] = None,
) -> Where:
    return read_where(
        reports,
        key,
        since=since,
        until=until,
        version=version,
        label=label,
        annotator=annotator,
        phrase=phrase,
    )


Filters = Annotated[Where, Depends(_where)]

_TABLE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}}
}


@router.get("/projects")
def projects(reports: Served) -> schema.Projects:
    """All projects at a glance."""
    return schema.Projects(projects=_read(schema.Project, reports.projects()))


@router.get("/{project}/tasks", responses=_TABLE, response_model=schema.TaskPage)
def tasks(
    request: Request,
    reports: Served,
    key: Key,
    where: Filters,
    sort: Annotated[Sort, Query(description="Whatever does not know the figure comes last.")] = (
        "task"
    ),
    order: Annotated[Literal["ascending", "descending"], Query()] = "ascending",
    page: PageNumber = 1,
    size: Size = 50,
    form: Format = "json",
) -> schema.TaskPage | Response:
    """Tasks with an interaction or an accepted region."""
    if form == "csv":
        return _csv(f"project-{key}-tasks.csv", every_task(reports, key, where), TASK_COLUMNS)
    found = reports.tasks(
        key, where, sort=sort, descending=order == "descending", page=page, size=size
    )
    return schema.TaskPage(items=_read(schema.Task, found.items), **_paging(request, found))


@router.get("/{project}/tasks/{task}")
def one_task(
    reports: Served, key: Key, task: Annotated[int, Path(ge=0, le=_MOST)]
) -> schema.TaskWithRegions:
    """One task with its accepted regions."""
    return schema.TaskWithRegions.model_validate(reports.task(key, task))


@router.get("/{project}/regions", responses=_TABLE, response_model=schema.RegionPage)
def regions(
    request: Request,
    reports: Served,
    key: Key,
    where: Filters,
    page: PageNumber = 1,
    size: Size = 50,
    form: Format = "json",
) -> schema.RegionPage | Response:
    """Accepted regions, task by task."""
    if form == "csv":
        return _csv(f"project-{key}-regions.csv", reports.regions(key, where), REGION_COLUMNS)
    found = reports.region_page(key, where, page=page, size=size)
    return schema.RegionPage(items=_read(schema.Region, found.items), **_paging(request, found))


@router.get("/{project}/groups")
def groups(reports: Served, key: Key, where: Filters, by: By = "version") -> schema.Groups:
    """Accepted regions that have something in common: medians, means with intervals, shares."""
    return schema.Groups(by=by, groups=_read(schema.Group, reports.groups(key, by, where)))


@router.get("/{project}/promotions")
def promotions(reports: Served, key: Key) -> schema.Promotions:
    """For each promotion and rollback: did clicks for each object fall, like with like?"""
    return schema.Promotions(promotions=_read(schema.Promotion, reports.promotions(key)))


@router.get("/{project}/reconciliation")
def reconciliation(reports: Served, key: Key) -> schema.Reconciliation:
    """Whether sums over tasks, the event log and the annotations agree."""
    return schema.Reconciliation.model_validate(reports.reconcile(key))


def _read(form: type[Form], records: Iterable[object]) -> list[Form]:
    return [form.model_validate(record) for record in records]


def _paging(request: Request, found: Page[Any]) -> dict[str, Any]:
    def link(number: int) -> str:
        asked = [(k, v) for k, v in request.query_params.multi_items() if k not in ("page", "size")]
        return f"{request.url.path}?{urlencode([*asked, ('page', number), ('size', found.size)])}"

    return {
        "total": found.total,
        "page": found.page,
        "pages": found.pages,
        "size": found.size,
        "links": schema.Links(
            here=link(found.page),
            first=link(1),
            previous=link(min(found.page - 1, found.pages)) if found.page > 1 else None,
            next=link(found.page + 1) if found.page < found.pages else None,
            last=link(found.pages),
        ),
    }


def _csv(name: str, records: Iterator[object], columns: tuple[Column, ...]) -> Response:
    # The first piece is made at once: what fails by then is still an answer with a sentence.
    pieces = csv_table.csv_text(records, columns)
    first = next(pieces, "")

    def all_of_it() -> Iterator[str]:
        yield first
        yield from pieces

    return StreamingResponse(
        all_of_it(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
