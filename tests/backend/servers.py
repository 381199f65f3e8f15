"""The application without a server, and ``phraseclick serve`` as a process, for tests."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import uvicorn

from backend.api.service import Service
from backend.app import create_app
from backend.metrics import Metrics
from backend.reports.queries import Reports
from backend.settings import Settings
from backend.worker.child_process import free_port
from tests.backend.programs import kill, start, stop, until


class ApiClient:
    """Calls the application without a server; the routes for scripts need no model."""

    def __init__(self, settings: Settings, reports: Reports) -> None:
        self.metrics = Metrics()
        self.notified = 0  # how often a worker was
        service: Any = SimpleNamespace(
            reports=reports,
            database=reports.database,
            metrics=self.metrics,
            settings=settings,
            job_asked=self._notify,
        )
        self._app = create_app(settings, service)

    def _notify(self) -> None:
        self.notified += 1

    def __call__(self, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        async def asking() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://backend") as client:
                return await client.request(method, path, **options)

        return anyio.run(asking)


class Server:
    """``phraseclick serve`` as a process."""

    def __init__(self, settings: Settings, log: Path, *arguments: str) -> None:
        self.port = free_port()
        self.log = log
        self.process = start(settings, log, "serve", f"--port={self.port}", *arguments)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=100)

    def up(self) -> "Server":
        until(self._answers, self.log, 120)
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            self.http.get("/health")
        except httpx.HTTPError:
            return False
        return True

    def predict(self, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.post("/predict", json=body).json()
        return answer

    def kill(self) -> None:
        kill(self.process)

    def stop(self) -> None:
        self.http.close()
        stop(self.process)


@contextmanager
def served(app: Any, **options: Any) -> Iterator[str]:
    """The address of a real server on a free port, while it runs. options: of uvicorn."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def client_of(settings: Settings, service: Service) -> Iterator[httpx.Client]:
    """A client of a real server on a free port."""
    app = create_app(settings, service)
    with served(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client
