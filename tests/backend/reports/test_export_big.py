"""A history of 100,000 interactions becomes a file in bounded time, and in memory that does not
grow with it."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend.db.engine import Database
from tests.backend.reports import big
from tests.backend.reports.big import WrittenCounts

MIB = 1024 * 1024

# Prints seconds of computing and the most memory that the command took.
MEASURED = """
import re, sys, time
from backend.cli.main import app
app(sys.argv[1:], standalone_mode=False)
# The peak of ``resource`` includes that of the parent process.
most = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(time.process_time(), int(most[1]) * 1024)
"""


@pytest.fixture(scope="module")
def long(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WrittenCounts]:
    data = tmp_path_factory.mktemp("long")
    shutil.copy(migrated, data / "phraseclick.db")
    database = Database(f"sqlite:///{data / 'phraseclick.db'}")
    story = big.fill(database, 100_000, masked_tasks=0)
    database.close()
    return data, story


def report(data: Path, *arguments: str) -> tuple[float, float]:
    command = ["report", "--project", "6", "--data", str(data), *arguments]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    seconds, memory = (float(figure) for figure in done.stdout.split()[-2:])
    return seconds, memory


@pytest.mark.timed
@pytest.mark.slow
def test_every_kind_of_file(long: tuple[Path, WrittenCounts], tmp_path: Path) -> None:
    data, story = long
    files = {kind: tmp_path / f"report.{kind}" for kind in ("csv", "json", "html", "parquet")}

    for kind, file in files.items():
        rows = ("--rows", "regions") if kind in ("csv", "parquet") else ()
        seconds, memory = report(data, f"--{kind}", str(file), *rows)

        # Of computing, on a machine of any size; 4 to 7 s were measured.
        assert seconds < 40, kind
        # Python with SQLAlchemy and numpy takes 90 MiB of it.
        assert memory < 260 * MIB, f"{kind}: {memory / MIB:.0f} MiB"

    with files["csv"].open(encoding="utf-8-sig", newline="") as table:
        assert sum(1 for _ in csv.DictReader(table)) == story.regions[big.PROJECT]
    tasks = json.loads(files["json"].read_text())["tasks"]
    assert sum(task["interactions"] for task in tasks) == story.interactions[big.PROJECT]
    assert files["html"].stat().st_size < MIB
