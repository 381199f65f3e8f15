"""The measured server, its photographs, and the measured times."""

import json
import os
import random
import re
import shutil
import sys
import tempfile
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

from backend.errors import BenchError
from backend.worker.child_process import Child, free_port

# Photographs of scikit-image's package, and an object on each of them.
PHOTOGRAPHS = {
    "astronaut.png": "woman",
    "chelsea.png": "cat",
    "coffee.png": "cup",
    "rocket.jpg": "rocket",
}

# Settings of the caller that also apply to the measured server.
_INHERITED_SETTINGS = frozenset(
    f"PHRASECLICK_{name}"
    for name in ("CHECKPOINT", "DEVICE", "TORCH_THREADS", "EMBEDDING_CACHE_BYTES")
)

PROJECT = "1.1795384361"
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
    """Times and errors of one kind of request."""

    name: str
    size: str
    milliseconds: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""

    def failed(self, reason: str) -> None:
        """Count an error."""
        self.errors += 1
        self.first_error = self.first_error or reason

    def row(self) -> dict[str, Any]:
        """Statistics as in the JSON file. Raises BenchError if there are no times."""
        times = sorted(self.milliseconds)
        if not times:
            raise BenchError(f"No {self.name} at {self.size} got a mask: {self.first_error}")
        return {
            "name": self.name,
            "size": self.size,
            "median_ms": round(median(times), 1),
            "p95_ms": _percentile(times, 0.95),
            "p99_ms": _percentile(times, 0.99),
            "n": len(times),
            "errors": self.errors,
        }


def _percentile(times: list[float], share: float) -> float:
    """A percentile of sorted times; share in 0..1."""
    return round(times[min(len(times) - 1, int(share * len(times)))], 1)


class Server:
    """Sends requests to the measured server like Label Studio."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._pid = pid

    def post(self, path: str, body: bytes) -> tuple[float, int, bytes]:
        """Send JSON; returns milliseconds, status and body of the answer."""
        started = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=100)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return (time.perf_counter() - started) * 1000, answer.status, content

    def measure(self, times: Times, body: bytes) -> None:
        """Measure one interactive request; an answer without a mask counts as an error."""
        try:
            milliseconds, status, content = self.post("/predict", body)
        except (OSError, HTTPException) as error:
            times.failed(f"{type(error).__name__}: {error}")
            return
        if status == 200 and b'"rle":[' in content:
            times.milliseconds.append(milliseconds)
        else:
            times.failed(f"{status} {content[:500]!r}")

    def up(self) -> bool:
        """Whether the server answers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
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
            raise BenchError("The server's memory use cannot be read on this system.")
        return int(match[1]) / 1024

    def descriptors(self) -> int:
        """Open files and connections of the server process."""
        return len(list(Path(f"/proc/{self._pid}/fd").iterdir()))

    def threads(self) -> int:
        """Threads of the server process."""
        return len(list(Path(f"/proc/{self._pid}/task").iterdir()))


class Photographs:
    """New pictures from a few photographs: cropped, mirrored, brighter or darker at random.

    All of them differ, so that none is answered from the cache of another.
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
        """Write one more JPEG file; returns its address as in a task, and the object on it."""
        photograph, name_of_object = self._sources[self._made % len(self._sources)]
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
        return f"/data/local-files/?d={name}", name_of_object


@contextmanager
def working_folder(chosen: Path | None) -> Iterator[Path]:
    """A temporary folder inside ``chosen``, deleted afterwards."""
    place = Path(tempfile.mkdtemp(prefix="phraseclick-bench-", dir=chosen))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def running_server(place: Path, pictures: Path, **settings: str) -> Iterator[Server]:
    """A server with its state in ``place`` that may read files in ``pictures``.

    settings: further ones, as ``ALLOWED_HOSTS="…"``.
    """
    port = free_port()
    pid_file = place / "pid"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PHRASECLICK_") or name in _INHERITED_SETTINGS
    }
    environment["PHRASECLICK_DATA"] = str(place / "data")
    environment["PHRASECLICK_LOCAL_FILES_ROOT"] = str(pictures)
    environment |= {f"PHRASECLICK_{name}": value for name, value in settings.items()}
    # The process writes its id to a file: the child that is started here is its watcher.
    script = (
        "import os,pathlib,sys;pathlib.Path(sys.argv.pop(1)).write_text(str(os.getpid()));"
        "from backend.cli.main import main;main()"
    )
    command = [sys.executable, "-c", script, str(pid_file), "serve", f"--port={port}"]
    child = Child("The server", command, log=place / "server.log", environment=environment)
    with child:
        console = Console(stderr=True)
        waiting = Server(port, 0)
        child.wait_until(
            waiting.up, seconds=120, progress=console.print, doing="Waiting for the server"
        )
        server = Server(port, int(pid_file.read_text()))
        setup = {"project": PROJECT, "schema": CONFIG, "hostname": "http://127.0.0.1:8080"}
        _, status, content = server.post("/setup", json.dumps(setup).encode())
        if status != 200:
            raise BenchError(f"The server refused /setup: {status} {content[:300]!r}")
        yield server
