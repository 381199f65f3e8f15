"""Calibration finds the line that was there, and reports how far off the rest is."""

from __future__ import annotations

import numpy as np
import pytest

from model.confidence import Calibration
from model.predictor import Predictor
from tests.training.evaluation.conftest import Pictures, sample
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


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor(device="cpu")


def test_it_reports_on_objects_that_the_fit_did_not_see(shipped: Predictor) -> None:
    report = calibration.calibrate(shipped, Pictures([sample(str(n)) for n in range(8)]))

    assert report.count == 24
    assert 0 <= report.error <= 1
    assert -1 <= report.correlation <= 1
    assert report.metrics["scale"] == report.calibration.scale
    assert Calibration.of({"confidence": report.metrics}, iou_head=False) == report.calibration


def test_few_objects_are_refused(shipped: Predictor) -> None:
    with pytest.raises(DataError, match="20 objects"):
        calibration.calibrate(shipped, Pictures([sample("one")]))
