"""A dashboard on a free port, with a service of this process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from backend.api.service import Service
from backend.app import create_app
from backend.worker.child_process import free_port


@contextmanager
def served(service: Service) -> Iterator[str]:
    """The address, while the server runs."""
    port = free_port()
    config = uvicorn.Config(
        create_app(service.settings, service), port=port, log_level="error", lifespan="on"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the server fell"
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
