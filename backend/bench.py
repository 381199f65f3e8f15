"""``phraseclick bench``: how quickly a real server answers, measured from outside over HTTP.

A server of its own is started on a fresh data folder with real photographs on disk; then an
annotator opens pictures one after the other, clicks and types; then twenty do so at once. What is
timed is what Label Studio waits for: from the request's first byte to the answer's last, on a new
connection each time, as Label Studio makes one.
"""

import json
import os
import platform
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from backend.demo.child import Child, free_port
from backend.errors import BenchError

SIZES = ((640, 480), (3000, 2000))

# Photographs that come inside scikit-image's wheel, and a thing that is on each of them.
PHOTOGRAPHS = {
    "astronaut.png": "woman",
    "chelsea.png": "cat",
    "coffee.png": "cup",
    "rocket.jpg": "rocket",
}

# Limits of the project's own goal, on two cores, in milliseconds of the median.
GOALS = {
    ("first_click", "640x480"): 250,
    ("first_click", "3000x2000"): 500,
    ("further_click", "640x480"): 60,
    ("further_click", "3000x2000"): 120,
    ("phrase", "640x480"): 60,
    ("phrase", "3000x2000"): 120,
}
LOAD_GOAL_P95 = 500
RSS_GOAL_MB = 1200

ANNOTATORS = 20
CLICK_EVERY_S = 2.0
PICTURES_PER_SIZE = 20

CONFIG = """<View>
  <TextArea name="status" toName="image" editable="false" smart="false" maxSubmissions="1"/>
  <Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image" smart="false"><Label value="Thing"/></BrushLabels>
  <KeyPointLabels name="kp" toName="image" smart="true"><Label value="Thing"/>
    <Label value="+ last object"/><Label value="- last object"/></KeyPointLabels>
  <TextArea name="phrase" toName="image" editable="true" maxSubmissions="1"/>
</View>"""


@dataclass
class Times:
    """The answers to one kind of request."""

    name: str
    size: str
    milliseconds: list[float] = field(default_factory=list)
    errors: int = 0

    def row(self) -> dict[str, Any]:
        """As it is written to the file."""
        times = sorted(self.milliseconds)
        if not times:
            raise BenchError(f"Not one answer to {self.name} at {self.size} could be measured.")
        return {
            "name": self.name,
            "size": self.size,
            "median_ms": round(median(times), 1),
            "p95_ms": round(times[min(len(times) - 1, int(0.95 * len(times)))], 1),
            "n": len(times),
            "errors": self.errors,
        }


def run(
    *, json_file: Path | None, folder: Path | None, pictures: int = 500, load_seconds: float = 30.0
) -> dict[str, Any]:
    """Measure, print the table, write the file. Raises BenchError where nothing can be measured."""
    console = Console(stderr=True)
    with _folder(folder) as place:
        photographs = Photographs(place / "pictures")
        with _server(place, photographs.folder) as server:
            rows = [
                row for size in SIZES for row in _one_annotator(server, photographs, size, console)
            ]
            rows.append(_many_annotators(server, photographs, load_seconds, console))
            _open_pictures(server, photographs, pictures, console)
            report = {"rows": rows, "rss_mb": round(server.rss_mb()), "cpu": _cpu()}
    Console().print(_table(report, pictures))
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


# -- the server and its pictures


class Server:
    """The server under test, spoken to as Label Studio does."""

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self._pid = pid

    def post(self, path: str, body: bytes) -> tuple[float, int, bytes]:
        """Milliseconds, status and body of the answer."""
        started = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", self._port, timeout=100)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return (time.perf_counter() - started) * 1000, answer.status, content

    def measure(self, times: Times, body: bytes) -> None:
        """Time one interactive request; an answer without a mask is an error."""
        try:
            milliseconds, status, content = self.post("/predict", body)
        except (OSError, HTTPException):
            times.errors += 1
            return
        if status != 200 or b'"rle":[' not in content:
            times.errors += 1
            return
        times.milliseconds.append(milliseconds)

    def up(self) -> bool:
        """Whether it answers."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def rss_mb(self) -> float:
        """Memory of the server process in MB."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        if match is None:
            raise BenchError("The server's memory cannot be read on this system.")
        return int(match[1]) / 1024


