"""Which requests a web browser may make here, and under which name.

A page on any site can have its visitor's browser send requests to this backend, with the password
that the browser has stored. Three checks stop that, for every route that changes or computes
something:

- The body must be announced as JSON, which a form or a plain ``fetch`` of another site cannot do
  without asking first (and nothing here answers that question).
- A browser says which site a request comes from, in ``Origin`` and ``Sec-Fetch-Site``. It must be
  this one. Label Studio and scripts send neither.
- The name in ``Host`` must be one of this backend. A site could otherwise have its own name resolve
  to this address (DNS rebinding), and its pages would count as pages of this backend.
"""

import ipaddress
import logging
import socket
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from backend.errors import CredentialsError
from backend.label_studio.credentials import load_credentials
from backend.settings import Settings

_log = logging.getLogger(__name__)

# Names that no stranger can register: local ones, and those of container networks.
_LOCAL_ENDINGS = (".localhost", ".test", ".local", ".internal", ".lan", ".home.arpa")
# The file of connect may change at any time, and is read for unusual names only.
_RELOAD_S = 5.0


def same_site(headers: Headers) -> bool:
    """Whether the request comes from our own page or from a program, as far as the browser says."""
    if set(headers.getlist("sec-fetch-site")) - {"none", "same-origin"}:
        return False
    # A proxy may have changed the host of the request; no other page can set these headers.
    hosts = {headers.get("host", ""), headers.get("x-forwarded-host", "")} - {""}
    return all(_netloc(origin) in hosts for origin in headers.getlist("origin"))


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as half an IPv6 address
        return ""


def is_json(headers: Headers) -> bool:
    """Whether the body is announced as JSON, or there is none."""
    kinds = {kind.partition(";")[0].strip().casefold() for kind in headers.getlist("content-type")}
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
        names = settings.allowed_hosts.replace(",", " ").split()
        self._chosen = frozenset(name.casefold() for name in names)
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
        if self._settings.has_password or "." not in name or name.endswith(_LOCAL_ENDINGS):
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
        return host[1:].partition("]")[0].partition("%")[0]
    return host.partition(":")[0].rstrip(".").casefold()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
