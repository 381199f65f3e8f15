"""Random requests, made from the API's description, find no hole."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from backend.api import limits
from backend.api.service import Service
from tests.backend.reports import big


@pytest.fixture
def _unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of wrong requests are answered at once."""
    monkeypatch.setattr(limits, "_EACH_S", 0.0)


@pytest.mark.slow
@pytest.mark.usefixtures("_unpaced")
def test_schemathesis_finds_no_hole_in_what_label_studio_calls(
    http: httpx.Client, tmp_path: Path
) -> None:
    # A text of the right type may still be no labeling config: 422 with a sentence is right then.
    right = ["2xx", "401", "413", "422"]

    assert _tested(http, tmp_path, "--exclude-path-regex=^/api/", right, examples=30) == 7


@pytest.mark.slow
@pytest.mark.usefixtures("_unpaced")
def test_schemathesis_finds_no_hole_in_what_scripts_call(
    http: httpx.Client, service: Service, tmp_path: Path
) -> None:
    big.fill(service.database, 300, masked_tasks=0)
    # Nor is every number a project's or a job's, nor every text a time.
    right = ["2xx", "401", "404", "409", "413", "415", "422"]

    assert _tested(http, tmp_path, "--include-path-regex=^/api/", right, examples=12) == 13


def _tested(http: httpx.Client, folder: Path, side: str, right: list[str], *, examples: int) -> int:
    """How many operations were really called, none skipped; fails where one has a hole."""
    config = folder / "schemathesis.toml"
    config.write_text(f"[checks]\npositive_data_acceptance.expected-statuses = {right}\n")
    tool = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [
            tool,
            f"--config-file={config}",
            "run",
            f"{http.base_url}/openapi.json",
            side,
            "--seed=7",
            f"--max-examples={examples}",
            "--phases=examples,coverage,fuzzing",
            "--no-color",
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    counts = re.search(r"Selected: (\d+)/\d+\s+Tested: (\d+)\s", done.stdout)
    assert counts is not None, done.stdout[-3000:]
    assert counts[1] == counts[2], done.stdout[-3000:]
    return int(counts[2])
