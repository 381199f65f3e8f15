"""Addresses of hosts, and requests to hosts that somebody else named: public ones, within limits.

Anyone who imports tasks writes the addresses of pictures, and anyone who reaches ``/setup`` names a
Label Studio. Neither may make this server reach into the private network around it (SSRF). A host
name is resolved once, the result is checked, and the connection goes to that result, so that a name
which resolves differently a moment later (DNS rebinding) gains nothing.
"""

import contextlib
import ipaddress
import os
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import parse_url

from backend.errors import LabelStudioError

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_AddressInfo = tuple[Any, Any, int, str, Any]

# IPv6 forms of an IPv4 address: the IPv4 address is what is checked.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_CHUNK = 1 << 17
_MAX_ADDRESS = 500
_ADDRESS = re.compile(r"https?://[^/?#@\\\s\x00-\x1f\x7f]+(/[\w.~%/-]*)?", re.IGNORECASE)
# The path of a page of Label Studio.
_PAGE_OF_IT = re.compile(r"/(?:projects|user)(?=[/?#]|$)")

Origin = tuple[str, str, int]


def origin_of(url: str) -> Origin | None:
    """Scheme, host and port that a request to ``url`` connects to; None: no web address."""
    # The parser of the library that connects. Another one could see another host in the URL, and
    # the token would go there.
    try:
        parts = parse_url(url)
    except (LocationParseError, ValueError):
        return None
    if parts.scheme not in ("http", "https") or not parts.host:
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.host.lower().rstrip("."), port


def read_address(url: str, *, backend: bool = False) -> str:
    """``url`` as ``http://host:8080/path`` without a slash at its end. Raises LabelStudioError.

    A user, a query or a fragment is refused: what is appended to the address would otherwise not be
    the path of the request.

    backend: it is the backend's, not Label Studio's.
    """
    url = url.strip()
    url = url if "://" in url or not url else f"http://{url}"
    if not backend:
        url = _PAGE_OF_IT.split(url)[0]  # as copied from the browser
    url = url.rstrip("/")
    if len(url) > _MAX_ADDRESS or not _ADDRESS.fullmatch(url) or origin_of(url) is None:
        whose, example, advice = (
            ("The backend's", "http://host:9090", "Give it with --backend-url.")
            if backend
            else (
                "Label Studio's",
                "http://host:8080",
                "Set PHRASECLICK_LABEL_STUDIO_URL to it.",
            )
        )
        raise LabelStudioError(
            f"{whose} address must look like {example}, without user, password or query. {advice}"
        )
    return url


def is_public(address: str) -> bool:
    """Whether the IP ``address`` is that of one machine on the public internet."""
    ip = _ip(address)
    if isinstance(ip, ipaddress.IPv6Address) and (ip.is_site_local or ip in _LOCAL_NAT64):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def is_private(url: str) -> bool | None:
    """Whether the host of a URL has a private address; None if its name is unknown here."""
    try:
        addresses = socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, ValueError):
        return None
    return any(not is_public(str(entry[4][0])) for entry in addresses)


def _ip(address: str) -> _IP:
    ip: _IP = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and (ip in _NAT64 or ip in _COMPATIBLE):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    return ip


