"""One Label Studio host and its token: authenticated requests, and a clear sentence per refusal.

The token is sent only to the scheme, host and port it was created for. A host that an admin neither
configured nor connected, but that only announced itself, is reached like the address of a picture:
public addresses only, within one time limit, and its words are not repeated. A personal access
token is exchanged for an access token (Label Studio accepts nothing else), which lives five
minutes. No message or log line of this module contains a token.
"""

import base64
import binascii
import json
import threading
import time
from collections.abc import Iterator
from copy import copy
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from backend.errors import LabelStudioError, TokenError
from backend.label_studio.payloads import clean, is_token, whole_number
from backend.label_studio.ssrf import (
    Deadline,
    TimedAdapter,
    guarded,
    origin_of,
    read_address,
    read_body,
    why,
)

# Connect, and the longest silence. An import can take Label Studio long.
_TIMEOUT_S = (5.0, 60.0)
# Reading again, or setting the same field again, changes nothing. POST and DELETE are sent once.
_RETRIES = Retry(
    total=2,
    backoff_factor=0.5,
    status_forcelist=(502, 503, 504),
    allowed_methods=("GET", "PATCH"),
    raise_on_status=False,
    respect_retry_after_header=False,  # it may ask to wait for hours
)
_USER_AGENT = {"User-Agent": "phraseclick"}
_REFRESH = "/api/token/refresh/"
# An annotator waits for this one when the host is down.
_REFRESH_TIMEOUT_S = (5.0, 10.0)
# Renew the access token early, so that it does not expire on its way.
_RENEW_BEFORE_S = 30.0
_ACCESS_TOKEN_LIFE_S = 300.0
_PAGE = 100
# For a host that only announced itself: seconds and bytes of one answer. A page of a hundred tasks
# without masks has less than a megabyte, four tasks with masks some ten.
_ANNOUNCED_S = 20.0
_ANNOUNCED_BYTES = 64 << 20
# For the others: a host or a proxy that is broken must not keep its caller for good. All tries of a
# request together may take this many times the longest silence.
_TRUSTED_BYTES = 256 << 20
_TIMES_LONGER = 3
_LIST_S, _MAX_LISTED = 60.0, 10_000

_MAKE_TOKEN = (
    "Create a personal access token in Label Studio under Account & Settings, and set "
    "PHRASECLICK_LABEL_STUDIO_URL and PHRASECLICK_LABEL_STUDIO_TOKEN to its address and the token."
)

Json = dict[str, Any]


