"""What the handlers of all pages share, and how errors become pages instead of JSON."""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, FastAPI, Form, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from backend.api.service import Service
from backend.db.engine import Database
from backend.errors import BackendError, JobError
from backend.jobs.queue import Jobs
from backend.registry.versions import Registry
from backend.reports.queries import Reports
from backend.settings import Settings
from backend.web.mask_images import MaskImages
from backend.web.rendering import Renderer
from model.errors import PhraseClickError

_log = logging.getLogger(__name__)

NOT_FOUND = "This page does not exist. It may have moved, or the address is incomplete."
_UNEXPECTED = "This page could not be shown. See the backend's log for the cause."


@dataclass(frozen=True)
class Dashboard:
    """Everything that pages are made from."""

    service: Service
    render: Renderer
    database: Database
    reports: Reports
    jobs: Jobs
    registry: Registry
    masks: MaskImages

    @classmethod
    def of(cls, service: Service) -> Self:
        """The dashboard of a server's service."""
        database = service.database
        return cls(
            service=service,
            render=Renderer(service.settings),
            database=database,
            reports=service.reports,
            jobs=Jobs(database),
            registry=service.registry,
            masks=MaskImages(database, service.pictures),
        )

    @property
    def settings(self) -> Settings:
        """The server's settings."""
        return self.service.settings

    @property
    def base(self) -> str:
        """The version of the configured checkpoint."""
        return self.registry.base_name

    def serves(self, project: str) -> str:
        """The version that serves a project; with '' as key: projects without their own."""
        return self.registry.serves(project)


def dashboard_of(app: FastAPI) -> Dashboard:
    """The app's dashboard."""
    state = app.state
    kept: Dashboard | None = getattr(state, "dashboard", None)
    if kept is None or kept.service is not state.service:
        kept = state.dashboard = Dashboard.of(state.service)
    return kept


# A plain function would run in the thread pool.
async def _dashboard(request: Request) -> Dashboard:
    return dashboard_of(request.app)


Board = Annotated[Dashboard, Depends(_dashboard)]
# A number in an address, as far as a database has such numbers.
Number = Annotated[int, Path(ge=0, le=2**63 - 1)]


def _check_token(request: Request, board: Board, token: Annotated[str, Form()] = "") -> None:
    board.render.tokens.check(request, token)


# Required of every handler that changes something: the form must be ours (see csrf).
OWN_FORM = Depends(_check_token)


class PageRoute(APIRoute):
    """A route whose errors are pages with a sentence."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        answer = super().get_route_handler()

        async def page(request: Request) -> Response:
            try:
                return await answer(request)
            except HTTPException:
                raise
            except Exception as error:
                return _error_page(request, error)

        return page


def _error_page(request: Request, error: Exception) -> Response:
    board = dashboard_of(request.app)
    expected = isinstance(error, PhraseClickError)
    status = error.status if isinstance(error, BackendError) else 500
    sentence = str(error) if expected else _UNEXPECTED
    if isinstance(error, JobError) and request.method == "GET":
        status = 404  # a job that does not exist; on a POST, something it cannot do
    if isinstance(error, RequestValidationError):
        # The number of a task or job is malformed: none of our links.
        status, sentence = 404, NOT_FOUND
    elif not expected:
        _log.exception("%s %s failed", request.method, request.url.path)
        board.service.metrics.failure(error)
    elif status >= 500:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    return board.render.page(request, "error.html", status=status, sentence=sentence)


def router() -> APIRouter:
    """For the handlers of one part of the dashboard."""
    return APIRouter(prefix="/dashboard", route_class=PageRoute, include_in_schema=False)
