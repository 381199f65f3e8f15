"""The soak reports what grows."""

import json
from pathlib import Path

import pytest

from backend.benchmark.disturbance import run_soak


@pytest.fixture(autouse=True)
def _small_model(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHRASECLICK_CHECKPOINT", str(random_checkpoint))
    monkeypatch.setenv("PHRASECLICK_TORCH_THREADS", "1")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_soak_writes_what_it_measured(tmp_path: Path) -> None:
    report = run_soak(json_file=tmp_path / "soak.json", folder=tmp_path, minutes=0.1)

    assert json.loads((tmp_path / "soak.json").read_text()) == report
    assert report["clicks"] > 50
    assert {"minute", "p95_ms", "rss_mb", "descriptors", "threads"} == set(report["samples"][0])
    assert report["samples"][0]["descriptors"] > 5
