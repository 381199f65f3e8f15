"""How much attacks disturb twenty annotators, and whether memory and descriptors stay flat."""

import os
import time
from collections.abc import Collection
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from backend.benchmark.attacks import ATTACKS, make_bombs, running
from backend.benchmark.run import cpu, many_annotators, publish
from backend.benchmark.server import Photographs, Server, running_server, working_folder
from backend.errors import BenchError

# A click at the 95th percentile may take twice as long as at rest.
GOAL_RATIO = 2.0
# For the server to end what an attack has left behind.
_PAUSE_S = 5.0
# Of the soak: the first samples, while caches fill, do not count.
_SAMPLE_S = 15.0
_WARM = 0.25


def run_attacks(
    *,
    json_file: Path | None,
    folder: Path | None,
    seconds: float = 30.0,
    names: Collection[str] = (),
) -> dict[str, Any]:
    """Measure at rest, under each attack, and at rest again; print the table, write the file.

    names: of the attacks; empty: all. Raises BenchError if the server does not answer.
    """
    console = Console(stderr=True)
    with working_folder(folder) as place:
        photographs = Photographs(place / "pictures")
        bombs = photographs.folder / "bombs"
        make_bombs(bombs)
        # The host that never answers is on this machine.
        with running_server(place, photographs.folder, ALLOW_PRIVATE_ADDRESSES="true") as server:
            many_annotators(server, photographs, 5, console)  # warms up
            rows = [_measured(server, photographs, "rest", seconds, console)]
            for attack in ATTACKS:
                if names and attack.name not in names:
                    continue
                with running(attack, server.port, bombs):
                    rows.append(_measured(server, photographs, attack.name, seconds, console))
                time.sleep(_PAUSE_S)
            rows.append(_measured(server, photographs, "rest afterwards", seconds, console))
    report = {"rows": rows, "cpu": cpu(), "load": os.getloadavg()[0]}
    publish(report, _table(report), json_file)
    return report


def _measured(
    server: Server, photographs: Photographs, name: str, seconds: float, console: Console
) -> dict[str, Any]:
    try:
        row = many_annotators(server, photographs, seconds, console, name)
    except BenchError as error:  # not one click got a mask
        console.print(str(error))
        row = {"name": name, "median_ms": None, "p95_ms": None, "n": 0, "errors": -1}
    return {**row, "rss_mb": round(server.rss_mb()), "descriptors": server.descriptors()}


def _table(report: dict[str, Any]) -> Table:
    rest = report["rows"][0]["p95_ms"]
    title = f"20 annotators under attack, {report['cpu']}, load {report['load']:.1f}"
    table = Table(title=title, caption="Times in milliseconds, memory in MB")
    table.add_column("attack", no_wrap=True)
    for column in ("median", "p95", "to rest", "clicks", "errors", "memory", "descriptors"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in report["rows"]:
        p95 = row["p95_ms"]
        ratio = p95 / rest if p95 else None
        table.add_row(
            row["name"],
            *(f"{row[name]:.0f}" if row[name] else "–" for name in ("median_ms", "p95_ms")),
            f"{ratio:.2f} {'✓' if ratio <= GOAL_RATIO else '✗'}" if ratio else "✗",
            *(str(row[name]) for name in ("n", "errors", "rss_mb", "descriptors")),
        )
    return table


def run_soak(*, json_file: Path | None, folder: Path | None, minutes: float) -> dict[str, Any]:
    """Twenty annotators with new pictures for a long time; memory, descriptors and threads.

    Raises BenchError if the server does not answer.
    """
    console = Console(stderr=True)
    samples: list[dict[str, Any]] = []
    clicks = errors = 0
    with working_folder(folder) as place:
        photographs = Photographs(place / "pictures")
        with running_server(place, photographs.folder) as server:
            started = time.monotonic()
            while (passed := time.monotonic() - started) < minutes * 60:
                row = many_annotators(server, photographs, _SAMPLE_S, console, "soak")
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
                for picture in photographs.folder.glob("*.jpg"):
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
