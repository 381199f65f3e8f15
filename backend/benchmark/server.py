"""The measured server, its photographs, what Label Studio would send it, and the measured times."""

import json
import os
import random
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
import skimage
from PIL import Image
from rich.console import Console

from backend.errors import BenchError
from backend.settings import MIB
from backend.worker.child_process import Child, default_settings, free_port

# Photographs of scikit-image's package, and an object on each of them.
PHOTOGRAPHS = {
    "astronaut.png": "woman",
    "chelsea.png": "cat",
    "coffee.png": "cup",
    "rocket.jpg": "rocket",
}

# Label Studio waits longer, an annotator does not.
TIMEOUT_S = 30.0

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
    """Times in milliseconds, and errors, of one kind of request; several threads may add to it."""

    name: str
    size: str
    milliseconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """Statistics as in the JSON file. Raises BenchError if there are no times."""
        times = sorted(self.milliseconds)
        if not times:
            raise BenchError(f"No {self.name} at {self.size} got a mask: {self.errors[:1]}")
        return {
            "name": self.name,
            "size": self.size,
            "median_ms": round(median(times), 1),
            "p95_ms": _percentile(times, 0.95),
            "p99_ms": _percentile(times, 0.99),
            "n": len(times),
            "errors": len(self.errors),
        }


def _percentile(times: list[float], share: float) -> float:
    """A percentile of sorted times; share in 0..1."""
    return round(times[min(len(times) - 1, int(share * len(times)))], 1)


def page_region(
    name: str,
    kind: str,
    control: str,
    value: dict[str, Any],
    size: tuple[int, int] | None = None,
    **more: object,
) -> dict[str, Any]:
    """A click, phrase or mask as Label Studio's page sends it. size: of the picture."""
    region: dict[str, Any] = {"id": name, "from_name": control, "to_name": "image", "type": kind}
    if size is not None:
        region |= {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
    return {**region, "value": value, "origin": "manual", **more}


def click_region(
    number: int, label: str, size: tuple[int, int], x: float = 50.0, y: float = 50.0
) -> dict[str, Any]:
    """A click; x and y in percent."""
    value = {"x": x, "y": y, "width": 0.3, "keypointlabels": [label]}
    positive = label != "- last object"
    return page_region(f"k{number}", "keypointlabels", "kp", value, size, is_positive=positive)


def predict_body(
    task: int, address: str, context: list[dict[str, Any]] | None, config: str = CONFIG
) -> bytes:
    """The request of a click or phrase; without a context, that of a task that is opened."""
    body = {
        "tasks": [{"id": task, "project": 1, "data": {"image": address}, "drafts": []}],
        "project": PROJECT,
        "label_config": config,
        "params": {
            "login": None,
            "password": None,
            "context": None if context is None else {"result": context},
        },
    }
    return json.dumps(body).encode()


class Photographs:
    """New pictures from a few photographs: cropped, mirrored, brighter or darker at random.

    All of them differ, so that none is answered from the cache of another.
    """

    def __init__(self, folder: Path) -> None:
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


def request(port: int, method: str, path: str, body: bytes = b"") -> tuple[float, int, bytes]:
    """Milliseconds, status and body of the answer, on a new connection as from Label Studio.

    Raises OSError, HTTPException.
    """
    started = time.perf_counter()
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return (time.perf_counter() - started) * 1000, answer.status, content


class Server:
    def __init__(self, port: int, folder: Path) -> None:
        """folder: of its state, in which ``pictures`` are read and the process writes its id."""
        self.port = port
        self.folder = folder
        self.photographs = Photographs(folder / "pictures")

    def post(self, path: str, body: bytes) -> tuple[float, int, bytes]:
        """Send JSON; returns milliseconds, status and body of the answer."""
        return request(self.port, "POST", path, body)

    def measure(self, times: Times, body: bytes) -> None:
        """Measure one interactive request; an answer without a mask counts as an error."""
        try:
            milliseconds, status, content = self.post("/predict", body)
        except (OSError, HTTPException) as error:
            times.errors.append(f"{type(error).__name__}: {error}")
            return
        if status == 200 and b'"rle":[' in content:
            times.milliseconds.append(milliseconds)
        else:
            times.errors.append(f"{status} {content[:500]!r}")

    def up(self) -> bool:
        try:
            return request(self.port, "GET", "/health")[1] == 200
        except (OSError, HTTPException):
            return False

    def rss_mb(self) -> float:
        pages = int((self._process / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def descriptors(self) -> int:
        return len(os.listdir(self._process / "fd"))

    def threads(self) -> int:
        return len(os.listdir(self._process / "task"))

    @property
    def _process(self) -> Path:
        return Path("/proc") / (self.folder / "pid").read_text()


@contextmanager
def running_server(chosen: Path | None, **settings: object) -> Iterator[Server]:
    """A server with its state in a new folder inside ``chosen``, deleted afterwards.

    ``chosen`` is made if it is missing.

    settings: further ones, as ``ALLOWED_HOSTS="…"``.
    """
    # The process writes its id to a file: the child that is started here is its watcher.
    script = (
        "import os,pathlib,sys;pathlib.Path(sys.argv.pop(1)).write_text(str(os.getpid()));"
        "from backend.cli.main import main;main()"
    )
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="phraseclick-bench-", dir=chosen, ignore_cleanup_errors=True
    ) as name:
        server = Server(free_port(), folder := Path(name))
        command = [sys.executable, "-c", script, str(folder / "pid"), "serve"]
        with Child(
            "The server",
            [*command, f"--port={server.port}"],
            log=folder / "server.log",
            environment=default_settings(
                DATA=folder / "data", LOCAL_FILES_ROOT=server.photographs.folder, **settings
            ),
        ) as child:
            say = Console(stderr=True).print
            child.wait_until(server.up, seconds=120, progress=say, doing="Waiting for the server")
            setup = {"project": PROJECT, "schema": CONFIG, "hostname": "http://127.0.0.1:8080"}
            _, status, content = server.post("/setup", json.dumps(setup).encode())
            if status != 200:
                raise BenchError(f"The server refused /setup: {status} {content[:300]!r}")
            yield server
