"""From figures to a page: the templates, how numbers and times are written in them, and what every
answer says to the browser: no other host, no inline script, no frame, no guessing.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from backend.jobs.lease import short_process_id
from backend.reports import wording
from backend.settings import Settings
from backend.web import charts
from backend.web.csrf import Tokens, cookie_of, keep_cookie

HERE = Path(__file__).parent
STATIC = HERE / "static"

# What was done is said on the page that comes next, once.
_SAID = "phraseclick-said"
_SAID_MOST = 1_000

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
    # Not "no-referrer": browsers would then send forms with the origin "null".
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Renderer:
    """Thread-safe. ``who``: in whose name changes are made."""

    def __init__(self, settings: Settings) -> None:
        self.tokens = Tokens(settings)
        guarded = settings.basic_auth_user and settings.basic_auth_password.get_secret_value()
        self.who = settings.basic_auth_user if guarded else "dashboard"
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            # Labels, phrases, titles and file names are strangers' words: always escaped.
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "WIDE": charts.WIDE,
            "NARROW": charts.NARROW,
            "stamp": _stamp(),
            "query": query,
        }
        self._templates.filters |= {
            "number": wording.number,
            "signed": wording.signed,
            "mean": wording.mean,
            "share": wording.share,
            "duration": wording.duration,
            "minute": wording.minute,
            "counted": wording.counted,
            "serves": wording.serves,
            "verdict": wording.verdict,
            "ago": ago,
            "iso": lambda moment: moment.astimezone(UTC).isoformat(),
            "size": size,
            "segment": segment,
            "short": short,
            "holder": short_process_id,
        }

    def compile(self) -> None:
        """Have every template at hand, rather than when it is first asked for."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def page(
        self, request: Request, template: str, *, status: int = 200, **told: Any
    ) -> HTMLResponse:
        """A whole page; ``here`` in the templates is the prefix of all addresses."""
        cookie = cookie_of(request)
        kind, _, said = _read_said(request).partition(":")
        html = self._templates.get_template(template).render(
            here=prefix(request),
            root=request.scope.get("root_path", ""),
            path=request.url.path,
            token=self.tokens.token(cookie),
            who=self.who,
            status=status,
            said=said,
            said_kind=kind,
            now=datetime.now(UTC),
            **told,
        )
        response = HTMLResponse(html, status, headers=HEADERS)
        keep_cookie(request, response, cookie)
        if said:
            response.delete_cookie(_SAID, path=prefix(request))
        return response

    def fragment(self, request: Request, template: str, **told: Any) -> str:
        """A part of a page, for a script to put in place of the one that is shown."""
        found = self._templates.get_template(template)
        return found.render(here=prefix(request), now=datetime.now(UTC), **told)

    def sent_on(
        self, request: Request, to: str, said: str = "", *, good: bool = True
    ) -> RedirectResponse:
        """To another page, which says it. So a reload repeats no change."""
        response = RedirectResponse(prefix(request) + to, 303, headers=HEADERS)
        if said:
            _write_said(request, response, f"{'good' if good else 'bad'}:{said[:_SAID_MOST]}")
        return response


def prefix(request: Request) -> str:
    """Before every address of the dashboard: where it is mounted, a proxy's path included."""
    return f"{request.scope.get('root_path', '')}/dashboard"


def asked_of(request: Request) -> defaultdict[str, str]:
    """The address' query; '' for what it does not name."""
    return defaultdict(str, request.query_params)


def number_in(text: str | None) -> int | None:
    """A number out of an address; None for anything else, and for what no database counts to."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def query(asked: Mapping[str, Any], **changed: Any) -> str:
    """The address' query with some of it changed; what is None or '' is left out."""
    kept = {name: value for name, value in {**asked, **changed}.items() if value not in (None, "")}
    return f"?{urlencode(kept)}" if kept else "?"


def segment(name: object) -> str:
    """A name as one part of an address' path."""
    return quote(str(name), safe="")


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """How long since, or until, in the coarsest unit that tells."""
    if moment is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    said = _span(abs(seconds))
    if said == "now":
        return "just now" if seconds >= 0 else "in a moment"
    return f"{said} ago" if seconds >= 0 else f"in {said}"


def _span(seconds: float) -> str:
    if seconds < 5:
        return "now"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def size(count: float | None) -> str:
    """Bytes as people say them."""
    if count is None:
        return wording.UNKNOWN
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def short(text: object, most: int = 60) -> str:
    """Its beginning, with three dots where something is missing."""
    text = str(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _stamp() -> str:
    """Changes with every file that browsers keep."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _read_said(request: Request) -> str:
    try:
        return bytes.fromhex(request.cookies.get(_SAID, "")).decode()
    except ValueError:
        return ""


def _write_said(request: Request, response: Response, said: str) -> None:
    response.set_cookie(
        _SAID,
        said.encode().hex(),
        max_age=60,
        path=prefix(request),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