class Host:
    """Label Studio at ``url``, accessed with ``token`` (legacy or personal). Thread-safe.

    ``also_at`` is Label Studio's own idea of its address, which the addresses in tasks start with.
    ``trusted``: an admin configured or connected it. Otherwise it is only what a request announced,
    and ``private`` says whether it may have a private address.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        also_at: str = "",
        trusted: bool = True,
        private: bool = False,
    ) -> None:
        self.url = read_address(url)
        self.trusted = trusted
        self._private = private
        self._origin = origin_of(self.url)
        self._also_at = origin_of(also_at.strip())
        self._token = token.strip()
        if not is_token(self._token):
            raise TokenError(
                "The Label Studio token contains blanks, line breaks or other characters that no "
                f"token has. {_MAKE_TOKEN}"
            )
        self._access = ""
        self._access_ends = 0.0
        # The last exchange that failed, and when.
        self._failure: LabelStudioError | None = None
        self._failed_at = 0.0
        self._lock = threading.Lock()
        self._session = requests.Session()
        self._session.headers.update(_USER_AGENT)
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, TimedAdapter(max_retries=_RETRIES))
        # Any access token will do, so this POST may be repeated.
        refresh = TimedAdapter(max_retries=_RETRIES.new(allowed_methods=None))
        self._session.mount(f"{self.url}{_REFRESH}", refresh)

    # -- addresses

    def owns(self, url: str) -> bool:
        return origin_of(url) == self._origin

    def place(self, address: str) -> str | None:
        """``address`` as a URL of this host; None if it is on another host.

        Accepts paths, URLs of this host, and URLs that start with Label Studio's own address.
        """
        root = f"{self.url}/"
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            if self.owns(address):
                return address
            if self._also_at is None or origin_of(address) != self._also_at:
                return None
        base = urlsplit(self.url).path
        path = parts.path.lstrip("/")
        # Where Label Studio is served below a path, some addresses contain the path, others do not.
        if base and f"/{path}".startswith(f"{base}/"):
            path = path[len(base) :]
        return root + path + (f"?{parts.query}" if parts.query else "")

    # -- the token

    @property
    def personal(self) -> bool:
        """Whether the token is a personal access token (a JWT), not a legacy token."""
        return self._token.count(".") == 2

    def authorization_for(self, url: str) -> dict[str, str]:
        """The authorization header if ``url`` is on this host, else no header."""
        if not self._token or not self.owns(url):
            return {}
        if not self.personal:
            return {"Authorization": f"Token {self._token}"}
        asked_at = time.monotonic()
        with self._lock:
            # Threads that waited while it failed do not try one after the other, each for long.
            if self._failure is not None and self._failed_at > asked_at:
                raise copy(self._failure)
            if not self._access or time.monotonic() > self._access_ends:
                try:
                    self._access, life = self._refresh()
                except LabelStudioError as error:
                    self._failure, self._failed_at = error, time.monotonic()
                    raise
                self._access_ends = time.monotonic() + life - _RENEW_BEFORE_S
            return {"Authorization": f"Bearer {self._access}"}

    def renew(self) -> bool:
        """Drop the access token after a 401; whether a retry with a new one makes sense."""
        with self._lock:
            self._access = ""
        return self.personal

    def refusal(self, answer: str = "") -> str:
        """What a 401 with this answer means for this kind of token, and what to do."""
        if not self._token:
            what = "asks for a token and none is known"
        elif self.personal:
            what = (
                "refused the personal access token: it was revoked, or belongs to another Label "
                "Studio"
            )
        elif "legacy token" in answer:
            what = "refused the legacy token: it has legacy tokens turned off"
        else:
            what = "refused the legacy token: it is wrong, was replaced, or is no longer accepted"
        return f"Label Studio at {self.url} {what}. {_MAKE_TOKEN}"

    def _refresh(self) -> tuple[str, float]:
        """A new access token and its lifetime in seconds."""
        if _claims(self._token).get("token_type") == "access":
            raise TokenError(
                "The Label Studio token is an access token, which lives five minutes only. "
                + _MAKE_TOKEN
            )
        answer = self._send(
            "POST",
            f"{self.url}{_REFRESH}",
            json={"refresh": self._token},
            timeout=_REFRESH_TIMEOUT_S,
        )
        if answer.status_code in (400, 401, 403, 404):
            raise TokenError(self.refusal(), answered=answer.status_code)
        access = _body(self, answer)
        if not isinstance(access, dict) or not isinstance(access.get("access"), str):
            raise TokenError(f"Label Studio at {self.url} gave no access token. {_MAKE_TOKEN}")
        claims = _claims(access["access"])
        try:  # both times are the server's, so a wrong clock here does not matter
            life = float(claims["exp"]) - float(claims["iat"])
        except (KeyError, TypeError, ValueError):
            life = _ACCESS_TOKEN_LIFE_S
        return access["access"], life

    # -- calls

    def get(self, path: str, **params: Any) -> Json:
        """The object that GET ``path`` (``/api/…``) returns."""
        return self._object("GET", path, params=params)

    def post(self, path: str, body: Any = None, **params: Any) -> Json:
        """The object that POST ``path`` returns; sent once."""
        return self._object("POST", path, params=params, json=body)

    def patch(self, path: str, body: Json) -> Json:
        return self._object("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        self.call("DELETE", path)

    def _object(self, method: str, path: str, **options: Any) -> Json:
        body = self.call(method, path, **options)
        if not isinstance(body, dict):
            raise LabelStudioError("Label Studio answered with unexpected data.")
        return body

    def call(self, method: str, path: str, **options: Any) -> Any:
        """JSON of one call (None for an empty answer), with a valid token."""
        url = f"{self.url}{path}"
        answer = self._send(method, url, signed=True, **options)
        if answer.status_code == 401 and self.renew():
            answer = self._send(method, url, signed=True, **options)
        return _body(self, answer)

    def pages(self, path: str, items: str = "results", **params: Any) -> Iterator[Json]:
        """Every item of a paginated list; ``items`` is the list's name in each page."""
        page = 1
        while True:
            body = self.call("GET", path, params={"page": page, "page_size": _PAGE, **params})
            if isinstance(body, list):  # some lists have no pages
                body = {items: body}
            if not isinstance(body, dict) or not isinstance(body.get(items), list):
                raise LabelStudioError(f"Label Studio's list {path} is not as expected.")
            found = [item for item in body[items] if isinstance(item, dict)]
            yield from found
            total = whole_number(body.get("count", body.get("total"))) or 0
            if not found or page * _PAGE >= total:
                return
            page += 1

    def listed(self, path: str, **params: Any) -> list[Json]:
        """A list that is short. A host that sends page after page does not keep its caller."""
        ends = time.monotonic() + _LIST_S
        found = []
        for item in self.pages(path, **params):
            found.append(item)
            if len(found) > _MAX_LISTED or time.monotonic() > ends:
                raise LabelStudioError(f"Label Studio's list {path} at {self.url} does not end.")
        return found

    def _send(
        self, method: str, url: str, *, signed: bool = False, **options: Any
    ) -> requests.Response:
        headers = self.authorization_for(url) if signed else {}

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers.update(headers)
            return request

        options["auth"] = sign  # so that a .netrc does not replace the token
        timeout = options.setdefault("timeout", _TIMEOUT_S)
        limit = _TIMES_LONGER * timeout[1] if self.trusted else _ANNOUNCED_S
        with Deadline(limit) as deadline:
            try:
                if not self.trusted:
                    return self._send_guarded(deadline, method, url, **options)
                # A redirected POST becomes a GET, and the token must not go to another host.
                with self._session.request(
                    method, url, allow_redirects=False, stream=True, **options
                ) as answer:
                    # As requests does itself without stream=True.
                    answer._content = read_body(answer, deadline, _TRUSTED_BYTES, self._too_much())
                    return answer
            except (OSError, HTTPError) as error:
                reason = why(requests.Timeout() if deadline.passed else error)
                raise LabelStudioError(
                    f"Label Studio at {self.url} could not be reached ({reason}). "
                    "Is it running, and can this machine reach it there?"
                ) from None

    def _too_much(self) -> LabelStudioError:
        return LabelStudioError(f"Label Studio at {self.url} answers with too much.")

    def _send_guarded(
        self, deadline: Deadline, method: str, url: str, *, timeout: object, **options: Any
    ) -> requests.Response:
        """Send through the guard of pictures."""
        request = requests.Request(method, url, headers=_USER_AGENT, **options).prepare()
        private = LabelStudioError(
            f"Label Studio announced itself at {self.url}, which is in a private network. An admin "
            "has to confirm it: run phraseclick connect, or set PHRASECLICK_LABEL_STUDIO_URL."
        )
        with guarded(request, deadline, private=self._private, refusal=lambda _: private) as answer:
            answer._content = read_body(answer, deadline, _ANNOUNCED_BYTES, self._too_much())
            return answer


