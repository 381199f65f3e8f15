"""A real server that treats tokens as Label Studio 1.23 does."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

LEGACY = "0123456789abcdef0123456789abcdef01234567"

Reply = tuple[int, Any]


def jwt(**claims: Any) -> str:
    """A token that says ``claims`` of itself."""

    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2lnbmF0dXJl"


PERSONAL = jwt(token_type="refresh", exp=9999999999, iat=0, user_id="1")


DISABLED = (
    "Authentication token no longer valid: legacy token authentication has been disabled for this "
    "organization"
)


class Host:
    """Label Studio's doors: legacy tokens work where ``legacy``, access tokens while they live."""

    def __init__(self) -> None:
        self.url = ""
        self.legacy = True
        self.personal = {PERSONAL}
        self.life = 300
        self.living: set[str] = set()
        self.refreshed = 0
        self.calls: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.adds: dict[str, str] = {}  # headers of its answers
        self.pages: dict[str, Callable[[str, dict[str, list[str]], Any], Reply]] = {}

    def give(self, path: str, body: Any, status: int = 200) -> None:
        self.pages[path] = lambda method, query, sent: (status, body)

    def answer(self, method: str, target: str, headers: dict[str, str], body: Any) -> Reply:
        parts = urlsplit(target)
        self.calls.append((method, target, body))
        self.headers.append(headers)
        if parts.path == "/api/token/refresh/":
            self.refreshed += 1
            if body["refresh"] not in self.personal:
                return 401, {"detail": "Token is blacklisted"}
            access = jwt(token_type="access", iat=1000, exp=1000 + self.life, n=self.refreshed)
            self.living.add(access)
            return 200, {"access": access}
        kind, _, token = headers.get("Authorization", "").partition(" ")
        known = (kind == "Token" and self.legacy and token == LEGACY) or (
            kind == "Bearer" and token in self.living
        )
        if not known:
            why = "Invalid token." if self.legacy else DISABLED
            return 401, {"detail": why}
        if parts.path not in self.pages:
            return 404, {"detail": "Not found."}
        return self.pages[parts.path](method, parse_qs(parts.query), body)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)
            is_json = self.headers.get("Content-Type") == "application/json"
            status, body = host.answer(
                self.command,
                self.path,
                dict(self.headers),
                json.loads(sent) if is_json and sent else sent,
            )
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", content.decode())
            for header in {**host.adds, "Content-Length": str(len(content))}.items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    host.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield host
    server.shutdown()
    server.server_close()
