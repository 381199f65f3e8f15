"""Connections to hosts that somebody else named: allowed addresses only, within a time limit.

Anyone who imports tasks writes the addresses of pictures, and anyone who reaches ``/setup`` names a
Label Studio. Neither may make this server reach into the private network around it (SSRF). A host
name is resolved once, the result is checked, and the
connection goes to that result, so that a name which resolves differently a moment later (DNS
rebinding) gains nothing.
"""

import contextlib
import ipaddress
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from backend.errors import PictureAddressError

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_AddressInfo = tuple[Any, Any, int, str, Any]

# IPv6 forms of an IPv4 address: the IPv4 address is what is checked.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


def is_public(address: str) -> bool:
    """Whether the IP ``address`` is that of one machine on the public internet."""
    ip: _IP = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and (ip in _NAT64 or ip in _COMPATIBLE):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local or ip in _LOCAL_NAT64:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def is_link_local(address: str) -> bool:
    """Whether the IP ``address`` is link-local, where clouds serve their credentials."""
    ip: _IP = ipaddress.ip_address(address.partition("%")[0])
    inner = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (inner or ip).is_link_local


class Deadline:
    """A time limit on everything in the ``with`` block, also on bodies that arrive byte by byte.

    A socket's own timeout restarts with every byte. Here the sockets are shut down when the time
    is up.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets.clear()

    @property
    def left(self) -> float:
        """Seconds left, 0 when time is up."""
        return max(0.0, self._ends - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether time is up."""
        return self.left == 0

    def watch(self, sock: socket.socket) -> None:
        """Shut ``sock`` down when time is up. Keeps a duplicate, since TLS takes the object."""
        with self._lock:
            self._sockets.append(sock.dup())
        if self.passed:
            self._shut()

    def _shut(self) -> None:
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def _private_picture(host: str) -> Exception:
    return PictureAddressError(
        f"The picture's address leads to {host}, which is in a private network. If that "
        "is intended, ask the admin to set PHRASECLICK_ALLOW_PRIVATE_ADDRESSES=true."
    )


class Gate:
    """Opens connections within a deadline, to public addresses only unless ``private``.

    at_home: the connection goes to a Label Studio that an admin configured or connected, which is
    usually private. Link-local addresses, where clouds serve credentials, stay forbidden.
    refusal: makes the error for a forbidden host from its name.
    """

    def __init__(
        self,
        deadline: Deadline,
        *,
        private: bool,
        at_home: bool = False,
        refusal: Callable[[str], Exception] = _private_picture,
    ) -> None:
        self._deadline = deadline
        self._private = private
        self._at_home = at_home
        self._refusal = refusal

    def connect(self, connection: HTTPConnection) -> socket.socket:
        """A socket to the host of ``connection``. Raises ``refusal`` if forbidden."""
        host, port = connection.host, connection.port
        failure: OSError | None = None
        refused = False
        for family, kind, protocol, _, where in self._resolve(connection, host, port):
            if not self._allows(where[0]):
                refused = True
                continue
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(max(self._deadline.left, 0.001))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.connect(where)
            except OSError as error:
                failure = error
                sock.close()
                continue
            self._deadline.watch(sock)
            return sock
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(connection, "no answer")
        if failure is not None:
            raise NewConnectionError(connection, str(failure))
        if refused:
            raise self._refusal(host)
        raise NewConnectionError(connection, "no address")

    def _allows(self, address: str) -> bool:
        if self._private or is_public(address):
            return True
        return self._at_home and not is_link_local(address)

    def _resolve(self, connection: HTTPConnection, host: str, port: int) -> list[_AddressInfo]:
        # The system's resolver takes no time limit, and a dead name server blocks it for long.
        answers: queue.SimpleQueue[list[_AddressInfo] | OSError] = queue.SimpleQueue()

        def resolve() -> None:
            try:
                answers.put(socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                answers.put(error if isinstance(error, OSError) else OSError(str(error)))

        threading.Thread(target=resolve, name="resolver", daemon=True).start()
        try:
            answer = answers.get(timeout=self._deadline.left)
        except queue.Empty:
            raise ConnectTimeoutError(connection, "no answer from the name server") from None
        if isinstance(answer, socket.gaierror):
            raise NameResolutionError(host, connection, answer)
        if isinstance(answer, OSError):
            raise NewConnectionError(connection, str(answer))
        return answer


def adapter_for(gate: Gate) -> HTTPAdapter:
    """A requests adapter whose connections all go through ``gate``, and through no proxy."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return gate.connect(self)

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return gate.connect(self)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    adapter = HTTPAdapter(max_retries=0)
    adapter.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}
    return adapter


def trusted_certificates() -> str | bool:
    """The certificates that an admin set for requests, or those that come with it.

    Requests reads these variables itself, but only together with those of proxies, which must be
    ignored here.
    """
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
