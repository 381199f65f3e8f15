"""What keeps a stranger's page from changing something here with the admin's own password.

A browser adds the password of basic auth to whatever any page sends to this host. So a change needs
a token that only a page of the dashboard can know: it is signed with a key of this backend and
bound to a cookie that other sites' requests never carry. Where the browser says from which page a
request comes, that is looked at as well.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from backend.errors import ForgeryError
from backend.label_studio.credentials import write_once
from backend.settings import Settings

COOKIE = "phraseclick-dashboard"
_KEY_FILE = "dashboard-key"
# Enough that nobody guesses one.
_BYTES = 24

_STALE = "This page was open too long, or its cookie was not sent. Open it again and repeat."
_ELSEWHERE = "This came from another site's page, so nothing was changed."


class Tokens:
    """Makes and checks the tokens of forms. The key is shared by all servers of a data folder."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.data / _KEY_FILE
        self._key = b""

    def token(self, cookie: str) -> str:
        """What a form sends along, for the browser that has this cookie."""
        if not self._key:
            self._key = _kept_key(self._path)
        return hmac.new(self._key, cookie.encode(), hashlib.sha256).hexdigest()

    def check(self, request: Request, token: str) -> None:
        """Raise ForgeryError unless the form was one of ours."""
        if not _from_here(request.headers):
            raise ForgeryError(_ELSEWHERE)
        cookie = request.cookies.get(COOKIE, "")
        if not cookie or not hmac.compare_digest(self.token(cookie).encode(), token.encode()):
            raise ForgeryError(_STALE)


def cookie_of(request: Request) -> str:
    """The browser's cookie; a new one where it has none yet."""
    return request.cookies.get(COOKIE) or secrets.token_urlsafe(_BYTES)


def keep_cookie(request: Request, response: Response, cookie: str) -> None:
    """Have the browser keep it, for as long as it is open."""
    if request.cookies.get(COOKIE) != cookie:
        response.set_cookie(
            COOKIE,
            cookie,
            path=f"{request.scope.get('root_path', '')}/dashboard",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )


def _from_here(headers: Headers) -> bool:
    """Whether the page that sent this is ours, as far as the browser tells."""
    origin = headers.get("origin")
    if origin is None:
        return True
    # A proxy in between may have given the request another host; no other page can say so.
    hosts = {headers.get("host", ""), headers.get("x-forwarded-host", "")} - {""}
    return urlsplit(origin).netloc in hosts


def _kept_key(path: Path) -> bytes:
    """The key of this data folder, made when it is first needed."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_once(path, secrets.token_urlsafe(32))
    return path.read_bytes().strip()