class Photographs:
    """Ever new pictures of the same photographs: mirrored, turned in hue and cropped by chance.

    No two have the same content, so that none is ever answered from a cache it did not fill.
    """

    def __init__(self, folder: Path) -> None:
        import skimage

        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        source = Path(skimage.__file__).parent / "data"
        self._sources = [
            (Image.open(source / name).convert("RGB"), thing) for name, thing in PHOTOGRAPHS.items()
        ]
        self._chance = random.Random(7)
        self._made = 0

    def new(self, size: tuple[int, int]) -> tuple[str, str]:
        """Write one more as JPEG; the address a task would hold, and the thing on it."""
        photograph, thing = self._sources[self._made % len(self._sources)]
        chance = self._chance
        cut = [chance.uniform(0, 0.06), chance.uniform(0, 0.06), chance.uniform(0.94, 1)]
        width, height = photograph.size
        box = (cut[0] * width, cut[1] * height, cut[2] * width, cut[2] * height)
        picture = photograph.resize(size, Image.Resampling.BICUBIC, box=box)
        if self._made % 2:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = np.asarray(picture).astype(np.int16) + chance.randint(-12, 12)
        name = f"{self._made:05d}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(self.folder / name, quality=90)
        self._made += 1
        return f"/data/local-files/?d={name}", thing


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="phraseclick-bench-", dir=chosen))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _server(place: Path, pictures: Path) -> Iterator[Server]:
    port = free_port()
    pid_file = place / "pid"
    environment = {
        **{
            name: value for name, value in os.environ.items() if not name.startswith("PHRASECLICK_")
        },
        "PHRASECLICK_DATA": str(place / "data"),
        "PHRASECLICK_LOCAL_FILES_ROOT": str(pictures),
    }
    # The process writes down its own id, since the child is held by a leash with another.
    script = (
        "import os,pathlib,sys;pathlib.Path(sys.argv.pop(1)).write_text(str(os.getpid()));"
        "from backend.cli import main;main()"
    )
    command = [sys.executable, "-c", script, str(pid_file), "serve", f"--port={port}"]
    child = Child("The server", command, log=place / "server.log", environment=environment)
    with child:
        console = Console(stderr=True)
        waiting = Server(port, 0)
        child.wait_until(
            waiting.up, seconds=120, progress=console.print, doing="Waiting for the server"
        )
        yield Server(port, int(pid_file.read_text()))


# -- the annotators


def _request(task: int, address: str, context: list[dict[str, Any]] | None) -> bytes:
    body = {
        "tasks": [{"id": task, "project": 1, "data": {"image": address}, "drafts": []}],
        "project": "1.1795384361",
        "label_config": CONFIG,
        "params": {
            "login": None,
            "password": None,
            "context": None if context is None else {"result": context},
        },
    }
    return json.dumps(body).encode()


def _click(number: int, label: str, size: tuple[int, int], chance: random.Random) -> dict[str, Any]:
    # Around the middle, where the thing is on every one of the photographs.
    x, y = chance.gauss(50, 8), chance.gauss(50, 8)
    return {
        "id": f"k{number}",
        "from_name": "kp",
        "to_name": "image",
        "type": "keypointlabels",
        "origin": "manual",
        "is_positive": label != "- last object",
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": 0,
        "value": {
            "x": min(95, max(5, x)),
            "y": min(95, max(5, y)),
            "width": 0.3,
            "keypointlabels": [label],
        },
    }


def _phrase(number: int, text: str) -> dict[str, Any]:
    return {
        "id": f"t{number}",
        "from_name": "phrase",
        "to_name": "image",
        "type": "textarea",
        "origin": "manual",
        "value": {"text": [text]},
    }


