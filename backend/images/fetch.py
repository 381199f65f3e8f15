"""Downloads: the bytes behind a URL, within limits, and the token for Label Studio alone."""

import contextlib
import logging
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from backend.errors import (
    LabelStudioError,
    PictureAddressError,
    PictureAwayError,
    PictureError,
    PictureFetchError,
)
from backend.images.address import shown
from backend.images.local import too_large
from backend.images.ssrf import Deadline, Gate, adapter_for, trusted_certificates
from backend.label_studio.client import LabelStudio
from backend.label_studio.host import Origin, origin_of

_MAX_REDIRECTS = 5
# Where the pages of Label Studio send who has no valid token.
_LOG_IN = "/user/login/"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# "Not now", of a host that is alive; so is every answer from 500 on.
_LATER = frozenset({408, 425, 429})
_CHUNK = 1 << 17
_DOCTOR = "Ask the admin to run phraseclick doctor."


class _RefusedError(PictureFetchError):
    """A host answered, but not with the picture: another route may lead to it."""


class _NotNowError(_RefusedError, PictureAwayError):
    """A host answered that it cannot hand anything out."""


class Fetcher:
    """Downloads pictures within limits; safe in threads."""

    def __init__(self, *, timeout_s: float, max_bytes: int, allow_private: bool) -> None:
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._allow_private = allow_private
        # Hosts whose pictures were found by the second route: looked for there first from then on.
        self._second_first: set[Origin | None] = set()
        # At its DEBUG level it writes whole URLs, and with them the signatures of storage.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

    def fetch(self, routes: Sequence[str], label_studio: LabelStudio | None) -> bytes:
        """What lies at the first of ``routes`` that gives it out; raises PictureError.

        The time limit is one for all routes and hops together.
        """
        origin = origin_of(routes[-1])
        order = routes[::-1] if origin in self._second_first else routes
        with Deadline(self._timeout_s) as deadline:
            for route in order:
                try:
                    content = self._get(route, label_studio, deadline)
                except _RefusedError:
                    if route == order[-1]:
                        raise
                else:
                    if len(routes) > 1 and route == routes[-1]:
                        self._second_first.add(origin)
                    return content
        raise AssertionError("the last route returns or raises")

    def _get(self, url: str, label_studio: LabelStudio | None, deadline: Deadline) -> bytes:
        try:
            return self._follow(url, label_studio, deadline)
        except LabelStudioError as error:  # no living token to be had
            raise PictureAwayError(f"The picture could not be read. {error}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if deadline.passed:
                raise self._too_slow() from None
            raise PictureAwayError(
                f"The picture could not be read: {_why(error)}. {_DOCTOR}"
            ) from None

    def _follow(self, url: str, label_studio: LabelStudio | None, deadline: Deadline) -> bytes:
        """Get ``url`` and what it sends on to; every hop is judged anew."""
        renewed = False
        hops = 0
        while hops <= _MAX_REDIRECTS:
            request = _request(url, label_studio)
            url = request.url or ""
            at_home = label_studio is not None and label_studio.owns(url)
            gate = Gate(deadline, private=self._allow_private, at_home=at_home)
            with (
                contextlib.closing(adapter_for(gate)) as adapter,
                adapter.send(
                    request,
                    stream=True,
                    timeout=max(deadline.left, 0.001),
                    verify=trusted_certificates(),
                ) as response,
            ):
                status = response.status_code
                location = response.headers.get("Location", "")
                if status in _REDIRECTS and location:
                    following = _next_hop(url, location)
                    if not (at_home and _LOG_IN in following):
                        url = following
                        hops += 1
                        continue
                    status = 401
                if status == 401 and at_home and label_studio is not None:
                    if not renewed and label_studio.renew():
                        renewed = True
                        continue
                    raise PictureAwayError(
                        f"The picture could not be read. {label_studio.refusal()}"
                    )
                if status != 200:
                    who = "Label Studio" if at_home else urlsplit(url).hostname
                    kind = _NotNowError if status >= 500 or status in _LATER else _RefusedError
                    raise kind(
                        f"The picture could not be read: {who} answered {status}. "
                        f"{_meaning(status)}{_DOCTOR}"
                    )
                return self._body(response, deadline)
        raise PictureFetchError(
            f"The picture could not be read: its address is sent on more than {_MAX_REDIRECTS} "
            f"times. {_DOCTOR}"
        )

    def _body(self, response: requests.Response, deadline: Deadline) -> bytes:
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise too_large(self._max_bytes)
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > self._max_bytes:
                raise too_large(self._max_bytes)
            if deadline.passed:
                raise self._too_slow()
        # A shut socket can look like the end of a body without a length.
        if deadline.passed:
            raise self._too_slow()
        if not body:
            raise _RefusedError(f"The picture could not be read: the answer was empty. {_DOCTOR}")
        return bytes(body)

    def _too_slow(self) -> PictureError:
        return PictureAwayError(
            f"The picture could not be read: it did not come within {self._timeout_s:g} s. "
            "Try again; if it stays so, the admin can set PHRASECLICK_PICTURE_TIMEOUT_S."
        )


def _request(url: str, label_studio: LabelStudio | None) -> requests.PreparedRequest:
    """A request, with the token where it goes to Label Studio."""
    headers = {
        # Label Studio answers 406 to who takes nothing but pictures.
        "Accept": "image/*,*/*;q=0.8",
        "Accept-Encoding": "identity",
        "User-Agent": "phraseclick",
    }
    # Prepared before it is judged: what is judged is then, to the letter, what is connected to.
    try:
        request = requests.Request("GET", url, headers=headers).prepare()
    except (requests.RequestException, UnicodeError):
        raise PictureAddressError(
            f"The picture's address {shown(url)} is not a valid one."
        ) from None
    if origin_of(request.url or "") is None:
        raise PictureAddressError(
            f"The picture's address leads to {shown(request.url or '')}, and pictures are read "
            "over http and https only."
        )
    if label_studio is not None:
        request.headers.update(label_studio.authorization_for(request.url or ""))
    return request


def _next_hop(url: str, location: str) -> str:
    # Header bytes come as Latin-1; a name in UTF-8 within them is meant as such.
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    try:
        return urljoin(url, location.replace("\\", "%5C"))
    except ValueError:
        raise PictureAddressError(
            f"The picture's address {shown(url)} sends on to one that is not valid."
        ) from None


def _meaning(status: int) -> str:
    if status in (401, 403):
        return "It refuses to hand the picture out. "
    if status in (404, 410):
        return "There is no picture at its address any more. "
    return ""


def _why(error: Exception) -> str:
    """The kind of failure in words. Never the error's own text: it quotes the whole URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate of its host is not trusted"
    if isinstance(error, (requests.Timeout, TimeoutError)):
        return "its host did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the download broke off"
    text = repr(error)
    if "NameResolutionError" in text:
        return "the name of its host is not known"
    if isinstance(error, requests.ConnectionError):
        return "its host cannot be reached"
    return "the download broke off"
