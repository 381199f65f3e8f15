"""The real servers of the end-to-end tests: Label Studio's API, and the backend as a process."""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from backend.demo.label_studio_server import LabelStudioServer
from backend.worker.child_process import Child, free_port

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "plugin_config"
# Loading the model while a training run has the cores.
START_SECONDS = 180.0


@dataclass
class Backend:
    """``phraseclick serve`` on one port and one data folder, which outlive its process."""

    data: Path
    # An admin names it: a private address that only announced itself is not trusted.
    label_studio_url: str = ""
    label_studio_token: str = ""
    port: int = field(default_factory=free_port)
    _child: Child | None = None

    @property
    def url(self) -> str:
        """Where Label Studio reaches it."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server; returns when it says that the model is loaded."""
        self._child = self._started("serve", f"--port={self.port}")
        self._child.wait_until(
            self._ready, seconds=START_SECONDS, progress=print, doing="The backend starts"
        )

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A worker that processes webhooks."""
        child = self._started("worker")
        try:
            yield
        finally:
            child.stop()

    def ensure(self) -> None:
        """Start it where a test before left it dead."""
        if not self._ready():
            self.stop()
            self.start()

    def kill(self) -> None:
        """``kill -9``: the server gets no chance to save anything."""
        assert self._child is not None, "the server runs"
        started = self._processes()
        assert started, "the server's process is found"
        for process in started:
            os.kill(process, signal.SIGKILL)
        self._child.stop()

    def stop(self) -> None:
        """End it politely."""
        if self._child is not None:
            self._child.stop()

    def events(self, task: int) -> list[sqlite3.Row]:
        """The event log of a task, oldest first."""
        database = sqlite3.connect(f"file:{self.data / 'phraseclick.db'}?mode=ro", uri=True)
        database.row_factory = sqlite3.Row
        try:
            return database.execute(
                "SELECT * FROM events WHERE task_id = ? ORDER BY id", (task,)
            ).fetchall()
        finally:
            database.close()

    def _started(self, command: str, *options: str) -> Child:
        return Child(
            f"phraseclick {command}",
            [sys.executable, "-m", "backend.cli", command, *options, f"--data={self.data}"],
            log=self.data / f"{command}.log",
            environment=os.environ
            | {
                "PYTHONPATH": str(REPOSITORY),
                "PYTHONUNBUFFERED": "1",
                "PHRASECLICK_LABEL_STUDIO_URL": self.label_studio_url,
                "PHRASECLICK_LABEL_STUDIO_TOKEN": self.label_studio_token,
            },
        )

    def _ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def _processes(self) -> list[int]:
        """The server's processes: those with our data folder, except the parent watch."""
        wanted = f"--data={self.data}".encode()
        pids = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if wanted in words and not any(word.endswith(b"parent_watch.py") for word in words):
                pids.append(int(folder.name))
        return pids


class LabelStudioApi:
    """What an admin does through Label Studio's API."""

    def __init__(self, server: LabelStudioServer) -> None:
        self.server = server
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Token {server.token}"

    def project(self, title: str, config: str, backend: Backend) -> int:
        """A fresh project with this labeling config, connected to the backend."""
        made = self._call("POST", "projects", json={"title": title, "label_config": config})
        project = int(made["id"])
        connection = {"url": backend.url, "title": "PhraseClick", "is_interactive": True}
        connected = self._call("POST", "ml", json=connection | {"project": project})
        assert connected["state"] == "CO", connected
        return project

    def upload(self, project: int, picture: Path) -> int:
        """A task with this picture."""
        with picture.open("rb") as file:
            return self._imported(project, files={picture.name: file})

    def task(self, project: int, address: str) -> int:
        """A task whose picture lies at this address."""
        return self._imported(project, json=[{"data": {"image": address}}])

    def annotations(self, task: int) -> list[dict[str, Any]]:
        """The submitted annotations of a task, oldest first."""
        answer: list[dict[str, Any]] = self._call("GET", f"tasks/{task}/annotations/")
        return sorted(answer, key=lambda annotation: int(annotation["id"]))

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """The predictions of a task."""
        answer: list[dict[str, Any]] = self._call("GET", f"predictions/?task={task}")
        return answer

    def invitation(self) -> str:
        """The address at which another annotator signs up."""
        return self.server.url + str(self._call("GET", "invite")["invite_url"])

    def _imported(self, project: int, **content: Any) -> int:
        path = f"projects/{project}/import?return_task_ids=true"
        return int(self._call("POST", path, **content)["task_ids"][0])

    def _call(self, method: str, path: str, **options: Any) -> Any:
        answer = self._session.request(
            method, f"{self.server.url}/api/{path}", timeout=120, **options
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()


@contextmanager
def running(backend: Backend) -> Iterator[Backend]:
    """Start it, and end it afterwards, restarted or not."""
    backend.data.mkdir(parents=True, exist_ok=True)
    backend.start()
    try:
        yield backend
    finally:
        backend.stop()


def until(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return condition()