def _one_annotator(
    server: Server, photographs: Photographs, size: tuple[int, int], console: Console
) -> list[dict[str, Any]]:
    """One person, one picture after the other: a click, three more, a phrase, another."""
    named = f"{size[0]}x{size[1]}"
    first, further, phrase = (Times(n, named) for n in ("first_click", "further_click", "phrase"))
    chance = random.Random(size[0])
    doing = f"One annotator, {named}"
    for picture in track(range(PICTURES_PER_SIZE + 2), description=doing, console=console):
        address, thing = photographs.new(size)
        task = size[0] * 1000 + picture
        # The first two warm the server up: code is loaded and memory taken once in its life.
        warm = picture < 2
        marks = [Times(it.name, named) for it in (first, further, phrase)] if warm else None
        times = marks or [first, further, phrase]
        click = _click(1, "Thing", size, chance)
        server.measure(times[0], _request(task, address, [click]))
        for number, label in ((2, "+ last object"), (3, "- last object"), (4, "+ last object")):
            click = _click(number, label, size, chance)
            server.measure(times[1], _request(task, address, [click]))
        for number, text in ((5, thing), (6, f"the {thing} in the middle")):
            server.measure(times[2], _request(task, address, [_phrase(number, text)]))
    return [it.row() for it in (first, further, phrase)]


def _many_annotators(
    server: Server, photographs: Photographs, seconds: float, console: Console
) -> dict[str, Any]:
    """Twenty people, each with a picture of their own, a click every two seconds."""
    size = SIZES[0]
    all_times = [Times("load_20", "640x480") for _ in range(ANNOTATORS)]
    addresses = [photographs.new(size)[0] for _ in range(ANNOTATORS)]
    begin = time.monotonic() + 0.5

    def annotate(person: int) -> None:
        chance = random.Random(person)
        # Nobody clicks in step with the others.
        due = begin + chance.uniform(0, CLICK_EVERY_S)
        number = 0
        while due < begin + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            label = "+ last object" if number % 6 else "Thing"
            click = _click(number, label, size, chance)
            body = _request(9_000_000 + person, addresses[person], [click])
            server.measure(all_times[person], body)
            number += 1
            due += CLICK_EVERY_S

    threads = [threading.Thread(target=annotate, args=(p,)) for p in range(ANNOTATORS)]
    with console.status(f"{ANNOTATORS} annotators for {seconds:.0f} s"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    together = Times("load_20", "640x480")
    for times in all_times:
        together.milliseconds += times.milliseconds
        together.errors += times.errors
    return together.row()


def _open_pictures(
    server: Server, photographs: Photographs, pictures: int, console: Console
) -> None:
    """Go through many pictures with a click on each, most small, some large, as projects have."""
    chance = random.Random(3)
    for number in track(range(pictures), description=f"{pictures} pictures", console=console):
        size = SIZES[1] if number % 25 == 24 else SIZES[0]
        address, _ = photographs.new(size)
        click = _click(1, "Thing", size, chance)
        _, status, _ = server.post("/predict", _request(10_000_000 + number, address, [click]))
        if status != 200:
            raise BenchError(f"The server answered {status} to picture {number}.")


# -- the report


def _cpu() -> str:
    model = platform.processor() or platform.machine()
    try:
        match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        model = match[1].strip() if match else model
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores"


def _table(report: dict[str, Any], pictures: int) -> Table:
    table = Table(title=f"phraseclick bench on {report['cpu']}")
    for column in ("request", "picture"):
        table.add_column(column)
    for column in ("median ms", "p95 ms", "answers", "errors", "goal"):
        table.add_column(column, justify="right")
    for row in report["rows"]:
        goal = GOALS.get((row["name"], row["size"]))
        if goal is None:
            met = row["p95_ms"] <= LOAD_GOAL_P95 and not row["errors"]
            wanted = f"p95 ≤ {LOAD_GOAL_P95}"
        else:
            met = row["median_ms"] <= goal and row["p95_ms"] <= 2 * goal and not row["errors"]
            wanted = f"≤ {goal}, p95 ≤ {2 * goal}"
        table.add_row(
            row["name"],
            row["size"],
            f"{row['median_ms']:.1f}",
            f"{row['p95_ms']:.1f}",
            str(row["n"]),
            str(row["errors"]),
            f"{wanted} {'✓' if met else '✗'}",
        )
    met = report["rss_mb"] <= RSS_GOAL_MB
    memory = f"≤ {RSS_GOAL_MB} {'✓' if met else '✗'}"
    table.add_row(
        f"memory after {pictures} pictures", "", f"{report['rss_mb']} MB", "", "", "", memory
    )
    return table
