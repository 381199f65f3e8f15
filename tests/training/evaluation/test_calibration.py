"""Calibration finds the line that was there, and reports how far off the rest is."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from model import checkpoint
from model.confidence import Calibration
from tests.training.conftest import Pictures
from tests.training.evaluation.conftest import sample
from training import commands
from training.errors import DataError
from training.evaluation import calibration


def test_the_fit_recovers_the_line() -> None:
    scores = np.random.default_rng(0).normal(0, 2, 400)
    ious = 1 / (1 + np.exp(-(0.5 * scores - 0.8)))

    line = calibration.fit(scores, ious)

    assert line.scale == pytest.approx(0.5, abs=0.01)
    assert line.bias == pytest.approx(-0.8, abs=0.01)


def test_the_error_is_the_mean_distance_over_bins() -> None:
    confidences = np.array([0.05, 0.05, 0.95, 1.0])

    error = calibration.expected_calibration_error(confidences, np.array([0.0, 0.1, 0.85, 0.9]))

    assert error == pytest.approx((0.0 + 0.2) / 4)


def test_a_calibrated_checkpoint_is_a_new_version_with_the_same_weights(tmp_path: Path) -> None:
    # given
    pictures = Pictures([sample(str(number)) for number in range(8)])
    # when
    version, report = calibration.write_calibrated(
        "shipped", tmp_path / "copy", pictures, device="cpu"
    )
    # then
    before, after = checkpoint.load(), checkpoint.load(tmp_path / "copy")
    assert after.version == version != before.version
    assert after.metrics["parent"] == before.version
    assert all(torch.equal(after.state[name], tensor) for name, tensor in before.state.items())
    assert Calibration.of(after.metrics["metrics"], iou_head=False) == report.calibration
    assert report.count == 24
    assert 0 <= report.error <= 1
    assert -1 <= report.correlation <= 1


def test_too_few_objects_are_refused_before_anything_is_written(
    unlearned: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="20 objects"):
        calibration.write_calibrated(unlearned, tmp_path / "copy", Pictures([sample("one")]))
    assert not (tmp_path / "copy").exists()


def test_progress_leaves_no_lines_in_a_file(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    def write(*_: Any, progress: calibration.Progress, **__: Any) -> tuple[str, Mock]:
        for done in range(1, 101):
            progress(done, 100)
        return "calibrated", Mock(error=0.01, correlation=0.8, count=100)

    monkeypatch.setattr(calibration, "write_calibrated", write)
    app = typer.Typer()
    app.command()(commands.calibrate)
    # when
    result = CliRunner().invoke(
        app, ["shipped", "--data", str(shard), "--out", str(tmp_path / "new")]
    )
    # then
    assert result.exit_code == 0
    assert result.output.count("/100") == 1
    assert "\r" not in result.output


def test_equal_values_have_no_correlation() -> None:
    assert calibration._correlation(np.ones(3), np.array([0.1, 0.5, 0.9])) == 0
    assert calibration._correlation(np.array([0.1, 0.2]), np.array([0.3, 0.5])) == pytest.approx(1)
