"""``phraseclick serve`` as processes, for tests."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from backend.settings import Settings
from backend.worker.child_process import free_port


class Server:
    """``phraseclick serve`` as a process."""

    def __init__(self, settings: Settings, log: Path, *arguments: str) -> None:
        self.port = free_port()
        self.log = log
        environment = {
            **{name: value for name, value in os.environ.items() if "PHRASECLICK" not in name},
            "PHRASECLICK_DATA": str(settings.data),
            "PHRASECLICK_CHECKPOINT": settings.checkpoint,
            "PHRASECLICK_DEVICE": "cpu",
            "PHRASECLICK_LABEL_STUDIO_URL": settings.label_studio_url,
            "PHRASECLICK_TORCH_THREADS": "1",
            "PHRASECLICK_DATABASE_URL": settings.database_url,
            "PHRASECLICK_CHECKPOINT_STORE": settings.checkpoint_store,
            "PHRASECLICK_BASIC_AUTH_USER": settings.basic_auth_user,
            "PHRASECLICK_BASIC_AUTH_PASSWORD": settings.basic_auth_password.get_secret_value(),
        }
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend.cli", "serve", f"--port={self.port}", *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=100)

    def up(self) -> "Server":
        deadline = time.monotonic() + 120
        while True:
            try:
                self.http.get("/health")
            except httpx.HTTPError:
                assert time.monotonic() < deadline, self.log.read_text()[-3000:]
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                time.sleep(0.1)
            else:
                return self

    def predict(self, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.post("/predict", json=body).json()
        return answer

    def kill(self) -> None:
        """kill -9: it cannot write anything."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
