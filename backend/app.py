"""The web application: Label Studio's routes, the JSON API and the dashboard in one FastAPI app."""

import gc
import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version as version_of
from pathlib import Path

import anyio.to_thread
import fastapi_offline
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.routing import Match, Mount

from backend import malloc
from backend.api import jobs, label_studio, middleware, reports
from backend.api.service import Service
from backend.api.static_files import StaticFiles
from backend.errors import BackendError
from backend.settings import Settings, get_settings
from backend.web import costs, health, projects, training, versions
from backend.web.board import NOT_FOUND, Board, Dashboard, dashboard_of, router
from backend.web.rendering import STATIC, prefix
from model.errors import PhraseClickError

_log = logging.getLogger(__name__)

# Pages and reports made at the same time; clicks and webhooks have threads of their own.
_THREADS = 16
# The network hands over Python's lock at each of its some hundred steps, and gets it back from busy
# threads after this time: with Python's 5 ms, a click beside four of them took seconds.
_SWITCH_S = 0.0005


def serving_app() -> FastAPI:
    """The application of a server process, with the settings of the environment."""
    malloc.tune()
    sys.setswitchinterval(_SWITCH_S)
    return create_app(get_settings())


def create_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """The application. service: default a new one, opened before the first request."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        opened = service
        if opened is None:
            opened = await anyio.to_thread.run_sync(Service.open, settings)
            # What is loaded now stays. Looking through it for garbage again and again would stop
            # all threads for a third of a second each time.
            gc.collect()
            gc.freeze()
        app.state.service = opened
        _log.info("Model %s is loaded.", opened.version)
        if service is None:
            warm(app)
        yield
        if service is None:
            await anyio.to_thread.run_sync(opened.close)

    app = FastAPIOffline(
        title="PhraseClick for Label Studio",
        version=version_of("phraseclick-label-studio"),
        description="Click and phrase segmentation as a Label Studio ML backend.",
        lifespan=lifespan,
        redoc_url=None,
        # The validator would load a badge from another host.
        swagger_ui_parameters={"validatorUrl": None},
    )
    for route in app.routes:
        if isinstance(route, Mount):
            route.app = StaticFiles(Path(fastapi_offline.__file__).parent / "static")
    app.state.service = service
    app.add_api_route("/", home, include_in_schema=False)
    app.include_router(label_studio.router)
    app.include_router(reports.router)
    app.include_router(jobs.router)
    app.mount("/dashboard/static", StaticFiles(*STATIC), name="static")
    for part in (projects, costs, training, versions, health):
        app.include_router(part.pages)
    app.include_router(_others)
    app.add_exception_handler(PhraseClickError, _known_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(RecursionError, _too_deep)
    app.add_exception_handler(405, _wrong_method)
    app.add_middleware(middleware.Measured)
    middleware.guard(app, settings)
    return app


async def _known_error(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, BackendError) else 500
    if status >= 500:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    return _sentence(str(error), status)


async def _invalid(request: Request, error: Exception) -> Response:
    """A validation error of parameters or body, as one sentence."""
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()[0]
    name = ".".join(str(part) for part in wrong["loc"][1:]) or "The body"
    return _sentence(f"{name}: {wrong['msg']}.", 422)


async def _too_deep(request: Request, error: Exception) -> Response:
    return _sentence("The request's body is nested too deeply.", 400)


async def _wrong_method(request: Request, error: Exception) -> Response:
    """List all methods of the path; Starlette only lists those of its first route."""
    allowed = sorted(
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(
            route.matches({**request.scope, "method": method})[0] == Match.FULL
            for route in request.app.routes
        )
    )
    answer = _sentence(f"Use {' or '.join(allowed)} here.", 405)
    answer.headers["Allow"] = ", ".join(allowed)
    return answer


def _sentence(detail: str, status: int) -> Response:
    return JSONResponse({"detail": detail}, status)


# -- the dashboard

# Comes last: for addresses that no other route has.
_others = router()


def home(request: Request) -> Response:
    """The bare address leads to the dashboard."""
    return RedirectResponse(prefix(request), 307)


@_others.get("/{rest:path}")
def not_found(request: Request, board: Board) -> Response:
    return board.render.page(request, "error.html", status=404, sentence=NOT_FOUND)


def warm(app: FastAPI) -> threading.Thread:
    """Read the history in the background, so that the first page is as quick as the next.

    100,000 interactions take a second to read and stay in memory. Clicks are answered meanwhile.
    """
    thread = threading.Thread(
        target=_read_history, args=(dashboard_of(app),), name="warming", daemon=True
    )
    thread.start()
    return thread


def _read_history(board: Dashboard) -> None:
    try:
        board.render.compile()
        known = board.reports.projects()
    except Exception as error:  # the page that needs it will report it
        _log.warning("The dashboard's figures could not be read in advance: %s", error)
    else:
        _log.info("The dashboard has read the figures of %d projects.", len(known))
