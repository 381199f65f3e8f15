"""How fast webhooks are answered: annotations with masks, sent one by one while a worker processes
them, first with the database free, then with another process that locks it a second at a time.
"""

import json
import os
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from backend.benchmark.server import CONFIG, Server, Times
from backend.label_studio import rle
from backend.worker.child_process import Child

GOAL_P99_MS = 50
_LOCKED_S = 1.0
_SIZES = ((640, 480), (3000, 2000))


def webhooks(server: Server, place: Path, count: int, console: Console) -> list[dict[str, Any]]:
    """Rows of the table: with the database free, and with another process that locks it."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PHRASECLICK_")}
    command = [sys.executable, "-m", "backend.cli", "worker", f"--data={place / 'data'}"]
    rows = []
    with Child("The worker", command, log=place / "worker.log", environment=environment):
        for name in ("webhook", "webhook_locked"):
            ended = threading.Event()
            writer = threading.Thread(
                target=_lock_repeatedly, args=(place / "data/phraseclick.db", ended)
            )
            if name == "webhook_locked":
                writer.start()
            try:
                rows += [_sent(server, name, size, count, console) for size in _SIZES]
            finally:
                ended.set()
                if writer.ident is not None:
                    writer.join()
    return rows


def _sent(
    server: Server, name: str, size: tuple[int, int], count: int, console: Console
) -> dict[str, Any]:
    times = Times(name, f"{size[0]}x{size[1]}")
    mask = _blob(size)
    encoded = rle.encode(mask)
    doing = f"{name}, {times.size}"
    for number in track(range(count + 5), description=doing, console=console):
        body = json.dumps(_created(number, size, encoded)).encode()
        milliseconds, status, content = server.post("/webhook", body)
        if status != 200:
            times.failed(f"{status} {content[:300]!r}")
        elif number >= 5:  # the first ones warm up the server
            times.milliseconds.append(milliseconds)
    return times.row()


def _blob(size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """A round mask with an uneven border, H,W bool."""
    rows, columns = np.ogrid[: size[1], : size[0]]
    angle = np.arctan2(rows - size[1] / 2, columns - size[0] / 2)
    radius = min(size) / 3 * (1 + 0.2 * np.sin(7 * angle) + 0.05 * np.sin(61 * angle))
    return np.asarray(np.hypot(rows - size[1] / 2, columns - size[0] / 2) < radius)


def _created(number: int, size: tuple[int, int], rle: list[int]) -> dict[str, Any]:
    at = f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    region = {
        "id": f"r{number}",
        "type": "brushlabels",
        "from_name": "brush",
        "to_name": "image",
        "origin": "manual",
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": 0,
        "value": {"format": "rle", "rle": rle, "brushlabels": ["Thing"]},
    }
    task = 20_000_000 + number
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": {
            "id": task,
            "task": task,
            "project": 1,
            "completed_by": 1,
            "result": [region],
            "was_cancelled": False,
            "created_at": at,
            "updated_at": at,
            "lead_time": 3.0,
        },
        "task": {"id": task, "data": {"image": "/data/local-files/?d=none.jpg"}},
        "project": {"id": 1, "created_at": "2026-11-22T20:46:01Z", "label_config": CONFIG},
    }


def _lock_repeatedly(database: Path, ended: threading.Event) -> None:
    """Lock the database for a second, again and again."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    while not ended.wait(0.5):
        connection.execute("BEGIN IMMEDIATE")
        ended.wait(_LOCKED_S)
        connection.execute("ROLLBACK")
    connection.close()
