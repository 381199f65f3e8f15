"""A picture's bytes: decoded from its address, read from a shared folder, or downloaded.

Downloads have a size and a time limit, and Label Studio's token is sent to Label Studio only.
"""

import base64
import binascii
import contextlib
import logging
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import requests
import urllib3

from backend.errors import (
    LabelStudioError,
    PictureAddressError,
    PictureAwayError,
    PictureError,
    PictureFetchError,
    PictureFormatError,
)
from backend.images.address import Address, shown
from backend.label_studio.client import LabelStudio
from backend.label_studio.host import Origin, origin_of
from backend.label_studio.ssrf import Deadline, Gate, adapter_for, trusted_certificates

_MAX_REDIRECTS = 5
# Where Label Studio redirects requests without a valid token.
_LOG_IN = "/user/login/"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Temporary refusals; so is every status from 500 on.
_LATER = frozenset({408, 425, 429})
_CHUNK = 1 << 17
_DOCTOR = "Ask the admin to run phraseclick doctor."


class _RefusedError(PictureFetchError):
    """A host answered, but not with the picture. Another route may work."""


class _NotNowError(_RefusedError, PictureAwayError):
    """A host answered that it cannot serve anything at the moment."""


class Fetcher:
    """Reads the bytes of pictures within limits. Thread-safe."""

    def __init__(self, *, timeout_s: float, max_bytes: int, allow_private: bool) -> None:
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._allow_private = allow_private
        # Hosts that served a picture by the second route, which is tried first from then on.
        self._second_first: set[Origin | None] = set()
        # At its DEBUG level it logs whole URLs, which may contain signatures.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

    def read(self, address: Address, label_studio: LabelStudio | None) -> bytes:
        """The picture's file. Raises PictureError."""
        if address.kind == "inline":
            return _inline_bytes(address.routes[0], self._max_bytes)
        if address.kind == "file":
            return _file_bytes(address, self._max_bytes)
        return self._download(address.routes, label_studio)

    def _download(self, routes: Sequence[str], label_studio: LabelStudio | None) -> bytes:
        """What the first of ``routes`` that works serves; one time limit for all of them."""
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
        except LabelStudioError as error:  # there is no valid token
            raise PictureAwayError(f"The picture could not be read. {error}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if deadline.passed:
                raise self._too_slow() from None
            raise PictureAwayError(
                f"The picture could not be read: {_why(error)}. {_DOCTOR}"
            ) from None

    def _follow(self, url: str, label_studio: LabelStudio | None, deadline: Deadline) -> bytes:
        """Download ``url``, following redirects; each hop is checked on its own."""
        renewed = False
        hops = 0
        while hops <= _MAX_REDIRECTS:
            request = _request(url, label_studio)
            url = request.url or ""
            at_home = label_studio is not None and label_studio.owns(url)
            trusted = at_home and label_studio is not None and label_studio.trusted
            gate = Gate(deadline, private=self._allow_private, at_home=trusted)
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
                    host = "Label Studio" if at_home else urlsplit(url).hostname
                    error = _NotNowError if status >= 500 or status in _LATER else _RefusedError
                    raise error(
                        f"The picture could not be read: {host} answered {status}. "
                        f"{_meaning(status)}{_DOCTOR}"
                    )
                return self._body(response, deadline)
        raise PictureFetchError(
            f"The picture could not be read: its address redirects more than {_MAX_REDIRECTS} "
            f"times. {_DOCTOR}"
        )

    def _body(self, response: requests.Response, deadline: Deadline) -> bytes:
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise _too_large(self._max_bytes)
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > self._max_bytes:
                raise _too_large(self._max_bytes)
            if deadline.passed:
                raise self._too_slow()
        # A socket shut at the deadline looks like the end of a body without a length.
        if deadline.passed:
            raise self._too_slow()
        if not body:
            raise _RefusedError(f"The picture could not be read: the answer was empty. {_DOCTOR}")
        return bytes(body)

    def _too_slow(self) -> PictureError:
        return PictureAwayError(
            f"The picture could not be read: it did not come within {self._timeout_s:g} s. "
            "Try again. If it keeps failing, the admin can raise PHRASECLICK_PICTURE_TIMEOUT_S."
        )


def _request(url: str, label_studio: LabelStudio | None) -> requests.PreparedRequest:
    """A request, with the token if it goes to Label Studio."""
    headers = {
        # Label Studio answers 406 to requests that accept pictures only.
        "Accept": "image/*,*/*;q=0.8",
        "Accept-Encoding": "identity",
        "User-Agent": "phraseclick",
    }
    # Prepared before it is checked, so that the checked URL is exactly the requested one.
    try:
        request = requests.Request("GET", url, headers=headers).prepare()
    except (requests.RequestException, UnicodeError):
        raise PictureAddressError(f"The picture's address {shown(url)} is not valid.") from None
    if origin_of(request.url or "") is None:
        raise PictureAddressError(
            f"The picture's address leads to {shown(request.url or '')}, but pictures are read "
            "over http and https only."
        )
    if label_studio is not None:
        request.headers.update(label_studio.authorization_for(request.url or ""))
    return request


def _next_hop(url: str, location: str) -> str:
    # Headers are decoded as Latin-1, but may contain names in UTF-8.
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    try:
        return urljoin(url, location.replace("\\", "%5C"))
    except ValueError:
        raise PictureAddressError(
            f"The picture's address {shown(url)} redirects to one that is not valid."
        ) from None


def _meaning(status: int) -> str:
    if status in (401, 403):
        return "It does not allow access to the picture. "
    if status in (404, 410):
        return "There is no picture at its address. "
    return ""


def _why(error: Exception) -> str:
    """The kind of failure in words. Not the error's own text, which quotes the whole URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate of its host is not trusted"
    if isinstance(error, (requests.Timeout, TimeoutError)):
        return "its host did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the download broke off"
    text = repr(error)
    if "NameResolutionError" in text:
        return "its host name is unknown"
    if isinstance(error, requests.ConnectionError):
        return "its host cannot be reached"
    return "the download broke off"


def _inline_bytes(address: str, max_bytes: int) -> bytes:
    """The bytes in a ``data:`` address."""
    # Base64 takes four characters for three bytes, percent-encoding up to three for one.
    if len(address) > max_bytes * 3 + 200:
        raise _too_large(max_bytes)
    header, comma, body = address.partition(",")
    if not comma:
        raise PictureAddressError("The picture in the task's data is incomplete.")
    content = unquote_to_bytes(body)
    if header.lower().endswith(";base64"):
        try:
            content = base64.b64decode(b"".join(content.split()) + b"==")
        except binascii.Error:
            raise PictureAddressError("The picture in the task's data is incomplete.") from None
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


def _file_bytes(address: Address, max_bytes: int) -> bytes:
    """The bytes of a file in the shared folder."""
    try:
        with open(address.local_path, "rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise PictureFetchError(
            f"The picture {address.shown} could not be read from the shared folder: "
            f"{error.strerror}. Ask the admin to check its permissions."
        ) from None
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


def _too_large(max_bytes: int) -> PictureError:
    """For a file of more than ``max_bytes``."""
    return PictureFormatError(
        f"The picture could not be read: its file is larger than {max_bytes / (1 << 20):.0f} MB. "
        "The admin can raise PHRASECLICK_PICTURE_MAX_BYTES."
    )
