"""Who may ask, what every answer carries, and how long each request took.

Plain ASGI around the whole application, so that no route can forget it, and so that a request which
is refused costs next to nothing. From the outside in: security headers, host names, the password,
the site that a browser comes from, the size of the body, the webhook's secret.
"""

import base64
import binascii
import hmac
import logging
import time

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import logs
from backend.api.bodies import BodyLimit, read_body, replay
from backend.api.origin import AllowedHosts, SameSite
from backend.api.refusal import Refusal, refusal
from backend.errors import CredentialsError
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

# Answers are data. The dashboard's pages set a policy of their own (web.rendering).
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
# The page of the API has an inline script that starts it, and styles of its own.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)

_log = logging.getLogger(__name__)


class SecurityHeaders:
    """Adds headers that keep an answer out of frames, and what it holds from running."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if scope["path"].startswith("/docs"):
                    headers.setdefault("Content-Security-Policy", _DOCS_POLICY)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class BasicAuth:
    """Asks for one user and password on everything but ``/health``.

    Label Studio's webhooks carry no basic auth, so with a webhook secret set ``/webhook`` is left
    to that; with none set it is guarded like the rest: safe, and phraseclick doctor says so.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if (
            scope["type"] != "http"
            or self._open(scope["path"])
            or _knows_password(Headers(scope=scope), self._settings)
        ):
            await self._app(scope, receive, send)
        else:
            await _unauthorized(_NOT_KNOWN)(scope, receive, send)

    def _open(self, path: str) -> bool:
        if path != "/webhook":
            return path == "/health"
        try:
            return bool(webhook_secret(self._settings))
        except CredentialsError:
            return True  # WebhookSecret, which comes next, refuses with the reason


class WebhookSecret:
    """Asks ``/webhook`` for the secret header as soon as there is a secret, without a restart.

    One delivery cannot carry it: Label Studio sends "Start training" with the backend's basic auth
    but without the webhook's headers. The service takes no more from it than the project's number.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] != "/webhook":
            await self._app(scope, receive, send)
            return
        try:
            secret = webhook_secret(self._settings)
        except CredentialsError as error:
            _log.error("%s", error)
            await refusal(error.status, str(error))(scope, receive, send)
            return
        logs.hide(secret)
        headers = Headers(scope=scope)
        sent = headers.get(SECRET_HEADER, "").encode("latin-1")
        if not secret or hmac.compare_digest(sent, secret.encode()):
            await self._app(scope, receive, send)
            return
        body, rest = b"", receive
        if not self._settings.has_password or _knows_password(headers, self._settings):
            body = await read_body(receive, _START_TRAINING_MAX_BYTES)
            rest = replay(body, receive)
        if _starts_training(body):
            await self._app(scope, rest, send)
        else:
            await _unauthorized(_WRONG_SECRET)(scope, rest, send)


class Measured:
    """Times every request; an unexpected error becomes a sentence, and a traceback in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
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
        except ClientDisconnect:  # in the middle of its body: nobody waits for an answer
            status = status or 499
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
    app.add_middleware(WebhookSecret, settings=settings)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(SameSite)
    if settings.has_password:
        app.add_middleware(BasicAuth, settings=settings)
    app.add_middleware(AllowedHosts, settings=settings)
    app.add_middleware(SecurityHeaders)


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


def _unauthorized(sentence: str) -> Refusal:
    return refusal(401, sentence, www_authenticate='Basic realm="PhraseClick"')


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
