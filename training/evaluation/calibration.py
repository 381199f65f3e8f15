"""Confidence that can be believed: fitted on validation objects, and how well it holds there.

Run it when a checkpoint is exported, and keep ``Report.metrics`` under "confidence" in the
checkpoint's metrics: `model.predictor` reads the scale and the bias there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from model.confidence import Calibration
from model.predictor import Click, Predictor
from training.data import Dataset
from training.errors import DataError
from training.evaluation.cases import FEWEST_PIXELS, cases_of, target_of
from training.evaluation.protocol import next_click, overlap

BINS = 10
# Every other object is left out of the fit, and what is reported comes from those.
FOLDS = 2
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Report:
    """A calibration and its figures.

    error: expected calibration error, the mean over objects of |confidence - IoU| between the means
    of BINS equal bins. correlation: Pearson's, of confidence and IoU. Both come from objects that
    the line was not fitted on. count: objects.
    """

    calibration: Calibration
    error: float
    correlation: float
    count: int

    @property
    def metrics(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {
            "scale": self.calibration.scale,
            "bias": self.calibration.bias,
            "expected_calibration_error": self.error,
            "correlation": self.correlation,
            "objects": self.count,
        }


def calibrate(predictor: Predictor, dataset: Dataset, *, limit: int = 100) -> Report:
    """Ask for up to ``limit`` objects of each source by the protocol's first click, and fit.

    Raises DataError where there are fewer than 2 * BINS objects.
    """
    scores, ious = first_clicks(predictor, dataset, limit=limit)
    if len(scores) < 2 * BINS:
        raise DataError(f"Calibration needs {2 * BINS} objects with a mask, not {len(scores)}.")
    held_out = np.zeros(len(scores))
    for fold in range(FOLDS):
        chosen = np.arange(len(scores)) % FOLDS == fold
        line = fit(scores[~chosen], ious[~chosen])
        held_out[chosen] = [line.confidence(score) for score in scores[chosen]]
    return Report(
        fit(scores, ious),
        expected_calibration_error(held_out, ious),
        float(np.corrcoef(held_out, ious)[0, 1]),
        len(scores),
    )


def first_clicks(predictor: Predictor, dataset: Dataset, *, limit: int) -> tuple[Values, Values]:
    """Scores before calibration and true IoUs of the first click's masks; empty ones left out."""
    scores: list[float] = []
    ious: list[float] = []
    for case in cases_of(dataset, "clicks", limit=limit):
        sample = dataset[case.index]
        target = target_of(sample, case)
        if np.count_nonzero(target.mask & ~target.void) < FEWEST_PIXELS:
            continue
        spot = next_click(target, np.zeros_like(target.mask))
        assert spot is not None
        embedding = predictor.encode(sample.image, f"{case.source}:{sample.key}:{case.index}")
        prediction = predictor.predict(embedding, [Click(*spot)])
        if math.isfinite(prediction.score):
            scores.append(prediction.score)
            ious.append(overlap(prediction.mask(), target.mask, target.void))
    return np.array(scores), np.array(ious)


def fit(scores: Sequence[float] | Values, ious: Sequence[float] | Values) -> Calibration:
    """The line in logit space with the least cross entropy between confidence and IoU."""
    x, y = np.asarray(scores, np.float64), np.asarray(ious, np.float64)

    def loss(line: Values) -> float:
        z = line[0] * x + line[1]
        return float((np.logaddexp(0.0, z) - y * z).mean())

    scale, bias = optimize.minimize(loss, np.array([1.0, 0.0])).x
    return Calibration(float(scale), float(bias))


def expected_calibration_error(confidences: Values, ious: Values) -> float:
    """Mean distance of confidence and IoU over BINS equal bins (Naeini et al. 2015)."""
    bins = np.minimum((confidences * BINS).astype(np.int64), BINS - 1)
    size = np.bincount(bins, minlength=BINS)
    apart = np.bincount(bins, confidences - ious, minlength=BINS)
    return float(np.abs(apart).sum() / size.sum())
