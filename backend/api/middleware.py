"""Who may ask, what every answer carries, and how long each request took.

Plain ASGI around the whole application, so that no route can forget it, and so that a request which
is refused costs next to nothing. From the outside in: security headers, host names, the password,
the site that a browser comes from, the size of the body, the webhook's secret.

A body is refused before it is read where its announced length says so, and while it is read
otherwise. Large bodies share a budget of memory, because a parsed body takes about ten times its
size: twenty of 63 MiB took 4 GiB. Small ones, which clicks are, never wait for it.
"""

import asyncio
import base64
import binascii
import hmac
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import logs
from backend.api.origin import AllowedHosts, SameSite
from backend.api.refusal import Refusal, read_rest, refusal
from backend.errors import CredentialsError
from backend.label_studio.credentials import SECRET_HEADER, webhook_secret
from backend.metrics import Metrics
from backend.settings import MIB, Settings

# A labeling config and a token, in JSON that may write each character as six.
_SETUP_BYTES = 4 * MIB
# Forms of the dashboard and requests of scripts.
_OTHER_BYTES = MIB

# Clicks with a few masks are smaller than this and never wait.
_SMALL = 2 * MIB
_WAIT_S = 20.0
# A body must go on arriving, and must have arrived as a whole.
_SILENCE_S = 10.0
_WHOLE_S = 60.0

_BUSY = "Too many large requests at a time. Try again in a minute."
_SLOW = "The request's body did not arrive in time."


class BodyBudget:
    """Bytes of large bodies that are read and worked on at the same time."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._total = total
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Hold ``size`` bytes. Raises TimeoutError if they do not become free."""
        size = min(size, self._total)
        async with asyncio.timeout(_WAIT_S), self._changed:
            await self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            async with self._changed:
                self._free += size
                self._changed.notify_all()


class BodyLimit:
    """Ends a request whose body is too large (413), too slow (408), or one too many (503)."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._budget = BodyBudget(2 * max(settings.max_request_bytes, _SMALL))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, sentence = self._limit(scope["path"])
        headers = Headers(scope=scope)
        announced = headers.get("content-length", "")
        size = int(announced) if announced.isascii() and announced.isdigit() else 0
        if "transfer-encoding" in headers:
            size = most
        elif size > most:
            too_large = refusal(413, sentence, at_most=most, seconds=_SILENCE_S)
            await too_large(scope, receive, send)
            return
        if size <= _SMALL:
            await self._run(scope, receive, send, most, sentence)
            return
        try:
            async with self._budget.take(size):
                await self._run(scope, receive, send, most, sentence)
        except TimeoutError:
            await refusal(503, _BUSY, retry_after="60")(scope, receive, send)

    async def _run(
        self, scope: Scope, receive: Receive, send: Send, most: int, sentence: str
    ) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + _WHOLE_S
        received = 0
        whole = started = False

        async def counted() -> Message:
            nonlocal received, whole
            if whole:  # what comes next is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout_at(min(ends, loop.time() + _SILENCE_S)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, _SLOW, headers={"connection": "close"}) from None
            received += len(message.get("body", b""))
            if received > most:
                if message.get("more_body"):
                    await read_rest(receive, most, _SILENCE_S)
                raise HTTPException(413, sentence, headers={"connection": "close"})
            whole = not message.get("more_body", False)
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except HTTPException as error:  # of a guard that reads the body before any route does
            if started:
                raise
            await refusal(error.status_code, error.detail, at_most=0)(scope, receive, send)

    def _limit(self, path: str) -> tuple[int, str]:
        """The largest body of a route, and the sentence for a larger one."""
        largest = self._settings.max_request_bytes
        name, meant = "PHRASECLICK_MAX_REQUEST_BYTES", "if the task's masks really need it"
        if path == "/webhook" and self._settings.webhook_max_bytes < largest:
            largest = self._settings.webhook_max_bytes
            name, meant = "PHRASECLICK_WEBHOOK_MAX_BYTES", "if annotations really are that large"
        if path == "/setup":
            largest = min(largest, _SETUP_BYTES)
        elif path not in ("/predict", "/webhook"):
            largest = min(largest, _OTHER_BYTES)
        size = f"The request is larger than {largest / MIB:.3g} MiB."
        if path not in ("/predict", "/webhook"):
            return largest, size
        return largest, f"{size} Set {name} higher {meant}."


async def read_body(receive: Receive, at_most: int) -> bytes:
    """The request's body; empty if it is longer than ``at_most``, or broke off."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > at_most or message["type"] == "http.disconnect":
            return b""
        if not message.get("more_body", False):
            return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """Returns a body that was read already."""
    handed_out = False

    async def again() -> Message:
        nonlocal handed_out
        if handed_out:
            return await receive()
        handed_out = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


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