def _body(host: Host, answer: requests.Response) -> Any:
    """The JSON of an answer. Raises LabelStudioError for anything else."""
    status = answer.status_code
    where = f"Label Studio at {host.url}"
    location = answer.headers.get("Location", "")
    if status == 401 or (answer.is_redirect and "/user/login" in location):
        raise TokenError(host.refusal(answer.text), answered=401)
    if answer.is_redirect:
        target = origin_of(location)
        there = "{}://{}:{}".format(*target) if target else "another place"
        raise LabelStudioError(
            f"{where} redirects to {there}. Set PHRASECLICK_LABEL_STUDIO_URL to the address that "
            "answers without a redirect.",
            answered=status,
        )
    if not answer.ok:
        raise LabelStudioError(
            f"{where} answered {status} to {answer.request.method} "
            f"{urlsplit(answer.request.url or '').path}{_detail(answer) if host.trusted else ''}.",
            answered=status,
        )
    if not answer.content:
        return None
    try:
        return answer.json()
    except (ValueError, RecursionError):  # also a number of thousands of digits
        raise LabelStudioError(
            f"{where} answered with a page instead of data. Is this Label Studio's address?",
            answered=status,
        ) from None


def _detail(answer: requests.Response) -> str:
    """The reason in a refusal, short; '' if there is none."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return ""
    if isinstance(body, dict):
        body = body.get("validation_errors") or body.get("detail") or body
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return f": {clean(text[:300]).rstrip('.')}" if text else ""


def _claims(token: str) -> Json:
    """The claims of a JWT; the server checks the signature."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}
