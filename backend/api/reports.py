"""Reports over HTTP for programs: pages of tasks and regions, groups, promotions.

All lists take the same filters. Tasks and regions come page by page with links, or, with
``format=csv``, all at once as the table that ``phraseclick report --csv`` writes.
"""

from collections.abc import Iterator
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Generic, Literal, Self, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.responses import Response, StreamingResponse

from backend.api.label_studio import Served
from backend.api.openapi import KEY_PATTERN, refusals
from backend.label_studio.projects import project_key
from backend.reports import records
from backend.reports.group_by import SORTS
from backend.reports.output import RECORDS, csv_text, json_text, render, write_parquet
from backend.reports.queries import Report, Reports
from backend.reports.records import By, ReportFilter

T = TypeVar("T")

LARGEST_PAGE = 500
# The largest number that a database stores and finds.
_LARGEST = 2**63 - 1
_LAST_PAGE = 1_000_000

Sort = Literal[SORTS]  # type: ignore[valid-type]

router = APIRouter(prefix="/api/reports", tags=["reports"], responses=refusals(401, 404, 422))


class Links(BaseModel):
    """Other pages; null if there is none."""

    model_config = ConfigDict(populate_by_name=True)

    here: str = Field(serialization_alias="self")
    first: str
    previous: str | None
    next: str | None
    last: str


class Listed(BaseModel, Generic[T]):
    """A page of a list."""

    items: tuple[T, ...]
    total: int
    page: int
    pages: int
    size: int
    links: Links

    @classmethod
    def of(cls, request: Request, listed: records.Page[T]) -> Self:
        """A page with links to the others."""

        def link(number: int) -> str:
            return page_link(request, page=number, size=listed.size)

        here, last = listed.page, listed.pages
        links = Links(
            here=link(here),
            first=link(1),
            previous=link(min(here - 1, last)) if here > 1 else None,
            next=link(here + 1) if here < last else None,
            last=link(last),
        )
        return cls(
            items=listed.items,
            total=listed.total,
            page=here,
            pages=last,
            size=listed.size,
            links=links,
        )


class Projects(BaseModel):
    """All projects that this backend knows, in the order of their numbers."""

    projects: list[records.ProjectSummary]


class Groups(BaseModel):
    """Groups, the largest first; weeks the oldest first."""

    by: By
    groups: list[records.GroupCost]


class WithoutMask(BaseModel):
    """Annotations by task."""

    annotations: list[records.WithoutMask]


class Promotions(BaseModel):
    """Promotions and rollbacks, the oldest first."""

    promotions: list[records.BeforeAfter]


# Plain functions would run in the thread pool.
async def _reports(service: Served) -> Reports:
    return service.reports


ReportsOf = Annotated[Reports, Depends(_reports)]
ProjectName = Annotated[
    str,
    Path(
        alias="project",
        description="Number or key of the project.",
        pattern=KEY_PATTERN,
        examples=["6", "6.1795384361"],
    ),
]
PageNumber = Annotated[int, Query(ge=1, le=_LAST_PAGE, description="Pages count from 1.")]
Size = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Entries per page.")]
Format = Annotated[
    Literal["json", "csv", "parquet"],
    Query(
        alias="format",
        description="csv: all entries at once, as a spreadsheet opens them. parquet: the same with "
        "types.",
    ),
]


def _key(reports: ReportsOf, project: ProjectName) -> str:
    return project_key(reports.database, project)


Key = Annotated[str, Depends(_key)]


class FilterQuery(BaseModel):
    """The filters of a list, as texts."""

    since: str | None = Field(
        None,
        description="Submitted then or later: a day or a time, UTC.",
        examples=["2026-11-01"],
    )
    until: str | None = Field(
        None,
        description="Submitted on that day or earlier, or before that time.",
        examples=["2026-11-30"],
    )
    version: str | None = Field(None, description="Made with this model version.")
    label: str | None = Field(None, description="Empty: regions without a label.")
    annotator: str | None = Field(None, description="Number or e-mail address of the user.")
    phrase: bool | None = Field(None, description="Made with a phrase, or without.")


def _where(reports: ReportsOf, key: Key, query: Annotated[FilterQuery, Query()]) -> ReportFilter:
    return reports.where(key, **dict(query))


Filters = Annotated[ReportFilter, Depends(_where)]

_PARQUET = "application/vnd.apache.parquet"
_TABLE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            _PARQUET: {"schema": {"type": "string", "format": "binary"}},
        }
    }
}
_WHOLE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/html": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        }
    }
}


