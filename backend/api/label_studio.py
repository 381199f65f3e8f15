"""The routes that Label Studio calls, and the metrics that Prometheus reads.

Each handler reads raw bytes and hands them to the service in a thread of a bounded pool; the JSON
is parsed once and written once, by orjson, since a mask is a list of some ten thousand numbers.
"""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from backend import metrics
from backend.api import openapi
from backend.api.service import Service
from backend.label_studio.payloads import Project, parse_json

router = APIRouter()


async def _body(request: Request) -> bytes:
    return await request.body()


# Not a plain function: those go to the thread pool, where /health would wait for a free thread.
async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Body = Annotated[bytes, Depends(_body)]
Served = Annotated[Service, Depends(_service)]


@router.get(
    "/health",
    responses={200: openapi.HEALTH_ANSWER, 422: openapi.REFUSALS[422]},
    response_class=Response,
)
async def health(request: Request, service: Served, project: str = "") -> Response:
    """Whether the server answers, with which model; open to all, never behind a busy thread."""
    told = service.health(project)
    return _json({"status": "UP", "model_loaded": True, "version": request.app.version, **told})


@router.post(
    "/setup",
    responses={200: openapi.SETUP_ANSWER, **openapi.REFUSALS},
    openapi_extra=openapi.SETUP,
    response_class=Response,
)
def setup(body: Body, service: Served) -> Response:
    """A project connects. A labeling config that cannot work is refused with a sentence."""
    return _json(service.setup(parse_json(body)))


@router.post(
    "/predict",
    responses={200: openapi.PREDICT_ANSWER, **openapi.REFUSALS},
    openapi_extra=openapi.PREDICT,
    response_class=Response,
)
def predict(body: Body, service: Served) -> Response:
    """Masks for a click or a phrase (context filled) or for many tasks (context null)."""
    return _json(service.predict(parse_json(body)))


@router.post(
    "/webhook",
    responses={200: openapi.WEBHOOK_ANSWER, **openapi.REFUSALS},
    openapi_extra=openapi.WEBHOOK,
    response_class=Response,
)
def webhook(body: Body, service: Served) -> Response:
    """Something happened in Label Studio: kept at once, taken in by the worker."""
    return _json(service.webhook(body, parse_json(body)))


@router.get(
    "/metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    response_class=Response,
)
def figures(service: Served) -> Response:
    """For Prometheus."""
    return Response(service.figures(), media_type=metrics.CONTENT_TYPE)


@router.get("/versions", responses={200: openapi.VERSIONS_ANSWER}, response_class=Response)
def versions(body: Body, service: Served) -> Response:
    """The model versions that a project can have, and the one that serves it."""
    asked = parse_json(body) if body else None
    named = asked.get("project") if isinstance(asked, dict) else None
    return _json(service.versions(Project.read(named) if named else None))


# Label Studio itself asks this way.
router.post(
    "/versions",
    operation_id="versions_as_label_studio_asks",
    responses={200: openapi.VERSIONS_ANSWER},
    response_class=Response,
)(versions)


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
