"""Starting the web server: its address and its processes.

One process with threads is the rule; more processes share everything through the database.

Connections that only wait have time limits for headers and unread answers, and a limit on their
number.

A client that sends half a request, or does not read its answer, costs nothing and would otherwise
hold a connection for good (slowloris). A reverse proxy does this better; without one, this is what
keeps ``/health`` and the annotators' clicks answered. The time limit of a body is in
``api.limits``.
"""

import asyncio
import errno
import ipaddress
import os
import resource
import socket
import tempfile
from contextlib import suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from backend.errors import AddressError
from backend.logs import log_config
from backend.settings import Settings

# Label Studio sends a header at once, as every program does.
HEADER_S = 10.0
# For the next 48 kB of an answer that does not fit into the system's buffers.
UNREAD_S = 30.0
# Twenty annotators have some twenty requests at a time, a dashboard a few more.
MAX_CONNECTIONS = 256
# Before what is no request is refused, so that a client that repeats it at once takes no time.
REFUSED_S = 1.0
# A request that was sent at once may wait as long until a busy server reads it.
YOUNG_S = 1.0
_MAX_BUSY = 2_000
# Bytes of a header, and of what is read at once; so many chunks of a body may be of any size, and
# the others of this one on average.
_PART = 1 << 14
_FEW_CHUNKS, _LEAST_CHUNK = 200, 256
_FILES = 4096
# The system would otherwise keep up to 4 MiB of an answer for each client that does not read it.
_UNREAD_BYTES = 256 << 10


class _TinyChunksError(Exception):
    """Ends a connection."""


class _Connection(h11.Connection):
    """h11's, without bodies of very many tiny chunks: each takes as long as a large one, and those
    of one read, a second in which nobody else is answered."""

    _chunks = _received = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._received += len(event.data)
            if self._chunks > _FEW_CHUNKS + self._received // _LEAST_CHUNK:
                raise _TinyChunksError
        return event


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP protocol with these limits. One object for each connection."""

    _opened_at = 0.0
    _header_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _refusal: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the time limit; where there are too many, end those that ask nothing longest."""
        super().connection_made(transport)
        self.conn = _Connection(h11.SERVER, _PART)
        self._opened_at = now = self.loop.time()
        self._await_header()
        # Only those that wait count, else a burst of quick requests would keep everyone else out.
        idle = [c for c in self.connections if isinstance(c, GuardedProtocol) and c.idle]
        idle.sort(key=lambda c: c._opened_at)
        old = [c for c in idle if now - c._opened_at > YOUNG_S]
        busy = len(self.connections) > _MAX_BUSY
        for surplus in old[: max(0, len(old) - MAX_CONNECTIONS)] or idle[:busy]:
            surplus.transport.abort()

    def data_received(self, data: bytes) -> None:
        """A part of a request; its header must be complete in time."""
        try:
            # In parts, since only a header that is not complete is limited in size.
            for start in range(0, len(data), _PART):
                if not self.transport.is_closing() and self._refusal is None:
                    super().data_received(data[start : start + _PART])
        except _TinyChunksError:
            self.transport.abort()
        if self._asks:
            self._end_timer()
        elif self._header_timer is None:
            self._await_header()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, but not at once."""
        self.transport.pause_reading()
        self._refusal = self.loop.call_later(REFUSED_S, self._refuse, msg)

    def pause_writing(self) -> None:
        """The client does not read its answer; it must go on in time."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read most of what was sent."""
        self._end_unread_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timer()
        self._end_unread_timer()
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether no complete request is being worked on, or the answer is not read."""
        return not self._asks or bool(self.cycle.more_body) or self._unread_timer is not None

    @property
    def _asks(self) -> bool:
        """Whether a request's header has arrived whose answer is not complete."""
        return self.cycle is not None and not self.cycle.response_complete

    def _await_header(self) -> None:
        self._end_timer()
        self._header_timer = self.loop.call_later(HEADER_S, self._too_late)

    def _end_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _end_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _refuse(self, msg: str) -> None:
        if not self.transport.is_closing():
            try:
                super().send_400_response(msg)
            except h11.LocalProtocolError:  # an answer to an earlier request has been begun
                self.transport.abort()

    def _too_late(self) -> None:
        self._header_timer = None
        if not self._asks:
            self.transport.abort()


def raise_file_limit() -> None:
    """Allow as many open files as connections, pictures and the database may need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(settings: Settings, *, host: str, port: int, processes: int = 1) -> None:
    """Serve until SIGTERM. The address is taken before the model is loaded.

    Raises:
        AddressError: another program listens there already.
    """
    listening = _bound(host, port)
    raise_file_limit()
    if processes > 1:
        # Read by prometheus-client when a server process imports it; a fresh folder each time,
        # else the figures of processes long gone would be added up.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="phraseclick-metrics-")
    config = uvicorn.Config(
        "backend.app:serving_app",
        factory=True,
        http=GuardedProtocol,
        ws="none",
        host=host,
        port=port,
        workers=processes,
        log_config=log_config(settings),
        # A line per request costs little, and shows an admin that requests arrive.
        access_log=True,
        server_header=False,
        # Clicks in flight are answered before the end, but a restart takes no longer than this.
        timeout_graceful_shutdown=10,
    )
    if processes == 1:
        uvicorn.Server(config).run(sockets=[listening])
    else:
        from uvicorn.supervisors import Multiprocess

        Multiprocess(config, sockets=[listening]).run()


def check_address(host: str, port: int) -> None:
    """Raise AddressError now, rather than in a child that is started again and again."""
    _bound(host, port).close()


def check_guarded(settings: Settings, host: str, *, without_password: bool) -> None:
    """Raise AddressError for an address that other machines reach, without a password."""
    if without_password or settings.has_password or is_loopback(host):
        return
    raise AddressError(
        f"On {host} other machines can reach the backend, and it has no password. Set "
        "PHRASECLICK_BASIC_AUTH_USER and PHRASECLICK_BASIC_AUTH_PASSWORD, here and for phraseclick "
        "connect. If something else keeps strangers out, add --without-password."
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD_BYTES)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressError(
                f"Another program listens on {host}:{port} already. "
                "End it, or choose another port with --port."
            ) from error
        raise AddressError(
            f"The address {host}:{port} cannot be used: {error.strerror}."
        ) from error
    listening.set_inheritable(True)
    return listening
