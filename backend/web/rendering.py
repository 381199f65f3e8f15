"""From figures to a page: templates, how numbers and times are written in them, tokens of forms,
and the headers of every answer: no other host, no inline script, no frame, no content sniffing.

Tokens protect against cross-site request forgery: a browser adds the basic auth password to
requests from any site's page. So a change needs a token that only a page of the dashboard knows: it
is signed with a key of this backend and bound to a cookie that requests from other sites never
carry. If the browser says which page a request comes from, that is checked as well.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from backend.api.middleware import same_site
from backend.errors import CredentialsError, ForgeryError
from backend.jobs.lease import short_process_id
from backend.label_studio.credentials import write_once
from backend.registry.champions import served_by
from backend.reports import output
from backend.settings import Settings
from model.files import private_folder

HERE = Path(__file__).parent
STATIC = HERE / "static", output.STYLE

_COOKIE = "phraseclick-dashboard"
_KEY_FILE = "dashboard-key"
_BYTES = 24
_LEAST_KEY = 32

_STALE = "This page was open too long, or its cookie is missing. Reload it and try again."
_ELSEWHERE = "This request came from another site's page, so nothing was changed."

# A message for the next page, shown once.
_MESSAGE = "phraseclick-said"
_MESSAGE_LENGTH = 1_000

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers would then send forms with the origin "null".
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Tokens:
    """Creates and checks the tokens of forms. All servers of a data folder share the key."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.data / _KEY_FILE
        self._key = b""

    def token(self, cookie: str) -> str:
        """The token of forms for the browser with this cookie."""
        if not self._key:
            self._key = _stored_key(self._path)
        return hmac.new(self._key, cookie.encode(), hashlib.sha256).hexdigest()

    def check(self, request: Request, token: str) -> None:
        """Raise ForgeryError unless the form came from the dashboard."""
        if not same_site(request.headers):
            raise ForgeryError(_ELSEWHERE)
        cookie = request.cookies.get(_COOKIE, "")
        if not cookie or not hmac.compare_digest(self.token(cookie).encode(), token.encode()):
            raise ForgeryError(_STALE)


class Renderer:
    """Thread-safe. ``who``: the name under which changes are made."""

    def __init__(self, settings: Settings) -> None:
        self.tokens = Tokens(settings)
        self.who = settings.basic_auth_user if settings.has_password else "dashboard"
        self._templates = _templates()

    def compile(self) -> None:
        """Load every template now, rather than at its first use."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def page(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """A whole page; ``here`` in the templates is the prefix of all addresses."""
        cookie = request.cookies.get(_COOKIE) or secrets.token_urlsafe(_BYTES)
        kind, _, message = _read_message(request).partition(":")
        html = self._templates.get_template(template).render(
            here=prefix(request),
            root=request.scope.get("root_path", ""),
            path=request.url.path,
            token=self.tokens.token(cookie),
            who=self.who,
            status_code=status,
            message=message,
            message_kind=kind,
            now=datetime.now(UTC),
            **values,
        )
        response = HTMLResponse(html, status, headers=HEADERS)
        if request.cookies.get(_COOKIE) != cookie:
            _set_cookie(request, response, _COOKIE, cookie)
        if message:
            response.delete_cookie(_MESSAGE, path=prefix(request))
        return response

    def fragment(self, request: Request, template: str, **values: Any) -> str:
        """A part of a page, with which a script replaces the one that is shown."""
        loaded = self._templates.get_template(template)
        return loaded.render(here=prefix(request), now=datetime.now(UTC), **values)

    def redirect(
        self, request: Request, to: str, message: str = "", *, good: bool = True
    ) -> RedirectResponse:
        """Redirect to a page that shows the message, so that a reload repeats no change."""
        response = RedirectResponse(prefix(request) + to, 303, headers=HEADERS)
        if message:
            said = f"{'good' if good else 'bad'}:{message[:_MESSAGE_LENGTH]}"
            _set_cookie(request, response, _MESSAGE, said.encode().hex(), max_age=60)
        return response


@cache
def _templates() -> Environment:
    """All templates. Compiling them takes longer than rendering, so it is done once."""
    environment = output.environment(HERE / "templates")
    environment.globals |= {
        "stamp": _stamp(),
        "query": query,
        "served_by": served_by,
    }
    filters: dict[str, Callable[..., str]] = {
        "ago": ago,
        "segment": segment,
        "short": short,
        "process": short_process_id,
    }
    environment.filters |= filters
    return environment


def prefix(request: Request) -> str:
    """The start of every address of the dashboard, including a proxy's path."""
    return f"{request.scope.get('root_path', '')}/dashboard"


def number_in(text: str | None) -> int | None:
    """A number from a URL; None for anything else, and for numbers too large for a database."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def query(asked: Mapping[str, Any], **changed: Any) -> str:
    """A URL's query with changes; None and '' remove a parameter."""
    kept = {name: value for name, value in {**asked, **changed}.items() if value not in (None, "")}
    return f"?{urlencode(kept)}" if kept else "?"


def segment(name: object) -> str:
    """A name as one segment of a URL's path."""
    return quote(str(name), safe="")


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Relative time in one unit: 5 min ago, in 3 h."""
    if moment is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    span = abs(seconds)
    if span < 5:
        return "just now" if seconds >= 0 else "in a moment"
    if span < 90:
        said = f"{span:.0f} s"
    elif span < 90 * 60:
        said = f"{span / 60:.0f} min"
    elif span < 36 * 3600:
        said = f"{span / 3600:.0f} h"
    else:
        said = f"{span / 86400:.0f} days"
    return f"{said} ago" if seconds >= 0 else f"in {said}"


def short(text: object, most: int = 60) -> str:
    """The beginning of a text, with an ellipsis if it is cut."""
    text = str(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _stamp() -> str:
    """Changes with every file that browsers cache."""
    digest = hashlib.sha256()
    for folder in STATIC:
        for file in sorted(folder.iterdir()):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _read_message(request: Request) -> str:
    try:
        return bytes.fromhex(request.cookies.get(_MESSAGE, "")).decode()
    except ValueError:
        return ""


def _set_cookie(
    request: Request, response: Response, name: str, value: str, max_age: int | None = None
) -> None:
    """Set a cookie that only the dashboard's own pages send; by default for the browser session."""
    response.set_cookie(
        name,
        value,
        max_age=max_age,
        path=prefix(request),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def _stored_key(path: Path) -> bytes:
    """The key of this data folder, created at the first call, or where its file is damaged."""
    if path.exists() and len(path.read_bytes().strip()) < _LEAST_KEY:
        path.unlink(missing_ok=True)  # with an empty key, anyone could make a token
    if not path.exists():
        private_folder(path.parent)
        write_once(path, secrets.token_urlsafe(32))
    key = path.read_bytes().strip()
    if len(key) < _LEAST_KEY:
        raise CredentialsError(f"The dashboard's key cannot be read: delete {path} and try again.")
    return key
