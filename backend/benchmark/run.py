"""``phraseclick bench``: how fast a real server answers, measured over HTTP.

A new server is started on an empty data folder with real photographs on disk. One annotator opens
pictures, clicks and types; then twenty do so at the same time. The time is what Label Studio waits:
from the first byte of the request to the last of the answer, on a new connection each time.

Webhooks are annotations with masks, sent one by one while a worker processes them.
"""

import json
import os
import platform
import random
import re
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from backend.benchmark.server import (
    CONFIG,
    Server,
    Times,
    click_region,
    page_region,
    predict_body,
    running_server,
)
from backend.errors import BenchError
from backend.label_studio import rle
from backend.worker.child_process import Child, default_settings

SIZES = ((640, 480), (3000, 2000))

# The project's goals on two cores: median in milliseconds; p95 may be twice that.
GOALS = {
    ("first_click", "640x480"): 250,
    ("first_click", "3000x2000"): 500,
    ("further_click", "640x480"): 60,
    ("further_click", "3000x2000"): 120,
    ("phrase", "640x480"): 60,
    ("phrase", "3000x2000"): 120,
}
LOAD_GOAL_P95 = 500
WEBHOOK_GOAL_P99 = 50
RSS_GOAL_MB = 1200

ANNOTATORS = 20
CLICK_EVERY_S = 2.0
# Of the soak: the first samples, while caches fill, do not count.
_SAMPLE_S = 15.0
_WARM = 0.25
# One of so many samples is printed while it runs.
_SHOWN = 20


def run(
    *,
    json_file: Path | None,
    folder: Path | None,
    rounds: int = 20,
    pictures: int = 500,
    load_seconds: float = 30.0,
) -> dict[str, Any]:
    """Measure, print the table, write the file. Raises BenchError if the server does not answer."""
    console = Console(stderr=True)
    with running_server(folder) as server:
        rows = [row for size in SIZES for row in _one_annotator(server, size, rounds, console)]
        rows.append(many_annotators(server, load_seconds, console))
        _open_pictures(server, pictures, console)
        rows += _webhooks(server, rounds * 10, console)
        report = {"rows": rows, "rss_mb": round(server.rss_mb()), "cpu": cpu()}
    publish(report, _table(report, pictures), json_file)
    return report


def run_soak(*, json_file: Path | None, folder: Path | None, minutes: float) -> dict[str, Any]:
    """Twenty annotators with new pictures for a long time; memory, descriptors and threads.

    Raises BenchError if the server does not answer.
    """
    console = Console(stderr=True)
    samples: list[dict[str, Any]] = []
    clicks = errors = 0
    with running_server(folder) as server:
        started = time.monotonic()
        while (passed := time.monotonic() - started) < minutes * 60:
            row = many_annotators(server, _SAMPLE_S, console, "soak")
            clicks, errors = clicks + row["n"], errors + row["errors"]
            samples.append(
                {
                    "minute": round(passed / 60, 2),
                    "p95_ms": row["p95_ms"],
                    "rss_mb": round(server.rss_mb(), 1),
                    "descriptors": server.descriptors(),
                    "threads": server.threads(),
                }
            )
            if len(samples) % _SHOWN == 1:
                console.print(f"{clicks} clicks, {errors} errors, {samples[-1]}")
            for picture in server.photographs.folder.glob("*.jpg"):
                picture.unlink()
    report = {"cpu": cpu(), "clicks": clicks, "errors": errors, "samples": samples}
    publish(report, _growth(report), json_file)
    return report


