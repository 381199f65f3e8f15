"""A fake Label Studio over HTTP that serves pictures, has one project, and can go down."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.backend.hosts import Request, http_host
from tests.backend.samples.studio import PROJECT


@dataclass
class Host:
    """delay_s: seconds that a picture takes. project, backend: what its API shows and changes."""

    url: str = ""
    pictures: dict[str, bytes] = field(default_factory=dict)
    delay_s: float = 0.0
    project: dict[str, Any] = field(default_factory=lambda: {"id": PROJECT.id, "model_version": ""})
    backend: dict[str, Any] = field(
        default_factory=lambda: {"id": 1, "url": "http://backend.test:9090", "title": ""}
    )
    _running: ExitStack = field(default_factory=ExitStack)

    def come(self) -> None:
        """Start, at the same port as before."""
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self.url = self._running.enter_context(http_host(self._answer, port))

    def go(self) -> None:
        """Stop listening."""
        self._running.close()

    def _answer(self, request: Request, sent: bytes) -> tuple[int, bytes]:
        path = request.path.partition("?")[0]
        if path in self.pictures:
            time.sleep(self.delay_s)
            return 200, self.pictures[path]
        known = {f"/api/projects/{self.project['id']}/": self.project, "/api/ml/1": self.backend}
        if request.command == "PATCH" and path in known:
            known[path].update(json.loads(sent))
        answer = [self.backend] if path == "/api/ml/" else known.get(path)
        return 503 if answer is None else 200, json.dumps(answer or {}).encode()


@contextmanager
def host() -> Iterator[Host]:
    label_studio = Host()
    label_studio.come()
    yield label_studio
    label_studio.go()
