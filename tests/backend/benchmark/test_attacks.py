"""The benchmark under attack compares each attack with the rest around it, and says so at once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.benchmark import attacks
from backend.errors import BenchError


def test_each_row_is_printed_as_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a machine that becomes slower, and an attack after which nothing is answered
    measured = iter([100.0, 100.0, 250.0, 150.0, None, 150.0])
    printed: list[str] = []

    @contextmanager
    def running(*names: object, **settings: object) -> Iterator[Any]:
        yield SimpleNamespace(
            port=1,
            photographs=SimpleNamespace(folder=tmp_path),
            rss_mb=lambda: 900.0,
            descriptors=lambda: 30,
        )

    def annotate(server: Any, seconds: float, console: Any, name: str = "") -> dict[str, Any]:
        printed.append(capsys.readouterr().err)
        p95 = next(measured)
        if p95 is None:
            raise BenchError("nothing came")
        return {"name": name, "median_ms": 50.0, "p95_ms": p95, "n": 200, "errors": 0}

    for name, replacement in {
        "running_server": running,
        "running": running,
        "many_annotators": annotate,
        "make_bombs": lambda folder: None,
        "_PAUSE_S": 0.0,
        "ATTACKS": attacks.ATTACKS[:2],
    }.items():
        monkeypatch.setattr(attacks, name, replacement)
    # when
    report = attacks.run_attacks(json_file=tmp_path / "report.json", folder=tmp_path)
    # then
    first, second = report["rows"]
    assert (first["rest_p95_ms"], first["to_rest"]) == ([100.0, 150.0], 2.0)
    assert (second["p95_ms"], second["to_rest"]) == (None, None)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert "100  150  50  250  2.00 ✓  200" in printed[4], "before the next attack"
    assert "✗" in capsys.readouterr().err
