"""Calibrated confidence: fitted on validation objects, measured on those left out of the fit.

A checkpoint keeps `Report.metrics` under "confidence" in its metrics, where `model.confidence`
reads scale and bias. A training calibrates its last checkpoint; ``phraseclick calibrate`` does so
for any.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from model import checkpoint
from model.confidence import METRIC, Calibration
from model.predictor import Click, Predictor
from training.data import Dataset
from training.errors import DataError
from training.evaluation.cases import Case, cases_of, key_of, opened
from training.evaluation.protocol import next_click, overlap

BINS = 10
# Cross-validation: figures come from objects that the line was not fitted on.
FOLDS = 2
Values = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with the number of objects done and their total."""


@dataclass(frozen=True)
class Report:
    """A calibration and its figures.

    error: expected calibration error, the mean distance of confidence and IoU over BINS equal bins,
    weighted by their objects. correlation: Pearson's, of confidence and IoU. Both come from objects
    that the line was not fitted on. count: number of objects.
    """

    calibration: Calibration
    error: float
    correlation: float
    count: int

    @property
    def metrics(self) -> dict[str, float]:
        """The entry "confidence" of a checkpoint's metrics."""
        return {
            "scale": self.calibration.scale,
            "bias": self.calibration.bias,
            "expected_calibration_error": self.error,
            "correlation": self.correlation,
            "objects": self.count,
        }


def calibrate(
    predictor: Predictor, dataset: Dataset, *, limit: int = 100, progress: Progress | None = None
) -> Report:
    """Predict up to ``limit`` objects of each source from the protocol's first click, and fit.

    Raises DataError if there are fewer than 2 * BINS objects.
    """
    cases = cases_of(dataset, "clicks", limit=limit)
    scores, ious = _first_clicks(predictor, dataset, cases, progress)
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
        _correlation(held_out, ious),
        len(scores),
    )


def _correlation(predicted: Values, measured: Values) -> float:
    """Pearson's; 0 if all values of one side are the same."""
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return 0.0
    return float(np.corrcoef(predicted, measured)[0, 1])


def write_calibrated(
    source: Path | str,
    target: Path,
    dataset: Dataset,
    *,
    limit: int = 100,
    device: str = "auto",
    progress: Progress | None = None,
) -> tuple[str, Report]:
    """Calibrate a checkpoint and write the result as a new one; returns its version and figures.

    source: a checkpoint's directory, or "shipped". target: a directory that does not exist yet. A
    version never changes, so the copy has a name of its own ("<name>-cal<4 hex digits of the
    figures>") and the source as its parent. Weights and words are the same. limit: objects of each
    source at most. Raises DataError for too few objects, CheckpointError.
    """
    loaded = checkpoint.load(source)
    report = calibrate(Predictor(source, device=device), dataset, limit=limit, progress=progress)
    digest = hashlib.sha256(json.dumps(report.metrics, sort_keys=True).encode()).hexdigest()
    name = re.sub(r"-cal[0-9a-f]{4}$", "", loaded.version.rpartition("-")[0])
    version = checkpoint.save(
        target,
        loaded.network(),
        loaded.words,
        loaded.vectors,
        {**loaded.metrics.get("metrics", {}), METRIC: report.metrics},
        trained=loaded.trained,
        name=f"{name}-cal{digest[:4]}",
        parent=loaded.version,
    )
    return version, report


def _first_clicks(
    predictor: Predictor, dataset: Dataset, cases: Sequence[Case], progress: Progress | None
) -> tuple[Values, Values]:
    """Scores before calibration and true IoUs of the first click's masks; N each.

    Empty masks and pictures that cannot be read are left out.
    """
    scores: list[float] = []
    ious: list[float] = []
    for case, sample, target in opened(dataset, cases, progress):
        spot = next_click(target)
        assert spot is not None
        embedding = predictor.encode(sample.image, key_of(sample, case.index))
        prediction = predictor.predict(embedding, [Click(*spot)])
        if math.isfinite(prediction.score):
            scores.append(prediction.score)
            ious.append(overlap(prediction.mask(), target.mask, target.void))
    return np.array(scores), np.array(ious)


def fit(scores: Sequence[float] | Values, ious: Sequence[float] | Values) -> Calibration:
    """The line in logit space with the least cross-entropy between confidence and IoU (N each)."""
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
