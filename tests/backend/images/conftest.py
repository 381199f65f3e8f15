"""Real HTTP servers on this machine, real pictures, and Pictures with settings of a test's own."""

import io
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr

from backend.images.loader import Pictures
from backend.label_studio.projects import LabelStudioHosts
from backend.settings import Settings

TOKEN = "0123456789abcdef0123456789abcdef01234567"

Answer = Callable[[BaseHTTPRequestHandler], None]


def file_of(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """A picture's file."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def png_of_zeros(width: int, height: int, channels: int = 1, rows: int | None = None) -> bytes:
    """A small file that unpacks to a picture of that size; of ``rows`` only that many are there."""
    packer = zlib.compressobj(9)
    row = bytes(width * channels + 1)
    packed = b"".join(packer.compress(row) for _ in range(rows or height)) + packer.flush()
    colours = {1: 0, 4: 6}[channels]
    head = width.to_bytes(4) + height.to_bytes(4) + bytes([8, colours, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND")


@dataclass
class Site:
    """A web server; ``pages`` by path without query; ``seen``: what it was asked, with headers."""

    url: str = ""
    port: int = 0
    pages: dict[str, Answer] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def give(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer ``path`` with ``body``."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.pages[path] = answer

    def send_on(self, path: str, location: str, status: int = 302) -> None:
        """Answer ``path`` with a redirect."""
        self.give(path, b"", status, Location=location)

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [path for path, _ in self.seen]


NewSite = Callable[[], Site]
NewPictures = Callable[..., Pictures]


@pytest.fixture
def new_site() -> Iterator[NewSite]:
    """Starts a web server at each call; all end with the test."""
    servers: list[ThreadingHTTPServer] = []

    def start() -> Site:
        site = Site()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.seen.append((self.path, dict(self.headers)))
                page = site.pages.get(self.path.partition("?")[0])
                if page is None:
                    self.send_error(404)
                else:
                    page(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        site.port = server.server_address[1]
        site.url = f"http://127.0.0.1:{site.port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return site

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def label_studio(new_site: NewSite) -> Site:
    """The server that plays Label Studio."""
    return new_site()


@pytest.fixture
def new_pictures(label_studio: Site, tmp_path: Path) -> NewPictures:
    """Pictures with Label Studio at ``label_studio``; keywords are settings."""

    def make(**changes: Any) -> Pictures:
        values: dict[str, Any] = {
            "data": tmp_path / "data",
            "label_studio_url": label_studio.url,
            "label_studio_token": SecretStr(TOKEN),
            "picture_timeout_s": 5.0,
            **changes,
        }
        settings = Settings(**values)
        return Pictures(settings, LabelStudioHosts(settings))

    return make


@pytest.fixture
def pictures(new_pictures: NewPictures) -> Pictures:
    """Pictures with the usual settings: private addresses refused."""
    return new_pictures()


@pytest.fixture
def png() -> bytes:
    """A small picture's file: 40x24, red on top, blue below."""
    array = np.full((24, 40, 3), (20, 20, 210), np.uint8)
    array[:12] = (220, 20, 20)
    return file_of(Image.fromarray(array), "PNG")


@pytest.fixture
def token() -> str:
    """The token that Label Studio is given."""
    return TOKEN
