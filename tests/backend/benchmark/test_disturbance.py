"""Twenty annotators go on while the server is attacked, and the soak reports what grows."""

import json
from pathlib import Path

import pytest

from backend.benchmark.attacks import ATTACKS
from backend.benchmark.disturbance import run_attacks, run_soak

# Each of these once ended the server, or kept every annotator waiting.
WORST = (
    "half a body, 260 connections",
    "unread answers, 260 connections",
    "pictures made to do harm",
    "paths of 60 kB",
)


@pytest.fixture(autouse=True)
def _small_model(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHRASECLICK_CHECKPOINT", str(random_checkpoint))
    monkeypatch.setenv("PHRASECLICK_TORCH_THREADS", "1")


@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.timeout(400)
def test_attacks_disturb_no_annotator(tmp_path: Path) -> None:
    assert set(WORST) < {attack.name for attack in ATTACKS}

    report = run_attacks(json_file=None, folder=tmp_path, seconds=12, names=WORST)

    rest, *attacked, _ = report["rows"]
    assert [row["name"] for row in attacked] == list(WORST)
    assert [row["errors"] for row in attacked] == [0] * len(WORST)
    # Attackers share the processors of this machine, so there is some slack for small times.
    for row in attacked:
        assert row["p95_ms"] <= 2 * max(rest["p95_ms"], 250), row
        assert row["rss_mb"] < 2 * rest["rss_mb"] + 1_000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_soak_writes_what_it_measured(tmp_path: Path) -> None:
    report = run_soak(json_file=tmp_path / "soak.json", folder=tmp_path, minutes=0.1)

    assert json.loads((tmp_path / "soak.json").read_text()) == report
    assert report["clicks"] > 50
    assert {"minute", "p95_ms", "rss_mb", "descriptors", "threads"} == set(report["samples"][0])
    assert report["samples"][0]["descriptors"] > 5
