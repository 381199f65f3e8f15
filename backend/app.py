"""The routes that Label Studio calls, on FastAPI.

Each handler reads raw bytes and hands them to the service in a thread of a bounded pool; the JSON
is parsed once and written once, by orjson, since a mask is a list of some ten thousand numbers.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version as version_of
from typing import Annotated, Any

import anyio.to_thread
import orjson
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import access, metrics, openapi
from backend.contract import Project
from backend.errors import BackendError, NotJsonError
from backend.jobs import api as jobs
from backend.reports import api as reports
from backend.service import Service
from backend.serving import tame_malloc
from backend.settings import Settings, get_settings
from backend.web.mounting import add_dashboard
from backend.web.warming import warm
from model.errors import PhraseClickError

_log = logging.getLogger(__name__)

# Requests worked on at once: enough that those who wait for pictures do not hold up the others, and
# few enough that twenty annotators' large pictures do not lie in memory at the same time.
_THREADS = 16

_UNFORESEEN = "The backend failed on this request; its log holds the cause."

_ROUTES = frozenset({"/health", "/setup", "/predict", "/webhook", "/metrics", "/versions"})


def serving_app() -> FastAPI:
    """What the server processes run, with the settings of the environment."""
    tame_malloc()
    return create_app(get_settings())


def create_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """The application. With no service given, one is opened before anything is answered."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        opened = service
        if opened is None:
            opened = await anyio.to_thread.run_sync(Service.open, settings)
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
        # The page is whole without any other host; its checker would ask one.
        swagger_ui_parameters={"validatorUrl": None},
    )
    app.state.service = service
    _add_routes(app)
    app.include_router(reports.router)
    app.include_router(jobs.router)
    add_dashboard(app)
    app.add_exception_handler(PhraseClickError, _refused)
    app.add_exception_handler(RequestValidationError, _not_readable)
    app.add_exception_handler(405, _wrong_method)
    app.add_middleware(Measured, service=lambda: app.state.service)
    access.guard(app, settings)
    return app


async def _body(request: Request) -> bytes:
    return await request.body()


# Not a plain function: those go to the thread pool, where /health would wait for a free thread.
async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Body = Annotated[bytes, Depends(_body)]
Served = Annotated[Service, Depends(_service)]


def _add_routes(app: FastAPI) -> None:
    @app.get(
        "/health",
        responses={200: openapi.HEALTH_ANSWER, 422: openapi.REFUSALS[422]},
        response_class=Response,
    )
    async def health(service: Served, project: str = "") -> Response:
        """Whether the server answers, with which model; open to all, never behind a busy thread."""
        told = service.health(project)
        return _json({"status": "UP", "model_loaded": True, "version": app.version, **told})

    @app.post(
        "/setup",
        responses={200: openapi.SETUP_ANSWER, **openapi.REFUSALS},
        openapi_extra=openapi.SETUP,
        response_class=Response,
    )
    def setup(body: Body, service: Served) -> Response:
        """A project connects. A labeling config that cannot work is refused with a sentence."""
        return _json(service.setup(_read(body)))

    @app.post(
        "/predict",
        responses={200: openapi.PREDICT_ANSWER, **openapi.REFUSALS},
        openapi_extra=openapi.PREDICT,
        response_class=Response,
    )
    def predict(body: Body, service: Served) -> Response:
        """Masks for a click or a phrase (context filled) or for many tasks (context null)."""
        return _json(service.predict(_read(body)))

    @app.post(
        "/webhook",
        responses={200: openapi.WEBHOOK_ANSWER, **openapi.REFUSALS},
        openapi_extra=openapi.WEBHOOK,
        response_class=Response,
    )
    def webhook(body: Body, service: Served) -> Response:
        """Something happened in Label Studio: kept at once, taken in by the worker."""
        return _json(service.webhook(body, _read(body)))

    @app.get(
        "/metrics",
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        response_class=Response,
    )
    def figures(service: Served) -> Response:
        """For Prometheus."""
        return Response(service.figures(), media_type=metrics.CONTENT_TYPE)

    @app.get("/versions", responses={200: openapi.VERSIONS_ANSWER}, response_class=Response)
    def versions(body: Body, service: Served) -> Response:
        """The model versions that a project can have, and the one that serves it."""
        asked = _read(body) if body else None
        named = asked.get("project") if isinstance(asked, dict) else None
        return _json(service.versions(Project.read(named) if named else None))

    # Label Studio itself asks this way.
    app.post(
        "/versions",
        operation_id="versions_as_label_studio_asks",
        responses={200: openapi.VERSIONS_ANSWER},
        response_class=Response,
    )(versions)


def _read(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJsonError(
            f"The request's body is not JSON ({error.msg} at character {error.pos})."
        ) from None


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, BackendError) else 500
    if isinstance(error, PhraseClickError) and status >= 500:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    return _json({"detail": str(error)}, status)


async def _not_readable(request: Request, error: Exception) -> Response:
    """What does not fit a route's parameters or body, as a sentence."""
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()[0]
    name = ".".join(str(part) for part in wrong["loc"][1:]) or "The body"
    return _json({"detail": f"{name}: {wrong['msg']}."}, 422)


async def _wrong_method(request: Request, error: Exception) -> Response:
    """Name all methods of the path; by itself only its first route would be asked."""
    allowed = sorted(
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(
            route.matches({**request.scope, "method": method})[0] == Match.FULL
            for route in request.app.routes
        )
    )
    answer = _json({"detail": f"Use {' or '.join(allowed)} here."}, 405)
    answer.headers["Allow"] = ", ".join(allowed)
    return answer


def _of_the_api(scope: Scope) -> str:
    """The path as the route writes it, so that no project and no task has a figure of its own."""
    path: str = getattr(scope.get("route"), "path", "")
    if scope["path"].startswith("/dashboard"):
        return "/dashboard"
    return path if path.startswith("/api/") else "other"


class Measured:
    """Times every request; what nobody foresaw becomes a sentence, and a traceback in the log."""

    def __init__(self, app: ASGIApp, service: Callable[[], Service]) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        figures = self._service().metrics
        started = time.perf_counter()
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            figures.failure(error)
            if status:
                raise
            await _json({"detail": _UNFORESEEN}, 500)(scope, receive, noted)
        route = scope["path"] if scope["path"] in _ROUTES else _of_the_api(scope)
        figures.request(route, status, time.perf_counter() - started)
