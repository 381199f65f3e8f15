"""What the pages' handlers have at hand, and how errors become pages instead of JSON."""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, FastAPI, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from backend.api.service import Service
from backend.db.engine import Database
from backend.errors import BackendError, JobError
from backend.images.loader import Pictures
from backend.jobs.queue import Jobs
from backend.label_studio.payloads import Project
from backend.registry.versions import Registry
from backend.reports.source import Reports
from backend.settings import Settings
from backend.web.mask_images import MaskPictures
from backend.web.rendering import Renderer
from model.errors import PhraseClickError

_log = logging.getLogger(__name__)

NOWHERE = "There is no such page. It may have been moved, or the address cut off."
_UNFORESEEN = "This page could not be made; the backend's log holds the cause."


@dataclass(frozen=True)
class Dashboard:
    """Everything that a page is made of."""

    service: Service
    render: Renderer
    database: Database
    reports: Reports
    jobs: Jobs
    registry: Registry
    masks: MaskPictures

    @classmethod
    def of(cls, service: Service) -> Self:
        """For the service that this server answers with."""
        database = service.database
        return cls(
            service=service,
            render=Renderer(service.settings),
            database=database,
            reports=service.reports,
            jobs=Jobs(database),
            registry=service.registry,
            masks=MaskPictures(database, service.pictures),
        )

    @property
    def settings(self) -> Settings:
        """Of this server."""
        return self.service.settings

    @property
    def pictures(self) -> Pictures:
        """Of the tasks."""
        return self.service.pictures

    @property
    def base(self) -> str:
        """The version of the checkpoint that the settings name."""
        return self.registry.base_name

    def serves(self, project: str) -> str:
        """The version that serves a project; '' as the key: all without one of their own."""
        champions = self.registry.champions()
        named = champions.of(Project.read(project)) if project else champions.of_owner("")
        return named or self.base


def dashboard_of(app: FastAPI) -> Dashboard:
    """One for each server."""
    state = app.state
    kept: Dashboard | None = getattr(state, "dashboard", None)
    if kept is None or kept.service is not state.service:
        kept = state.dashboard = Dashboard.of(state.service)
    return kept


# Not a plain function: those go to the thread pool.
async def _dashboard(request: Request) -> Dashboard:
    return dashboard_of(request.app)


Board = Annotated[Dashboard, Depends(_dashboard)]


def _genuine(request: Request, board: Board, token: Annotated[str, Form()] = "") -> None:
    """Lets only the dashboard's own forms through."""
    board.render.tokens.check(request, token)


# For every handler that changes something.
GENUINE = Depends(_genuine)


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
                board = await _dashboard(request)
                foreseen = isinstance(error, PhraseClickError)
                status = error.status if isinstance(error, BackendError) else 500
                if isinstance(error, JobError) and request.method == "GET":
                    # Elsewhere it is something that cannot be done with a job; here there is none.
                    status = 404
                if isinstance(error, RequestValidationError):
                    # A number of a task or job that is none: no page of ours leads there.
                    return board.render.page(request, "error.html", status=404, sentence=NOWHERE)
                if not foreseen:
                    _log.exception("%s %s failed", request.method, request.url.path)
                    board.service.metrics.failure(error)
                elif status >= 500:
                    _log.error("%s %s: %s", request.method, request.url.path, error)
                sentence = str(error) if foreseen else _UNFORESEEN
                return board.render.page(request, "error.html", status=status, sentence=sentence)

        return page


def router() -> APIRouter:
    """For the handlers of one part of the dashboard."""
    return APIRouter(prefix="/dashboard", route_class=PageRoute, include_in_schema=False)
