"""Starting the web server: its address, its logs, its processes.

One process with threads is the rule; more processes share everything through the database.
"""

import errno
import logging
import logging.config
import os
import socket
import sys
import tempfile
from typing import Any

import uvicorn

from backend.access import hide_settings
from backend.errors import AddressInUseError
from backend.settings import MIB, Settings


def serve(settings: Settings, *, host: str, port: int, processes: int = 1) -> None:
    """Serve until told to end. The address is taken before the model is loaded.

    Raises:
        AddressInUseError: another program listens there already.
    """
    listening = _bound(host, port)
    if processes > 1:
        # Read by prometheus-client when a server process imports it; a fresh folder each time,
        # else the figures of processes long gone would be added up.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="phraseclick-metrics-")
    config = uvicorn.Config(
        "backend.app:serving_app",
        factory=True,
        host=host,
        port=port,
        workers=processes,
        log_config=log_config(),
        # Each line costs a click nothing that matters, and shows an admin that requests arrive.
        access_log=True,
        server_header=False,
        # Clicks in flight are answered before the end; nobody waits longer for a restart.
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


def log_config() -> dict[str, Any]:
    """One format for every line, through the formatter that hides secrets."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "discreet": {
                "()": "backend.access.DiscreetFormatter",
                "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s",
            }
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "discreet",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {name: {"level": "INFO"} for name in ("uvicorn", "uvicorn.access")},
    }


def log_to_stderr(settings: Settings) -> None:
    """The same log for the other commands that run long."""
    hide_settings(settings)
    logging.config.dictConfig(log_config())


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


def tame_malloc() -> None:
    """Have large pictures and masks given back to the system as soon as they are done with.

    With one arena per thread, and with thresholds that grow with what was ever freed, glibc keeps
    the free memory of every thread that once decoded a large picture: 400 MB after an hour.
    """
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # musl, which has no such habits
        return
    m_arena_max, m_mmap_threshold, m_trim_threshold = -8, -3, -1
    libc.mallopt(m_arena_max, 2)
    libc.mallopt(m_mmap_threshold, 4 * MIB)
    libc.mallopt(m_trim_threshold, 8 * MIB)
