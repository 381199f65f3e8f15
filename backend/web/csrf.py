"""Protection against cross-site request forgery.

A browser adds the basic auth password to requests from any site's page. So a change needs a
token that only a page of the dashboard knows: it is signed with a key of this backend and bound to
a cookie that requests from other sites never carry. If the browser says which page a request comes
from, that is checked as well.
"""

import hashlib
import hmac
import secrets
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from backend.api.origin import same_site
from backend.errors import CredentialsError, ForgeryError
from backend.label_studio.credentials import write_once
from backend.settings import Settings
from model.files import private_folder

COOKIE = "phraseclick-dashboard"
_KEY_FILE = "dashboard-key"
_BYTES = 24
_LEAST_KEY = 32

_STALE = "This page was open too long, or its cookie is missing. Reload it and try again."
_ELSEWHERE = "This request came from another site's page, so nothing was changed."


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
        cookie = request.cookies.get(COOKIE, "")
        if not cookie or not hmac.compare_digest(self.token(cookie).encode(), token.encode()):
            raise ForgeryError(_STALE)


def cookie_of(request: Request) -> str:
    """The browser's cookie, or a new one."""
    return request.cookies.get(COOKIE) or secrets.token_urlsafe(_BYTES)


def keep_cookie(request: Request, response: Response, cookie: str) -> None:
    """Set the cookie for the browser session."""
    if request.cookies.get(COOKIE) != cookie:
        response.set_cookie(
            COOKIE,
            cookie,
            path=f"{request.scope.get('root_path', '')}/dashboard",
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
