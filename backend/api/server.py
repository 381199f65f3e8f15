"""Starting the web server: its address and its processes.

One process with threads is the rule; more processes share everything through the database.
"""

import errno
import ipaddress
import os
import socket
import tempfile

import uvicorn

from backend.api.connections import GuardedProtocol, raise_file_limit
from backend.errors import AddressInUseError, OpenToNetworkError
from backend.logs import log_config
from backend.settings import Settings


def serve(settings: Settings, *, host: str, port: int, processes: int = 1) -> None:
    """Serve until SIGTERM. The address is taken before the model is loaded.

    Raises:
        AddressInUseError: another program listens there already.
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
    """Raise AddressInUseError now, rather than in a child that is started again and again."""
    _bound(host, port).close()


def check_guarded(settings: Settings, host: str, *, without_password: bool) -> None:
    """Raise OpenToNetworkError for an address that other machines reach, without a password."""
    if without_password or settings.has_password or is_loopback(host):
        return
    raise OpenToNetworkError(
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
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(
                f"Another program listens on {host}:{port} already. "
                "End it, or choose another port with --port."
            ) from error
        raise AddressInUseError(
            f"The address {host}:{port} cannot be used: {error.strerror}."
        ) from error
    listening.set_inheritable(True)
    return listening
