"""What the handlers of all pages share, and how errors become pages instead of JSON."""

import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Form, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from backend.api.service import Service
from backend.errors import BackendError, JobError, VersionError
from backend.jobs.queue import Jobs
from backend.label_studio.projects import project_key
from backend.web.mask_images import MaskImages
from backend.web.rendering import Renderer
from model.errors import PhraseClickError

_log = logging.getLogger(__name__)

NOT_FOUND = "This page does not exist. It may have moved, or the address is incomplete."
_UNEXPECTED = "This page could not be shown. See the backend's log for the cause."


class Dashboard:
    """Everything that the pages of a server's service are made from."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.settings = service.settings
        self.database = service.database
        self.reports = service.reports
        self.registry = service.registry
        self.render = Renderer(service.settings)
        self.jobs = Jobs(service.database)
        self.masks = MaskImages(service.database, service.pictures)

    def key(self, project: str) -> str:
        """A project's key, from the key or its number."""
        return project_key(self.database, project)


def dashboard_of(app: FastAPI) -> Dashboard:
    state = app.state
    kept: Dashboard | None = getattr(state, "dashboard", None)
    if kept is None or kept.service is not state.service:
        kept = state.dashboard = Dashboard(state.service)
    return kept


# A plain function would run in the thread pool.
async def _dashboard(request: Request) -> Dashboard:
    return dashboard_of(request.app)


Board = Annotated[Dashboard, Depends(_dashboard)]


async def _query(request: Request) -> defaultdict[str, str]:
    return defaultdict(str, request.query_params)


# The query of a URL; '' for missing parameters.
Asked = Annotated[defaultdict[str, str], Depends(_query)]


def _key(board: Board, project: str) -> str:
    return board.key(project)


def _asked_key(board: Board, project: str = "") -> str:
    return board.key(project) if project else ""


# The key of the project in an address, and in its query; there '' where none is named.
Key = Annotated[str, Depends(_key)]
AskedKey = Annotated[str, Depends(_asked_key)]
# A number in an address, as far as a database has such numbers.
Number = Annotated[int, Path(ge=0, le=2**63 - 1)]


def _check_token(request: Request, board: Board, token: Annotated[str, Form()] = "") -> None:
    board.render.tokens.check(request, token)


# Required of every handler that changes something: the form must be ours.
OWN_FORM = Depends(_check_token)


class PageRoute(APIRoute):
    """A route whose errors are pages with a sentence. A change that cannot be made leads back to
    its page, if the handler has named that in ``request.state.back``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
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
    if isinstance(error, JobError | VersionError) and hasattr(request.state, "back"):
        return board.render.redirect(request, request.state.back, str(error), good=False)
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
