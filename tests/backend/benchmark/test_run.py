"""The benchmark: right statistics, pictures that no cache knows, and a run on a real server."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from backend.benchmark.run import run_soak
from backend.benchmark.server import Photographs, Times
from backend.errors import BenchError


def test_median_and_p95_are_those_of_the_answers() -> None:
    times = Times("phrase", "640x480", [float(n) for n in range(100, 0, -1)])

    assert times.row() == {
        "name": "phrase",
        "size": "640x480",
        "median_ms": 50.5,
        "p95_ms": 96.0,
        "p99_ms": 100.0,
        "n": 100,
        "errors": 0,
    }


def test_a_single_answer_is_its_own_median() -> None:
    assert Times("phrase", "640x480", [7.0]).row()["p95_ms"] == 7.0


def test_without_any_answer_the_first_error_is_reported() -> None:
    times = Times("phrase", "640x480")
    times.errors += ["503 busy", "something later"]

    with pytest.raises(BenchError, match="503 busy"):
        times.row()


def test_no_two_pictures_are_the_same(tmp_path: Path) -> None:
    photographs = Photographs(tmp_path)

    addresses = [photographs.new((64, 48))[0] for _ in range(40)]

    files = sorted(tmp_path.iterdir())
    assert len({hashlib.sha256(file.read_bytes()).digest() for file in files}) == 40
    assert addresses[0] == f"/data/local-files/?d={files[0].name}"
    assert {Image.open(file).size for file in files} == {(64, 48)}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_soak_writes_what_it_measured(
    tmp_path: Path, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHRASECLICK_CHECKPOINT", str(random_checkpoint))
    monkeypatch.setenv("PHRASECLICK_TORCH_THREADS", "1")

    report = run_soak(json_file=tmp_path / "soak.json", folder=tmp_path, minutes=0.1)

    assert json.loads((tmp_path / "soak.json").read_text()) == report
    assert report["clicks"] > 50
    assert {"minute", "p95_ms", "rss_mb", "descriptors", "threads"} == set(report["samples"][0])
    assert report["samples"][0]["descriptors"] > 5


@pytest.mark.slow
def test_the_benchmark_runs_and_writes_its_figures(tmp_path: Path, random_checkpoint: Path) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "backend.cli", "bench", f"--json={report}"),
            *(f"--data={tmp_path}", "--rounds=3", "--pictures=5", "--seconds=5"),
        ],
        env={
            **os.environ,
            "PHRASECLICK_CHECKPOINT": str(random_checkpoint),
            "PHRASECLICK_TORCH_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(report.read_text())
    assert set(figures) == {"rows", "rss_mb", "cpu"}
    assert [(row["name"], row["size"]) for row in figures["rows"]] == [
        ("first_click", "640x480"),
        ("further_click", "640x480"),
        ("phrase", "640x480"),
        ("first_click", "3000x2000"),
        ("further_click", "3000x2000"),
        ("phrase", "3000x2000"),
        ("load_20", "640x480"),
        ("webhook", "640x480"),
        ("webhook", "3000x2000"),
    ]
    for row in figures["rows"]:
        assert set(row) == {"name", "size", "median_ms", "p95_ms", "p99_ms", "n", "errors"}
        assert 0 < row["median_ms"] <= row["p95_ms"]
    assert [row["errors"] for row in figures["rows"][6:]] == [0] * 3
    assert figures["rss_mb"] > 50
    assert "5 more" in done.stdout
    assert [path for path in tmp_path.iterdir() if path.name.startswith("phraseclick-bench")] == []
