"""A picture's bytes: decoded from its address, read from a shared folder, or downloaded.

Downloads have a size and a time limit, and Label Studio's token is sent to Label Studio only.
"""

import base64
import binascii
import contextlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
from backend.label_studio.ssrf import (
    Deadline,
    Origin,
    guarded,
    origin_of,
    read_body,
    why,
)

_MAX_REDIRECTS = 5
# Where Label Studio redirects requests without a valid token.
_LOG_IN = "/user/login/"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Temporary refusals; so is every status from 500 on.
_LATER = frozenset({408, 425, 429})
_MEANINGS = dict.fromkeys((401, 403), "It does not allow access to the picture. ")
_MEANINGS |= dict.fromkeys((404, 410), "There is no picture at its address. ")
_DOCTOR = "Ask the admin to run phraseclick doctor."


class _RefusedError(PictureFetchError):
    """A host answered, but not with the picture. Another route may work."""


class _NotNowError(_RefusedError, PictureAwayError):
    """A host answered that it cannot serve anything at the moment."""


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """Reads the bytes of pictures within limits. Thread-safe."""

    timeout_s: float
    max_bytes: int
    allow_private: bool
    # Hosts that served a picture by the second route, which is tried first from then on.
    _second_first: set[Origin | None] = field(default_factory=set)

    def __post_init__(self) -> None:
        # At its DEBUG level it logs whole URLs, which may contain signatures.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

    def read(self, address: Address, label_studio: LabelStudio | None) -> bytes:
        """The picture's file. Raises PictureError."""
        if address.kind == "inline":
            return _inline_bytes(address.routes[0], self.max_bytes)
        if address.kind == "file":
            return _file_bytes(address.local_path, self.max_bytes)
        return self._download(address.routes, label_studio)

    def _download(self, routes: Sequence[str], label_studio: LabelStudio | None) -> bytes:
        """What the first of ``routes`` that works serves; one time limit for all of them."""
        origin = origin_of(routes[-1])
        *first, last = routes[::-1] if origin in self._second_first else routes
        with Deadline(self.timeout_s) as deadline:
            for route in first:
                with contextlib.suppress(_RefusedError):
                    return self._get(route, label_studio, deadline)
            content = self._get(last, label_studio, deadline)
        if last != routes[0]:
            self._second_first.add(origin)
        return content

    def _get(self, url: str, label_studio: LabelStudio | None, deadline: Deadline) -> bytes:
        try:
            return self._follow(url, label_studio, deadline)
        except LabelStudioError as error:  # there is no valid token
            raise PictureAwayError(f"The picture could not be read. {error}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if deadline.passed:
                raise PictureAwayError(
                    "The picture could not be read: it did not come within "
                    f"{self.timeout_s:g} s. Try again. If it keeps failing, the admin can raise "
                    "PHRASECLICK_PICTURE_TIMEOUT_S."
                ) from None
            raise PictureAwayError(
                f"The picture could not be read: {why(error)}. {_DOCTOR}"
            ) from None

    def _follow(self, url: str, label_studio: LabelStudio | None, deadline: Deadline) -> bytes:
        """Download ``url``, following redirects; each hop is checked on its own."""
        renewed = False
        hops = 0
        while hops <= _MAX_REDIRECTS:
            request = _request(url, label_studio)
            url = request.url or ""
            home = label_studio if label_studio is not None and label_studio.owns(url) else None
            with guarded(
                request,
                deadline,
                private=self.allow_private,
                at_home=home is not None and home.trusted,
                refusal=_private,
            ) as response:
                status = response.status_code
                location = response.headers.get("Location", "")
                if status in _REDIRECTS and location:
                    following = _next_hop(url, location)
                    if home is None or _LOG_IN not in following:
                        url = following
                        hops += 1
                        continue
                    status = 401
                if status == 401 and home is not None:
                    if not renewed and home.renew():
                        renewed = True
                        continue
                    raise PictureAwayError(f"The picture could not be read. {home.refusal()}")
                if status != 200:
                    host = "Label Studio" if home is not None else urlsplit(url).hostname
                    error = _NotNowError if status >= 500 or status in _LATER else _RefusedError
                    raise error(
                        f"The picture could not be read: {host} answered {status}. "
                        f"{_MEANINGS.get(status, '')}{_DOCTOR}"
                    )
                body = read_body(response, deadline, self.max_bytes, _too_large(self.max_bytes))
                if not body:
                    raise _RefusedError(
                        f"The picture could not be read: the answer was empty. {_DOCTOR}"
                    )
                return body
        raise PictureFetchError(
            f"The picture could not be read: its address redirects more than {_MAX_REDIRECTS} "
            f"times. {_DOCTOR}"
        )


def _private(host: str) -> Exception:
    return PictureAddressError(
        f"The picture's address leads to {host}, which is in a private network. If that "
        "is intended, ask the admin to set PHRASECLICK_ALLOW_PRIVATE_ADDRESSES=true."
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


def _inline_bytes(address: str, max_bytes: int) -> bytes:
    """The bytes in a ``data:`` address."""
    # Base64 takes four characters for three bytes, percent-encoding up to three for one.
    if len(address) > max_bytes * 3 + 200:
        raise _too_large(max_bytes)
    header, comma, body = address.partition(",")
    if not comma:
        raise PictureAddressError("The picture in the task's data is incomplete.")
    content = unquote_to_bytes(body)
    if re.search("; *base64$", header, re.IGNORECASE):
        try:
            content = base64.b64decode(b"".join(content.split()) + b"==")
        except binascii.Error:
            raise PictureAddressError("The picture in the task's data is incomplete.") from None
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


def _file_bytes(path: str, max_bytes: int) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise PictureFetchError(
            f"The picture {Path(path).name} could not be read from the shared folder: "
            f"{error.strerror}. Ask the admin to check its permissions."
        ) from None
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


def _too_large(max_bytes: int) -> PictureError:
    return PictureFormatError(
        f"The picture could not be read: its file is larger than {max_bytes / (1 << 20):.0f} MB. "
        "The admin can raise PHRASECLICK_PICTURE_MAX_BYTES."
    )
