"""``phraseclick bench --attacks``: what twenty annotators notice while the server is attacked.

Each attack was once enough to keep annotators waiting, or to end the server. Attackers run in a
process of their own with the lowest priority, since they would come from other machines.
"""

import io
import json
import multiprocessing
import os
import random
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from PIL import Image

from backend.benchmark.server import CONFIG, PROJECT
from backend.settings import MIB


def make_bombs(folder: Path) -> None:
    """Write them into a new folder, as ``bomb-…``."""
    folder.mkdir(parents=True)
    files: Mapping[str, Callable[[], bytes]] = {
        "scans.jpg": _many_scans,
        "large.png": lambda: _one_colour(10_000),
        "float.tif": lambda: _file(Image.new("F", (5_000, 5_000), 0.5), "TIFF"),
        "chunks.png": lambda: _many_chunks(1_000_000),
        "fill.jpg": lambda: _file(Image.new("RGB", (8, 8)), "JPEG").replace(
            b"\xff\xd8", b"\xff\xd8" + b"\xff" * 4 * MIB, 1
        ),
    }
    for name, make in files.items():
        (folder / f"bomb-{name}").write_bytes(make())


def _file(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def _many_scans() -> bytes:
    """A progressive JPEG of nine megapixels whose last scan comes 4,000 times."""
    content = _file(Image.new("RGB", (3_000, 3_000), "red"), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 4_000 + content[-2:]


def _chunk(kind: bytes, body: bytes = b"") -> bytes:
    checked = kind + body
    return len(body).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")


def _png(side: int, chunks: bytes) -> bytes:
    compress = zlib.compressobj(9)
    row = bytes(1 + 4 * side)
    data = b"".join(compress.compress(row) for _ in range(side)) + compress.flush()
    header = side.to_bytes(4, "big") * 2 + bytes([8, 6, 0, 0, 0])
    ends = _chunk(b"IDAT", data) + _chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + chunks + ends


def _one_colour(side: int) -> bytes:
    return _png(side, b"")


def _many_chunks(count: int) -> bytes:
    return _png(8, _chunk(b"teSt") * count)


# Enough to go beyond the server's limit of connections.
_CONNECTIONS = 260
_HELD_S = 5.0
_HALF_HEADER = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
_HALF_BODY = (
    b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)
_LARGE_ANSWER = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_LARGE_BODY = b'{"tasks":[' + b"1," * 33_000_000 + b"1]}"
_MANY_OBJECTS = b'{"tasks":[' + b'{"a":[]},' * 230_000 + b"{}]}"
# 174 kB.
_LONG_CONFIG = CONFIG.replace(
    '<Label value="Thing"/></BrushLabels>',
    '<Label value="Thing"/>'
    + "".join(f'<Label value="Label number {n:04}"/>' for n in range(2_400))
    + "</BrushLabels>",
)


@dataclass(frozen=True)
class Target:
    """The attacked server, a folder with harmful pictures, and a host that never answers."""

    port: int
    bombs: Path
    slow_port: int
    ended: threading.Event

    def post(self, path: str, body: bytes) -> None:
        """Send JSON, and read and ignore the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=100)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            connection.getresponse().read()
        finally:
            connection.close()

    def hold(self, text: bytes) -> None:
        """Send the text on many connections, and keep them open without reading for a while."""
        held = []
        for _ in range(_CONNECTIONS):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(5)
            held.append(connection)
            with suppress(OSError):
                connection.connect(("127.0.0.1", self.port))
                connection.sendall(text)
        self.ended.wait(_HELD_S)
        for connection in held:
            connection.close()


@dataclass(frozen=True)
class Attack:
    """What ``threads`` threads do again and again; ``once`` gets a number that is new each time."""

    name: str
    threads: int
    once: Callable[[Target, int], None]


def _picture(target: Target, number: int, address: str, config: str = CONFIG) -> None:
    click = {
        "id": "k1",
        "from_name": "kp",
        "to_name": "image",
        "type": "keypointlabels",
        "original_width": 640,
        "original_height": 480,
        "value": {"x": 50, "y": 50, "width": 0.3, "keypointlabels": ["Thing"]},
    }
    task = {"id": 50_000_000 + number, "project": 1, "data": {"image": address}}
    body = {
        "tasks": [task],
        "project": PROJECT,
        "label_config": config,
        "params": {"context": {"result": [click]}},
    }
    target.post("/predict", json.dumps(body).encode())


def _bomb(target: Target, number: int) -> None:
    kinds = sorted(target.bombs.glob("bomb-*"))
    kind = kinds[number % len(kinds)]
    # Another name is another picture for the cache.
    name = f"new-{number}-{kind.name}"
    os.link(kind, target.bombs / name)
    _picture(target, number, f"/data/local-files/?d={target.bombs.name}/{name}")


def _slow_picture(target: Target, number: int) -> None:
    _picture(target, number, f"http://127.0.0.1:{target.slow_port}/{number}.jpg")


def _long_config(target: Target, number: int) -> None:
    _picture(target, number, "/data/local-files/?d=none.jpg", _LONG_CONFIG)


def _setup(target: Target, key: str, token: str) -> None:
    host = "http://studio.example"
    body = {"project": key, "schema": CONFIG, "hostname": host, "access_token": token}
    target.post("/setup", json.dumps(body).encode())


def _webhook(target: Target, number: int) -> None:
    body = {"action": "START_TRAINING", "project": {"id": number}, "annotation": "x" * 20 * MIB}
    target.post("/webhook", json.dumps(body).encode())


def _long_path(target: Target, number: int) -> None:
    connection = HTTPConnection("127.0.0.1", target.port, timeout=100)
    connection.request("GET", f"/{number}" + "token" * 12_000)
    connection.getresponse().read()
    connection.close()


ATTACKS = (
    Attack("half a header, 260 connections", 1, lambda target, n: target.hold(_HALF_HEADER)),
    Attack("half a body, 260 connections", 1, lambda target, n: target.hold(_HALF_BODY)),
    Attack("unread answers, 260 connections", 1, lambda target, n: target.hold(_LARGE_ANSWER)),
    Attack("bodies of 63 MiB", 20, lambda target, n: target.post("/predict", _LARGE_BODY)),
    Attack(
        "bodies of 2 MiB, many objects",
        20,
        lambda target, n: target.post("/predict", _MANY_OBJECTS),
    ),
    Attack("webhooks of 20 MiB", 8, _webhook),
    Attack("pictures that never come", 40, _slow_picture),
    Attack("pictures made to do harm", 16, _bomb),
    Attack("configs of 174 kB", 16, _long_config),
    Attack("setups of strangers", 4, lambda target, n: _setup(target, f"{n}.{n}", f"{n:040x}")),
    Attack("tokens of 3 MiB", 8, lambda target, n: _setup(target, f"1.{n}", "t" * 3 * MIB)),
    Attack("paths of 60 kB", 4, _long_path),
)


@contextmanager
def running(attack: Attack, port: int, bombs: Path) -> Iterator[None]:
    """Attack the server on ``port`` within the block."""
    context = multiprocessing.get_context("spawn")
    name = attack.name
    process = context.Process(target=_attack, args=(name, port, bombs), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _attack(name: str, port: int, bombs: Path) -> None:
    """The attackers' process; it is killed."""
    os.nice(19)
    attack = next(attack for attack in ATTACKS if attack.name == name)
    slow = socket.create_server(("127.0.0.1", 0), backlog=1_000)
    target = Target(port, bombs, slow.getsockname()[1], threading.Event())
    first = random.randrange(1 << 30)

    def attacker(person: int) -> None:
        number = first + person
        while True:
            try:
                attack.once(target, number)
            except (OSError, HTTPException):
                time.sleep(0.1)  # refused, as most of them are
            number += attack.threads

    for person in range(attack.threads):
        threading.Thread(target=attacker, args=(person,), daemon=True).start()
    threading.Event().wait()
