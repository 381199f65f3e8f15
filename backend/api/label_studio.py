"""The routes that Label Studio calls, and the metrics for Prometheus.

Each handler passes raw bytes to the service in a thread of a bounded pool. JSON is parsed and
written once, by orjson, since a mask is a list of some ten thousand numbers.
"""

import time
from typing import Annotated, Any

import anyio
import orjson
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, HTTPException, Request, Response

from backend import metrics
from backend.api.limits import BASIC, FAILED, ONLY_START_TRAINING, WRONG_SECRET
from backend.api.openapi import (
    HealthAnswer,
    PredictAnswer,
    PredictBody,
    SetupAnswer,
    SetupBody,
    VersionsAnswer,
    WebhookAnswer,
    WebhookBody,
    body,
    refusals,
)
from backend.api.service import Service
from backend.errors import RequestError
from backend.label_studio.payloads import START_TRAINING, Project, parse_json
from backend.settings import MIB

# Threads for predictions and for webhooks: neither waits for the other, nor for pages. Most threads
# of predictions wait for pictures or for the model, which take turns: more than the pictures that
# may be waited for (images.loader), so that clicks on others always find a thread. Label Studio
# waits one second for a webhook, which takes milliseconds.
_PREDICTIONS = CapacityLimiter(64)
_WEBHOOKS = CapacityLimiter(4)

# Clicks are smaller. While a body is parsed, no other thread works, so what takes longer than a
# tenth of a second is followed by a pause of a multiple, in which clicks are answered.
_LARGE = 2 * MIB
_SHORT_S = 0.1
_PAUSES = 40

router = APIRouter()
_REFUSALS = refusals(400, 401, 403, 408, 413, 415, 421, 422, 429, 503)


# Async, since plain functions run in the thread pool, where /health would wait for a free thread.
async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _body(request: Request) -> bytes:
    return await request.body()


class _LargeBodies:
    """Parses one large body at a time, with pauses in between."""

    def __init__(self) -> None:
        self._turn = CapacityLimiter(1)
        self._next = 0.0

    async def parse(self, body: bytes) -> Any:
        """The JSON of a body. Raises NotJsonError, RequestError."""
        async with self._turn:
            await anyio.sleep(max(0.0, self._next - time.monotonic()))
            return await to_thread.run_sync(self._timed, body, limiter=_PREDICTIONS)

    def _timed(self, body: bytes) -> Any:
        started = time.thread_time()
        try:
            return parse_json(body)
        finally:
            longer = max(0.0, time.thread_time() - started - _SHORT_S)
            self._next = time.monotonic() + _PAUSES * longer


_large_bodies = _LargeBodies()

Served = Annotated[Service, Depends(_service)]
Body = Annotated[bytes, Depends(_body)]


@router.get("/health", responses=refusals(421, 422, 503), response_model_exclude_unset=True)
async def health(
    request: Request, response: Response, service: Served, project: str = ""
) -> HealthAnswer:
    """Whether the server answers, and with which model; needs no password and no free thread."""
    answer = HealthAnswer(**service.health(project), version=request.app.version)
    response.status_code = 200 if answer.status == "UP" else 503
    return answer


@router.post("/setup", responses=_REFUSALS, openapi_extra=body(SetupBody))
def setup(body: Body, service: Served) -> SetupAnswer:
    """Connect a project. A labeling config that cannot work is refused, with the reason."""
    # Where there is a password, no request without it comes this far.
    logged_in = service.settings.has_password
    return SetupAnswer(**service.setup(parse_json(body), logged_in=logged_in))


@router.post(
    "/predict",
    responses={200: {"model": PredictAnswer}, **_REFUSALS},
    openapi_extra=body(PredictBody),
    response_class=Response,
)
async def predict(request: Request, body: Body, service: Served) -> Response:
    """Masks for a click or a phrase (with a context), or for several tasks (context null)."""
    large = len(body) > _LARGE
    parsed = await _large_bodies.parse(body) if large else None

    def answer() -> Response:
        answered = service.predict(parsed if large else parse_json(body))
        if _failed(answered):
            request.scope[FAILED] = True
        # Not through the model: a mask is a list of ten thousand numbers.
        return Response(orjson.dumps(answered), media_type="application/json")

    return await to_thread.run_sync(answer, limiter=_PREDICTIONS)


@router.post("/webhook", responses=_REFUSALS, openapi_extra=body(WebhookBody))
async def webhook(request: Request, body: Body, service: Served) -> WebhookAnswer:
    """Store an event of Label Studio; the worker processes it."""

    def answer() -> WebhookAnswer:
        if ONLY_START_TRAINING in request.scope and not _starts_training(body):
            raise HTTPException(401, WRONG_SECRET, {"WWW-Authenticate": BASIC})
        return WebhookAnswer(**service.webhook(body, parse_json(body)))

    return await to_thread.run_sync(answer, limiter=_WEBHOOKS)


@router.get(
    "/metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    response_class=Response,
)
def figures(service: Served) -> Response:
    """For Prometheus."""
    return Response(service.figures(), media_type=metrics.CONTENT_TYPE)


@router.get("/versions")
@router.post("/versions", operation_id="versions_as_label_studio_asks")  # Label Studio's way
def versions(body: Body, service: Served) -> VersionsAnswer:
    """The available model versions, and the one that serves the project."""
    request = parse_json(body) if body else None
    project = request.get("project") if isinstance(request, dict) else None
    return VersionsAnswer(**service.versions(Project.read(project) if project else None))


def _starts_training(body: bytes) -> bool:
    try:
        event = parse_json(body)
    except RequestError:
        return False
    return isinstance(event, dict) and event.get("action") == START_TRAINING


def _failed(answer: dict[str, Any]) -> bool:
    """Whether one task got no mask, and at most a sentence."""
    match answer["results"]:
        case [{"score": 0.0}]:
            return True
    return False
