"""Who may ask, what every answer carries, and how long each request took.

Plain ASGI around the whole application, so that no route can forget it, and so that a request which
is refused costs next to nothing. From the outside in: ``Paced``, ``Guard``, ``BodyLimit``,
``Measured``.

A page on any site can have its visitor's browser send requests to this backend, with the password
that the browser has stored. Three checks stop that, for every route that changes or computes
something:

- The body must be announced as JSON, which a form or a plain ``fetch`` of another site cannot do
  without asking first (and nothing here answers that question).
- A browser says which site a request comes from, in ``Origin`` and ``Sec-Fetch-Site``. It must be
  this one, unless a link is followed. Label Studio and scripts send neither.
- The name in ``Host`` must be one of this backend. A site could otherwise have its own name resolve
  to this address (DNS rebinding), and its pages would count as pages of this backend.
"""

import base64
import binascii
import hmac
import ipaddress
import logging
import re
import socket
import time
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import logs
from backend.api.limits import (
    ONLY_START_TRAINING,
    WRONG_SECRET,
    BodyLimit,
    Paced,
    Refusal,
    unauthorized,
)
from backend.errors import CredentialsError
from backend.label_studio.credentials import SECRET_HEADER, load_credentials, webhook_secret
from backend.metrics import Metrics
from backend.settings import Settings

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_JSON_ROUTES = ("/setup", "/predict", "/webhook", "/versions", "/api/")
# Its forms have a token of their own, and a refusal is a page (web.rendering).
_DASHBOARD = "/dashboard"
_FORM = "application/x-www-form-urlencoded"

_UNKNOWN_NAME = (
    "This backend does not know itself under this host name. If the name is right, the admin can "
    "add it to PHRASECLICK_ALLOWED_HOSTS, or set a password."
)
_NOT_KNOWN = "This backend asks for a user and a password: give them where it is connected."
_ELSEWHERE = "This came from another site's page, so nothing was done."
_NOT_JSON = "Send it as application/json, with -H 'Content-Type: application/json'."
_NOT_FORM = "Send it as the dashboard's own forms do: as application/x-www-form-urlencoded."

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


class Guard:
    """Refuses requests by host name, password, the webhook's secret, and a browser's site.

    Every answer gets headers that keep it out of frames, and what it holds from running.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._open = not settings.has_password
        self._hosts = AllowedHosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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

        refused = self._refused(scope, Headers(scope=scope))
        await (refused or self._app)(scope, receive, with_headers)

    def _refused(self, scope: Scope, headers: Headers) -> Refusal | None:
        path: str = scope["path"]
        host = headers.get("host", "")
        if not self._hosts.allows(host):
            _log.warning("Refused a request for the host %.100s", host)
            return Refusal(421, _UNKNOWN_NAME)
        if path == "/webhook":
            if refused := self._refused_webhook(scope, headers):
                return refused
        elif path != "/health" and not self._logged_in(headers):
            return unauthorized(_NOT_KNOWN)
        if scope["method"] in _READS:
            loads = _is_foreign(headers) and not _is_link(headers)
            return Refusal(403, _ELSEWHERE) if loads and path != "/health" else None
        if path.startswith(f"{_DASHBOARD}/"):
            # Of other kinds of forms, each part would be read in any encoding that it names.
            return None if _kinds(headers) <= {_FORM} else Refusal(415, _NOT_FORM)
        if not same_site(headers):
            return Refusal(403, _ELSEWHERE)
        if path.startswith(_JSON_ROUTES) and not is_json(headers):
            return Refusal(415, _NOT_JSON)
        return None

    def _refused_webhook(self, scope: Scope, headers: Headers) -> Refusal | None:
        """Ask for the secret header as soon as there is a secret, without a restart.

        Label Studio's webhooks carry no password. One of them cannot carry the secret: "Start
        training" comes with the password, but without the webhook's headers. The route takes
        nothing else without the secret, and the service no more from it than the project's number.
        """
        try:
            secret = webhook_secret(self._settings)
        except CredentialsError as error:
            _log.error("%s", error)
            return Refusal(error.status, str(error))
        logs.hide(secret)
        sent = headers.get(SECRET_HEADER, "").encode("latin-1")
        if secret and hmac.compare_digest(sent, secret.encode()):
            return None
        if not secret:
            return None if self._logged_in(headers) else unauthorized(_NOT_KNOWN)
        # Only a POST is an event.
        if scope["method"] != "POST" or not self._logged_in(headers):
            return unauthorized(WRONG_SECRET)
        scope[ONLY_START_TRAINING] = True
        return None

    def _logged_in(self, headers: Headers) -> bool:
        return self._open or _knows_password(headers, self._settings)


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
        except ClientDisconnect:  # in the middle of its body: nobody waits for an answer
            status = status or 499
        except Exception as error:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            figures.failure(error)
            if status:
                raise
            await JSONResponse({"detail": _UNFORESEEN}, 500)(scope, receive, noted)
        figures.request(_route(scope), status, time.perf_counter() - started)


def guard(app: Starlette, settings: Settings) -> None:
    """Put every guard around the application; the last is outermost."""
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Paced)


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


def _route(scope: Scope) -> str:
    """The path as the route writes it, so that no project and no task has a figure of its own."""
    path: str = scope["path"]
    if path in _ROUTES:
        return path
    if path.startswith(_DASHBOARD):
        return _DASHBOARD
    written: str = getattr(scope.get("route"), "path", "")
    return written if written.startswith("/api/") else "other"


# -- which requests a browser may make, and under which name

# Names that no stranger can register: local ones, and those of container networks.
_ONE_LABEL = re.compile(r"[a-z0-9_-]*")
_LOCAL_ENDINGS = (".localhost", ".test", ".local", ".internal", ".lan", ".home.arpa")
# The file of connect may change at any time, and is read for unusual names only.
_RELOAD_S = 5.0


def same_site(headers: Headers) -> bool:
    """Whether the request comes from our own page or from a program, as far as the browser says."""
    if _is_foreign(headers):
        return False
    # A proxy may have changed the host of the request; no other page can set these headers.
    hosts = {headers.get("host", ""), headers.get("x-forwarded-host", "")} - {""}
    return all(_netloc(origin) in hosts for origin in headers.getlist("origin"))


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site's page asks."""
    return bool(set(headers.getlist("sec-fetch-site")) - {"none", "same-origin"})


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as half an IPv6 address
        return ""


