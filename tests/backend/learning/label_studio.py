"""A fake Label Studio over HTTP that serves pictures, has one project, and can go down."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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
    _server: ThreadingHTTPServer | None = None

    def come(self) -> None:
        """Start, at the same port as before."""
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._server = server

    def go(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """The API's object at a path, None if there is none."""
        known = {f"/api/projects/{self.project['id']}/": self.project, "/api/ml/1": self.backend}
        if method == "PATCH" and path in known:
            known[path].update(body)
        return [self.backend] if path == "/api/ml/" else known.get(path)


@contextmanager
def host() -> Iterator[Host]:
    label_studio = Host()
    label_studio.come()
    yield label_studio
    label_studio.go()


def _handler(label_studio: Host) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            content = label_studio.pictures.get(path)
            if content is None:
                self._api("GET", path, {})
                return
            time.sleep(label_studio.delay_s)
            self._say(200, content)

        def do_PATCH(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            self._api("PATCH", self.path, json.loads(self.rfile.read(length)))

        def _api(self, method: str, path: str, body: dict[str, Any]) -> None:
            answer = label_studio.answer(method, path, body)
            self._say(503 if answer is None else 200, json.dumps(answer or {}).encode())

        def _say(self, status: int, content: bytes) -> None:
            with suppress(ConnectionError):  # the client was killed meanwhile
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