def query_of(where: ReportFilter) -> str:
    """The filters as a URL's query, as ``FilterQuery`` reads it."""
    values = TypeAdapter(ReportFilter).dump_python(where, mode="json", exclude_none=True)
    return urlencode({n: str(v).lower() if n == "phrase" else v for n, v in values.items()})


@router.get("/projects")
def projects(reports: ReportsOf) -> Projects:
    """All projects at a glance."""
    return Projects(projects=reports.projects())


@router.get("/{project}/tasks", responses=_TABLE, response_model=Listed[records.TaskCost])
def tasks(
    request: Request,
    reports: ReportsOf,
    key: Key,
    where: Filters,
    sort: Annotated[Sort, Query(description="Tasks without the figure come last.")] = "task",
    order: Annotated[Literal["ascending", "descending"], Query()] = "ascending",
    page: PageNumber = 1,
    size: Size = 50,
    form: Format = "json",
) -> Listed[records.TaskCost] | Response:
    """Tasks with an interaction or an accepted region."""
    if form != "json":
        return _table(form, key, "tasks", reports.every_task(key, where))
    listed = reports.tasks(
        key, where, sort=sort, descending=order == "descending", page=page, size=size
    )
    return Listed[records.TaskCost].of(request, listed)


@router.get("/{project}/tasks/{task}")
def one_task(
    reports: ReportsOf, key: Key, task: Annotated[int, Path(ge=0, le=_LARGEST)]
) -> records.TaskWithRegions:
    """One task with its accepted regions."""
    return reports.task(key, task)


@router.get("/{project}/regions", responses=_TABLE, response_model=Listed[records.RegionCost])
def regions(
    request: Request,
    reports: ReportsOf,
    key: Key,
    where: Filters,
    page: PageNumber = 1,
    size: Size = 50,
    form: Format = "json",
) -> Listed[records.RegionCost] | Response:
    """Accepted regions by task."""
    if form != "json":
        return _table(form, key, "regions", reports.regions(key, where))
    listed = reports.region_page(key, where, page=page, size=size)
    return Listed[records.RegionCost].of(request, listed)


@router.get("/{project}/groups")
def groups(reports: ReportsOf, key: Key, where: Filters, by: By = "version") -> Groups:
    """Accepted regions with something in common: medians, means with intervals, shares."""
    return Groups(by=by, groups=reports.groups(key, by, where))


@router.get("/{project}/without-mask")
def without_mask(reports: ReportsOf, key: Key, where: Filters) -> WithoutMask:
    """Annotations that were submitted without any region."""
    return WithoutMask(annotations=reports.without_mask(key, where))


@router.get("/{project}/report", responses=_WHOLE, response_class=Response)
def report(
    reports: ReportsOf,
    key: Key,
    where: Filters,
    form: Annotated[Literal["html", "json"], Query(alias="format")] = "html",
) -> Response:
    """The whole report in one file, as ``phraseclick report`` writes it."""
    made = Report.of(reports, key, where)
    if form == "json":
        return _file(f"project-{key}.json", "application/json", json_text(made))
    return _file(f"project-{key}.html", "text/html; charset=utf-8", iter([render(made)]))


@router.get("/{project}/promotions")
def promotions(reports: ReportsOf, key: Key) -> Promotions:
    """For each promotion and rollback: did clicks per object fall, like with like?"""
    return Promotions(promotions=reports.promotions(key))


@router.get("/{project}/reconciliation")
def reconciliation(reports: ReportsOf, key: Key) -> records.Reconciliation:
    """Whether sums over tasks, the event log and the annotations agree."""
    return reports.reconcile(key)


def page_link(request: Request, **changed: int) -> str:
    """The path of the same request with other parameters."""
    kept = [(k, v) for k, v in request.query_params.multi_items() if k not in changed]
    return f"{request.url.path}?{urlencode([*kept, *changed.items()])}"


def _table(
    form: Literal["csv", "parquet"], key: str, rows: str, entries: Iterator[object]
) -> Response:
    name = f"project-{key}-{rows}.{form}"
    if form == "csv":
        return _file(name, "text/csv; charset=utf-8", csv_text(entries, RECORDS[rows]))
    with TemporaryDirectory() as folder:
        path = FilePath(folder) / "table"
        write_parquet(path, entries, rows, key)
        return _file(name, _PARQUET, iter([path.read_bytes()]))


def _file(name: str, media_type: str, pieces: Iterator[str] | Iterator[bytes]) -> Response:
    # The first piece is made at once: an error up to there is still answered with a sentence.
    first = next(pieces, "")

    def whole() -> Iterator[str | bytes]:
        yield first
        yield from pieces

    return StreamingResponse(
        whole(),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
