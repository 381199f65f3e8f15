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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from statistics import mean
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console
from rich.table import Table

from backend.benchmark.run import cpu, many_annotators, publish
from backend.benchmark.server import (
    CONFIG,
    Server,
    click_region,
    predict_body,
    request,
    running_server,
)
from backend.errors import BenchError
from backend.settings import MIB

# A click at the 95th percentile may take twice as long as at rest.
GOAL_RATIO = 2.0
# For the server to end what an attack has left behind.
_PAUSE_S = 5.0


def run_attacks(
    *, json_file: Path | None, folder: Path | None, seconds: float = 30.0
) -> dict[str, Any]:
    """Measure at rest, under an attack, at rest again, and so on; print each row as it comes.

    seconds: for each attack, a third of them at rest. Other work on the machine changes within
    minutes, so an attack is compared with the rest just before and just after it. Raises BenchError
    if the server does not answer at rest.
    """
    console = Console(stderr=True, width=110)
    rest_s, attack_s = seconds / 3, seconds * 2 / 3
    rows = []
    # The host that never answers is on this machine.
    with running_server(folder, ALLOW_PRIVATE_ADDRESSES="true") as server:
        bombs = server.photographs.folder / "bombs"
        make_bombs(bombs)
        many_annotators(server, 5, console)  # warms up
        rest = many_annotators(server, rest_s, console, "rest")
        for attack in ATTACKS:
            with running(attack, server.port, bombs):
                row = _measured(server, attack.name, attack_s, console)
            time.sleep(_PAUSE_S)
            before, rest = rest, many_annotators(server, rest_s, console, "rest")
            rests = [before["p95_ms"], rest["p95_ms"]]
            ratio = row["p95_ms"] and round(row["p95_ms"] / mean(rests), 2)
            rows.append({**row, "rest_p95_ms": rests, "to_rest": ratio})
            console.print("  ".join(_cells(rows[-1])))
    report = {"rows": rows, "cpu": cpu(), "load": os.getloadavg()[0]}
    publish(report, _table(report), json_file)
    return report


def _measured(server: Server, name: str, seconds: float, console: Console) -> dict[str, Any]:
    try:
        row = many_annotators(server, seconds, console, name)
    except BenchError as error:  # not one click got a mask
        console.print(str(error))
        row = {"name": name, "median_ms": None, "p95_ms": None, "n": 0, "errors": -1}
    return {**row, "rss_mb": round(server.rss_mb()), "descriptors": server.descriptors()}


def _cells(row: dict[str, Any]) -> list[str]:
    ratio = row["to_rest"]
    return [
        row["name"],
        *(f"{p95:.0f}" for p95 in row["rest_p95_ms"]),
        *(f"{row[name]:.0f}" if row[name] else "–" for name in ("median_ms", "p95_ms")),
        f"{ratio:.2f} {'✓' if ratio <= GOAL_RATIO else '✗'}" if ratio else "✗",
        *(str(row[name]) for name in ("n", "errors", "rss_mb", "descriptors")),
    ]


