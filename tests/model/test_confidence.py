"""The IoU to expect, before and after calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model.confidence import Calibration, implied_score


def test_the_score_is_the_logit_of_the_iou_that_the_probabilities_imply() -> None:
    sure = np.full((10, 10), -9.0, np.float32)
    sure[3:7, 3:7] = 9.0
    unsure = np.where(sure > 0, 0.3, -0.3).astype(np.float32)

    assert Calibration().confidence(implied_score(sure)) > 0.99
    assert 0 < Calibration().confidence(implied_score(unsure)) < 0.5


def test_an_empty_mask_has_no_confidence() -> None:
    score = implied_score(np.full((10, 10), -4.0, np.float32))

    assert score == -math.inf
    assert Calibration(1.0, 3.0).confidence(score) == 0


def test_a_calibration_is_a_line_in_logit_space() -> None:
    assert Calibration(2.0, 1.0).confidence(-0.5) == pytest.approx(0.5)
    assert Calibration(1.0, 0.0).confidence(1000.0) == pytest.approx(1.0)


def test_a_checkpoint_may_bring_its_own() -> None:
    kept = {"confidence": {"scale": 0.7, "bias": -0.2, "objects": 300}}

    assert Calibration.of(kept, iou_head=True) == Calibration(0.7, -0.2)
    assert Calibration.of({}, iou_head=True) == Calibration(1.0, 0.0)
    assert Calibration.of({}, iou_head=False) != Calibration(1.0, 0.0)


@pytest.mark.parametrize("kept", [{}, {"scale": "x", "bias": 0}, {"scale": math.nan, "bias": 0}, 7])
def test_a_foreign_one_is_not_used(kept: object) -> None:
    assert Calibration.of({"confidence": kept}, iou_head=True) == Calibration()