class Deadline:
    """A time limit on all requests of a ``with`` block, also on answers that come byte by byte.

    A socket's own timeout restarts with every byte. Here the sockets that this thread uses in the
    block are shut down when the time is up: those of ``TimedAdapter`` and of ``guarded``.
    """

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True

    def __enter__(self) -> "Deadline":
        self._timer.start()
        _entered.deadlines = (*_deadlines(), self)
        return self

    def __exit__(self, *exception: object) -> None:
        _entered.deadlines = _deadlines()[:-1]
        self._timer.cancel()
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets.clear()

    @property
    def left(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.left == 0

    def watch(self, sock: socket.socket) -> None:
        """Shut ``sock`` down when time is up. Keeps a duplicate, since TLS takes the object."""
        with self._lock:
            self._sockets.append(socket.socket(fileno=os.dup(sock.fileno())))
        if self.passed:
            self._shut()

    def _shut(self) -> None:
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


# In each thread, those whose block it is in, the innermost last.
_entered = threading.local()


def _deadlines() -> tuple[Deadline, ...]:
    return getattr(_entered, "deadlines", ())


@contextlib.contextmanager
def guarded(
    request: requests.PreparedRequest,
    deadline: Deadline,
    *,
    private: bool,
    at_home: bool = False,
    refusal: Callable[[str], Exception],
) -> Iterator[requests.Response]:
    """The answer to one request, sent to an allowed address and through no proxy; its body is still
    to be read. A redirect is not followed.

    Args:
        private: whether any address is allowed, not only public ones.
        at_home: the request goes to a Label Studio that an admin configured or connected, which is
            usually private. Link-local addresses, where clouds serve credentials, stay forbidden.
        refusal: makes the error for a forbidden host from its name.
    """

    def allows(address: str) -> bool:
        return private or is_public(address) or (at_home and not _ip(address).is_link_local)

    def connect(connection: HTTPConnection) -> socket.socket:
        return _connect(connection, deadline, allows, refusal)

    adapter = HTTPAdapter(max_retries=0)
    adapter.poolmanager.pool_classes_by_scheme = _pool_classes(connect)
    # The certificates that an admin set for requests. Requests reads these variables itself, but
    # only together with those of proxies, which must be ignored here.
    certificates = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    with (
        contextlib.closing(adapter),
        adapter.send(
            request,
            stream=True,
            timeout=max(deadline.left, 0.001),
            verify=certificates or True,
        ) as response,
    ):
        yield response


def read_body(
    response: requests.Response, deadline: Deadline, limit: int, too_large: Exception
) -> bytes:
    """The body of an answer. Raises ``too_large`` above ``limit`` bytes, or requests.Timeout."""
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > limit:
            raise too_large
        if deadline.passed:
            break
    # A socket shut at the deadline looks like the end of a body without a length.
    if deadline.passed:
        raise requests.Timeout
    return bytes(body)


def why(error: Exception) -> str:
    """Why a request got no answer, in words. Not the error's own text, which quotes the URL."""
    text = repr(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not trusted"
    if isinstance(error, requests.exceptions.SSLError):
        return "no encrypted connection could be made: does it answer http:// instead?"
    if "CA certificate bundle" in text:
        return "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names no file of certificates"
    if isinstance(error, requests.Timeout | TimeoutError) or "ReadTimeoutError" in text:
        return "it did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the download broke off"
    if "NameResolutionError" in text:
        return "its host name is unknown"
    if isinstance(error, requests.ConnectionError):
        refused = ": connection refused" if "Connection refused" in text else ""
        return f"its host cannot be reached{refused}"
    return "its address is not valid" if isinstance(error, ValueError) else "the download broke off"


def _connect(
    connection: HTTPConnection,
    deadline: Deadline,
    allows: Callable[[str], bool],
    refusal: Callable[[str], Exception],
) -> socket.socket:
    """A socket to the host of ``connection``, at an address that ``allows`` accepts."""
    failure: OSError | None = None
    refused = False
    for family, kind, protocol, _, where in _resolve(connection, deadline):
        if not allows(where[0]):
            refused = True
            continue
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(deadline.left, 0.001))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(where)
        except OSError as error:
            failure = error
            sock.close()
            continue
        return sock
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, "no answer")
    if failure is None and refused:
        raise refusal(connection.host)
    raise NewConnectionError(connection, str(failure or "no address"))


def _resolve(connection: HTTPConnection, deadline: Deadline) -> list[_AddressInfo]:
    # The system's resolver takes no time limit, and a dead name server blocks it for long.
    answers: queue.SimpleQueue[list[_AddressInfo] | OSError] = queue.SimpleQueue()
    host = connection.host

    def resolve() -> None:
        try:
            where = host.strip("[]"), connection.port
            answers.put(socket.getaddrinfo(*where, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=resolve, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left)
    except queue.Empty:
        raise ConnectTimeoutError(connection, "no answer from the name server") from None
    if isinstance(answer, socket.gaierror):
        raise NameResolutionError(host, connection, answer)
    if isinstance(answer, OSError):
        raise NewConnectionError(connection, str(answer))
    return answer


def _pool_classes(connect: Callable[[Any], socket.socket]) -> dict[str, Any]:
    """Pools whose connections are opened by ``connect`` and keep to this thread's deadlines."""

    def watched(sock: socket.socket) -> socket.socket:
        for deadline in _deadlines():
            deadline.watch(sock)
        return sock

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return watched(connect(self))

        def request(self, *arguments: Any, **options: Any) -> None:
            if self.sock is not None:  # kept from an earlier request
                watched(self.sock)
            super().request(*arguments, **options)

    class SecureConnection(Connection, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}


class TimedAdapter(HTTPAdapter):
    """An adapter of a session whose requests keep to the ``Deadline`` around them."""

    _POOLS: ClassVar = _pool_classes(HTTPConnection._new_conn)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if manager.proxy.scheme in self._POOLS:  # connections to SOCKS are opened in their own way
            manager.pool_classes_by_scheme = self._POOLS
        return manager