def _growth(report: dict[str, Any]) -> Table:
    """Medians of the first and the last part, after the caches have filled."""
    samples = report["samples"][int(_WARM * len(report["samples"])) :]
    part = max(1, len(samples) // 3)
    title = f"Soak: {report['clicks']} clicks, {report['errors']} errors, {report['cpu']}"
    table = Table(title=title)
    for column in ("", "first part", "last part", "largest"):
        table.add_column(column, justify="right")
    for name in ("rss_mb", "descriptors", "threads", "p95_ms"):
        values = [sample[name] for sample in samples]
        first, last = median(values[:part]), median(values[-part:])
        table.add_row(name, f"{first:.0f}", f"{last:.0f}", f"{max(values):.0f}")
    return table


def publish(report: dict[str, Any], table: Table, json_file: Path | None) -> None:
    """Print the table; write the report, if a file is named."""
    # In a file the table must not be as narrow as the default terminal.
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


# -- the annotators


def _click(number: int, label: str, size: tuple[int, int], chance: random.Random) -> dict[str, Any]:
    # Near the middle, where all the photographs have their object.
    x, y = (min(95, max(5, chance.gauss(50, 8))) for _ in range(2))
    return click_region(number, label, size, x, y)


def _one_annotator(
    server: Server, size: tuple[int, int], rounds: int, console: Console
) -> list[dict[str, Any]]:
    """One annotator, picture by picture: a click, three more, a phrase, another one."""
    named = f"{size[0]}x{size[1]}"
    kinds: list[Times] = []
    chance = random.Random(size[0])
    doing = f"One annotator, {named}"
    for picture in track(range(rounds + 2), description=doing, console=console):
        if picture in (0, 2):
            # The first two pictures warm up the server and are not measured.
            kinds = [Times(name, named) for name in ("first_click", "further_click", "phrase")]
        first, further, phrase = kinds
        address, thing = server.photographs.new(size)
        task = size[0] * 1000 + picture
        click = _click(1, "Thing", size, chance)
        server.measure(first, predict_body(task, address, [click]))
        for number, label in ((2, "+ last object"), (3, "- last object"), (4, "+ last object")):
            click = _click(number, label, size, chance)
            server.measure(further, predict_body(task, address, [click]))
        for number, text in ((5, thing), (6, f"the {thing} in the middle")):
            typed = page_region(f"t{number}", "textarea", "phrase", {"text": [text]})
            server.measure(phrase, predict_body(task, address, [typed]))
    return [times.row() for times in kinds]


def many_annotators(
    server: Server, seconds: float, console: Console, name: str = "load_20"
) -> dict[str, Any]:
    """Twenty annotators, each with their own task, one click every two seconds.

    name: of the row that is returned.
    """
    size = SIZES[0]
    times = Times(name, "640x480")
    addresses = [server.photographs.new(size)[0] for _ in range(ANNOTATORS)]
    begin = time.monotonic() + 2.0

    def annotate(person: int) -> None:
        chance = random.Random(person)
        task = 9_000_000 + person
        # Label Studio sends this request when a task is opened, some time before the first click.
        server.post("/predict", predict_body(task, addresses[person], None))
        # Each annotator starts at another moment.
        due = begin + chance.uniform(0, CLICK_EVERY_S)
        number = 0
        while due < begin + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            label = "+ last object" if number % 6 else "Thing"
            click = _click(number, label, size, chance)
            server.measure(times, predict_body(task, addresses[person], [click]))
            number += 1
            # People wait for an answer before they click again.
            due = max(due + CLICK_EVERY_S, time.monotonic())

    threads = [threading.Thread(target=annotate, args=(p,)) for p in range(ANNOTATORS)]
    with console.status(f"{ANNOTATORS} annotators for {seconds:.0f} s"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return times.row()


def _open_pictures(server: Server, pictures: int, console: Console) -> None:
    """Open many pictures, most small, some large, with one click on each."""
    chance = random.Random(3)
    for number in track(range(pictures), description=f"{pictures} pictures", console=console):
        size = SIZES[1] if number % 25 == 24 else SIZES[0]
        address, _ = server.photographs.new(size)
        click = _click(1, "Thing", size, chance)
        _, status, _ = server.post("/predict", predict_body(10_000_000 + number, address, [click]))
        if status != 200:
            raise BenchError(f"The server answered {status} to picture {number}.")


# -- webhooks


def _webhooks(server: Server, count: int, console: Console) -> list[dict[str, Any]]:
    """A row of the table for each size."""
    data = server.folder / "data"
    command = [sys.executable, "-m", "backend.cli", "worker", f"--data={data}"]
    log = server.folder / "worker.log"
    with Child("The worker", command, log=log, environment=default_settings()):
        return [_sent(server, size, count, console) for size in SIZES]


def _sent(server: Server, size: tuple[int, int], count: int, console: Console) -> dict[str, Any]:
    times = Times("webhook", f"{size[0]}x{size[1]}")
    encoded = rle.encode(_blob(size))
    doing = f"Webhooks, {times.size}"
    for number in track(range(count + 5), description=doing, console=console):
        body = json.dumps(_created(number, size, encoded)).encode()
        milliseconds, status, content = server.post("/webhook", body)
        if status != 200:
            times.errors.append(f"{status} {content[:300]!r}")
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
    value = {"format": "rle", "rle": rle, "brushlabels": ["Thing"]}
    task = 20_000_000 + number
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": {
            "id": task,
            "task": task,
            "project": 1,
            "completed_by": 1,
            "result": [page_region(f"r{number}", "brushlabels", "brush", value, size)],
            "was_cancelled": False,
            "created_at": at,
            "updated_at": at,
            "lead_time": 3.0,
        },
        "task": {"id": task, "data": {"image": "/data/local-files/?d=none.jpg"}},
        "project": {"id": 1, "created_at": "2026-11-22T20:46:01Z", "label_config": CONFIG},
    }


# -- the report


def cpu() -> str:
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    cores = len(os.sched_getaffinity(0))
    return f"{model[1].strip() if model else platform.machine()}, {cores} cores"


def _table(report: dict[str, Any], pictures: int) -> Table:
    table = Table(title=f"phraseclick bench on {report['cpu']}", caption="Times in milliseconds")
    for column in ("request", "picture"):
        table.add_column(column, no_wrap=True)
    for column in ("median", "p95", "p99", "n", "errors", "goal"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in report["rows"]:
        goal = GOALS.get((row["name"], row["size"]))
        if row["name"] == "webhook":
            met = row["p99_ms"] <= WEBHOOK_GOAL_P99 and not row["errors"]
            wanted = f"p99 {WEBHOOK_GOAL_P99}"
        elif goal is None:
            met = row["p95_ms"] <= LOAD_GOAL_P95 and not row["errors"]
            wanted = f"p95 {LOAD_GOAL_P95}"
        else:
            met = row["median_ms"] <= goal and row["p95_ms"] <= 2 * goal and not row["errors"]
            wanted = f"{goal}, p95 {2 * goal}"
        table.add_row(
            row["name"],
            row["size"],
            f"{row['median_ms']:.1f}",
            f"{row['p95_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            str(row["n"]),
            str(row["errors"]),
            f"{wanted} {'✓' if met else '✗'}",
        )
    met = report["rss_mb"] <= RSS_GOAL_MB
    memory = f"{RSS_GOAL_MB} MB {'✓' if met else '✗'}"
    table.add_row("memory", f"{pictures} more", f"{report['rss_mb']} MB", "", "", "", "", memory)
    return table