def _is_link(headers: Headers) -> bool:
    """Whether a browser follows a link, from any site, and shows the answer in a window of its own.
    What a page of another site loads into itself could tell it what is here."""
    shown = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return shown == ("navigate", "document")


def _kinds(headers: Headers) -> set[str]:
    """What the body is announced as, without parameters."""
    return {kind.partition(";")[0].strip().casefold() for kind in headers.getlist("content-type")}


def is_json(headers: Headers) -> bool:
    """Whether the body is announced as JSON, or there is none."""
    kinds = _kinds(headers)
    no_body = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    return kinds == {"application/json"} or (no_body and not any(kinds))


class AllowedHosts:
    """The host names of this backend.

    With names in the settings: these, and this machine's own. Without: addresses, local names, and
    the name that ``connect`` was given; and any name once there is a password, since a browser
    keeps passwords by host name.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._has_password = settings.has_password
        names = settings.allowed_hosts.replace(",", " ").split()
        # Also as addresses, or with a port.
        self._chosen = frozenset(
            _name(name.partition("://")[2].rstrip("/") or name) for name in names
        )
        self._own = frozenset({"localhost", socket.gethostname().casefold()})
        self._connected: frozenset[str] = frozenset()
        self._read_at = 0.0

    def allows(self, host: str) -> bool:
        """Whether a ``Host`` header names this backend."""
        name = _name(host)
        if name in self._own or name in self._chosen or _is_address(name):
            return True
        if self._chosen:
            return False
        if self._has_password:
            return True
        if _ONE_LABEL.fullmatch(name) or name.endswith(_LOCAL_ENDINGS):
            return True
        return name in self._of_connect()

    def _of_connect(self) -> frozenset[str]:
        if time.monotonic() - self._read_at > _RELOAD_S:
            self._read_at = time.monotonic()
            try:
                known = load_credentials(self._settings).values()
                self._connected = frozenset(
                    _name(urlsplit(access.backend_url).netloc) for access in known
                )
            except CredentialsError as error:
                _log.error("%s", error)
        return self._connected


def _name(host: str) -> str:
    """The name in a ``Host`` header: without its port, in lower case."""
    if host.startswith("["):
        inside, _, rest = host[1:].partition("]")
        return inside.partition("%")[0] if not rest or rest.startswith(":") else host
    return host.partition(":")[0].rstrip(".").casefold()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
