"""Who may ask, how much they may send, and how long each request took.

Plain ASGI around the whole application, so that a body too large or a caller unknown costs nothing
but this file, and so that no route can forget it.
"""

import base64
import binascii
import hmac
import logging
import time

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import logs
from backend.label_studio.credentials import SECRET_HEADER, webhook_secret
from backend.metrics import Metrics
from backend.settings import MIB, Settings

# A START_TRAINING holds a project with its labeling config, never a mask.
_START_TRAINING_MAX_BYTES = 2 * MIB

_NOT_KNOWN = "This backend asks for a user and a password: give them where it is connected."
_WRONG_SECRET = (
    f"The webhook's {SECRET_HEADER} header is missing or wrong. Run phraseclick connect again."
)

_UNFORESEEN = "The backend failed on this request; its log holds the cause."
_ROUTES = frozenset({"/health", "/setup", "/predict", "/webhook", "/metrics", "/versions"})

_log = logging.getLogger(__name__)


class BasicAuth:
    """Asks for one user and password on everything but ``/health``.

    Label Studio's webhooks carry no basic auth, so with a webhook secret set ``/webhook`` is left
    to that; with none set it is guarded like the rest: safe, and phraseclick doctor says so.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or self._open(scope["path"])
            or _knows_password(Headers(scope=scope), self._settings)
        ):
            await self._app(scope, receive, send)
        else:
            await _refusal(_NOT_KNOWN)(scope, receive, send)

    def _open(self, path: str) -> bool:
        return path == "/health" or (path == "/webhook" and bool(webhook_secret(self._settings)))


class WebhookSecret:
    """Asks ``/webhook`` for the secret header as soon as there is a secret, without a restart.

    One delivery cannot carry it: Label Studio sends "Start training" with the backend's basic auth
    but without the webhook's headers. It names a project and no more, so it passes on that alone.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/webhook":
            await self._app(scope, receive, send)
            return
        secret = webhook_secret(self._settings)
        logs.hide(secret)
        headers = Headers(scope=scope)
        sent = headers.get(SECRET_HEADER, "").encode("latin-1")
        if not secret or hmac.compare_digest(sent, secret.encode()):
            await self._app(scope, receive, send)
            return
        body = b""
        if not _guarded_by_password(self._settings) or _knows_password(headers, self._settings):
            body = await _body(receive, _START_TRAINING_MAX_BYTES)
        if _starts_training(body):
            await self._app(scope, _again(body, receive), send)
        else:
            await _refusal(_WRONG_SECRET)(scope, receive, send)


class RequestSizeLimit:
    """Ends a request whose body is, or grows, larger than allowed: 413 with a sentence."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > self._max:
            await self._read_on(receive)
            refused = JSONResponse(
                {"detail": self._sentence()}, 413, headers={"connection": "close"}
            )
            await refused(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max:
                raise HTTPException(413, self._sentence(), headers={"connection": "close"})
            return message

        await self._app(scope, counted, send)

    async def _read_on(self, receive: Receive) -> None:
        """Throw away the rest, within bounds: a connection that is closed over unread bytes is
        reset, and the sentence lost with it."""
        left = self._max
        while left > 0:
            message = await receive()
            if message["type"] != "http.request" or not message.get("more_body"):
                return
            left -= len(message.get("body", b""))

    def _sentence(self) -> str:
        return (
            f"The request is larger than {self._max / MIB:.3g} MiB. "
            "Set PHRASECLICK_MAX_REQUEST_BYTES higher if the task's masks really need it."
        )


def _guarded_by_password(settings: Settings) -> bool:
    return bool(settings.basic_auth_user and settings.basic_auth_password.get_secret_value())


def _knows_password(headers: Headers, settings: Settings) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        sent = base64.b64decode(given.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    expected = f"{settings.basic_auth_user}:{settings.basic_auth_password.get_secret_value()}"
    # Browsers and curl send UTF-8; requests, and so Label Studio, Latin-1.
    forms = [expected.encode()]
    if all(ord(character) < 256 for character in expected):
        forms.append(expected.encode("latin-1"))
    return any(hmac.compare_digest(sent, form) for form in forms)


def _refusal(sentence: str) -> JSONResponse:
    headers = {"WWW-Authenticate": 'Basic realm="PhraseClick"', "connection": "close"}
    return JSONResponse({"detail": sentence}, 401, headers=headers)


async def _body(receive: Receive, at_most: int) -> bytes:
    """The request's body; empty where it is longer than ``at_most``."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > at_most or message["type"] == "http.disconnect":
            return b""
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Hands out a body that was read already."""
    handed_out = False

    async def replay() -> Message:
        nonlocal handed_out
        if handed_out:
            return await receive()
        handed_out = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _starts_training(body: bytes) -> bool:
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(read, dict) and read.get("action") == "START_TRAINING"


def _of_the_api(scope: Scope) -> str:
    """The path as the route writes it, so that no project and no task has a figure of its own."""
    path: str = getattr(scope.get("route"), "path", "")
    if scope["path"].startswith("/dashboard"):
        return "/dashboard"
    return path if path.startswith("/api/") else "other"


class Measured:
    """Times every request; an unexpected error becomes a sentence, and a traceback in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        figures: Metrics = scope["app"].state.service.metrics
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
            await JSONResponse({"detail": _UNFORESEEN}, 500)(scope, receive, noted)
        route = scope["path"] if scope["path"] in _ROUTES else _of_the_api(scope)
        figures.request(route, status, time.perf_counter() - started)


def guard(app: Starlette, settings: Settings) -> None:
    """Put every guard that the settings ask for around the application; the last is outermost."""
    app.add_middleware(RequestSizeLimit, max_bytes=settings.max_request_bytes)
    app.add_middleware(WebhookSecret, settings=settings)
    if _guarded_by_password(settings):
        app.add_middleware(BasicAuth, settings=settings)
