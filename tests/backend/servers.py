"""The application without a server, and ``phraseclick serve`` as processes, for tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx

from backend.app import create_app
from backend.metrics import Metrics
from backend.reports.queries import Reports
from backend.settings import Settings
from backend.worker.child_process import free_port


def until(condition: Callable[[], bool], log: Path | None = None, seconds: float = 60) -> None:
    """Wait for the condition; fail with the end of the log after this time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-4000:] if log else "timed out"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


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


def start(settings: Settings, log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """A ``phraseclick`` command as a process with a session of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if "PHRASECLICK" not in name},
        "PHRASECLICK_DATA": str(settings.data),
        "PHRASECLICK_CHECKPOINT": settings.checkpoint,
        "PHRASECLICK_DEVICE": "cpu",
        "PHRASECLICK_LABEL_STUDIO_URL": settings.label_studio_url,
        "PHRASECLICK_TORCH_THREADS": "1",
        "PHRASECLICK_DATABASE_URL": settings.database_url,
        "PHRASECLICK_BROKER_URL": settings.broker_url,
        "PHRASECLICK_CHECKPOINT_STORE": settings.checkpoint_store,
        "PHRASECLICK_BASIC_AUTH_USER": settings.basic_auth_user,
        "PHRASECLICK_BASIC_AUTH_PASSWORD": settings.basic_auth_password.get_secret_value(),
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "backend.cli", *arguments],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """kill -9: it cannot write anything."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            kill(process)


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