def _table(report: dict[str, Any]) -> Table:
    title = f"20 annotators under attack, {report['cpu']}, load {report['load']:.1f}"
    table = Table(title=title, caption="Times in milliseconds, memory in MB")
    table.add_column("attack", no_wrap=True)
    columns = (
        "p95 before",
        "p95 after",
        "median",
        "p95",
        "to rest",
        "clicks",
        "errors",
        "MB",
        "fd",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for row in report["rows"]:
        table.add_row(*_cells(row))
    return table


# -- pictures made to do harm


def make_bombs(folder: Path) -> None:
    """Write them into a new folder, as ``bomb-…``."""
    folder.mkdir()
    chunks = PngInfo()
    for _ in range(1_000_000):
        chunks.add(b"teSt", b"")
    files = {
        "scans.jpg": _many_scans(),
        "large.png": _file(Image.new("RGBA", (10_000, 10_000)), "PNG", compress_level=9),
        "float.tif": _file(Image.new("F", (5_000, 5_000), 0.5), "TIFF"),
        "chunks.png": _file(Image.new("RGBA", (8, 8)), "PNG", pnginfo=chunks),
        "fill.jpg": _file(Image.new("RGB", (8, 8)), "JPEG").replace(
            b"\xff\xd8", b"\xff\xd8" + b"\xff" * 4 * MIB, 1
        ),
    }
    for name, content in files.items():
        (folder / f"bomb-{name}").write_bytes(content)


def _file(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def _many_scans() -> bytes:
    """A progressive JPEG of nine megapixels whose last scan comes 4,000 times."""
    content = _file(Image.new("RGB", (3_000, 3_000), "red"), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 4_000 + content[-2:]


# -- the attacks

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
    + "".join(f'<Label value="Label number {n:04}"/>' for n in range(5_100))
    + "</BrushLabels>",
)


@dataclass(frozen=True)
class Target:
    """The attacked server, a folder with harmful pictures, and a host that never answers."""

    port: int
    bombs: Path
    slow_port: int

    def post(self, path: str, body: bytes) -> None:
        """Send JSON."""
        request(self.port, "POST", path, body)

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
        time.sleep(_HELD_S)
        for connection in held:
            connection.close()


@dataclass(frozen=True)
class Attack:
    """What ``threads`` threads do again and again; ``once`` gets a number that is new each time."""

    name: str
    threads: int
    once: Callable[[Target, int], object]


def _picture(target: Target, number: int, address: str, config: str = CONFIG) -> None:
    click = click_region(1, "Thing", (640, 480))
    target.post("/predict", predict_body(50_000_000 + number, address, [click], config))


def _bomb(target: Target, number: int) -> None:
    kinds = sorted(target.bombs.glob("bomb-*"))
    kind = kinds[number % len(kinds)]
    # Another name is another picture for the cache.
    name = f"new-{number}-{kind.name}"
    os.link(kind, target.bombs / name)
    _picture(target, number, f"/data/local-files/?d={target.bombs.name}/{name}")


def _long_config(target: Target, number: int) -> None:
    # Another name is another config for the cache.
    config = _LONG_CONFIG.replace("Label number 0000", f"Label number {number}")
    _picture(target, number, "/data/local-files/?d=none.jpg", config)


def _setup(target: Target, key: str, token: str) -> None:
    host = "http://studio.example"
    body = {"project": key, "schema": CONFIG, "hostname": host, "access_token": token}
    target.post("/setup", json.dumps(body).encode())


def _webhook(target: Target, number: int) -> None:
    body = b'{"action":"START_TRAINING","project":{"id":%d},"annotation":"%b"}'
    target.post("/webhook", body % (number, bytes(20 * MIB).replace(b"\0", b"x")))


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
    Attack(
        "pictures that never come",
        40,
        lambda target, n: _picture(target, n, f"http://127.0.0.1:{target.slow_port}/{n}.jpg"),
    ),
    Attack("pictures made to do harm", 16, _bomb),
    Attack("new configs of 174 kB", 16, _long_config),
    Attack("setups of strangers", 4, lambda target, n: _setup(target, f"{n}.{n}", f"{n:040x}")),
    Attack("tokens of 3 MiB", 8, lambda target, n: _setup(target, f"1.{n}", "t" * 3 * MIB)),
    Attack(
        "paths of 60 kB", 4, lambda target, n: request(target.port, "GET", f"/{n}" + "t" * 60_000)
    ),
)


@contextmanager
def running(attack: Attack, port: int, bombs: Path) -> Iterator[None]:
    """Attack the server on ``port`` within the block."""
    process = multiprocessing.get_context("spawn").Process(
        target=_attack, args=(attack.name, port, bombs), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _attack(name: str, port: int, bombs: Path) -> None:
    """The attackers' process; it is killed."""
    os.nice(19)
    # Linux compares niceness within a session only, and sessions by another one.
    os.setsid()
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")
    attack = next(attack for attack in ATTACKS if attack.name == name)
    slow = socket.create_server(("127.0.0.1", 0), backlog=1_000)
    target = Target(port, bombs, slow.getsockname()[1])
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
    # Ctrl-C does not come here.
    started_by = os.getppid()
    while os.getppid() == started_by:
        time.sleep(1)
