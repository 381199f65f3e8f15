"""The confidence of a mask: its expected IoU, estimated by the network.

The score is the IoU predicted by the network's IoU head, or else the IoU that its probabilities
imply. Networks are overconfident, so the score is calibrated by a line in logit space (Platt
scaling, fitted by `training.evaluation.calibration`), which the checkpoint keeps in its metrics
under "confidence".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.mask_upsampling import sigmoid

# Keeps logits finite.
CLOSEST = 1e-4
METRIC = "confidence"


@dataclass(frozen=True)
class Calibration:
    """confidence = sigmoid(scale * score + bias), both in logit space."""

    scale: float = 1.0
    bias: float = 0.0

    def confidence(self, score: float) -> float:
        """0 to 1: the IoU to expect."""
        if score == -math.inf:
            return 0.0
        exponent = max(min(self.scale * score + self.bias, 80.0), -80.0)
        return 1.0 / (1.0 + math.exp(-exponent))

    @classmethod
    def of(cls, metrics: Mapping[str, Any], *, iou_head: bool) -> Calibration:
        """The calibration in a checkpoint's metrics, or a default."""
        kept = metrics.get(METRIC)
        if isinstance(kept, Mapping):
            scale, bias = (kept.get(name, math.nan) for name in ("scale", "bias"))
            if all(isinstance(n, int | float) and math.isfinite(n) for n in (scale, bias)):
                return cls(float(scale), float(bias))
        # From the first shipped checkpoint on 130 validation objects (first click).
        return cls() if iou_head else cls(1.21, -1.02)


def implied_score(logits: NDArray[np.float32]) -> float:
    """The logit of the expected IoU of the mask ``logits > 0``, if its probabilities are true.

    That is the sum of p inside, divided by the size plus the sum of p outside. -inf for an empty
    mask. logits: any shape.
    """
    inside = logits > 0
    probability = sigmoid(logits)
    hit = float(probability[inside].sum())
    if not hit:
        return -math.inf
    return logit(hit / (float(inside.sum()) + float(probability[~inside].sum())))


def logit(probability: float) -> float:
    """Inverse of the sigmoid, finite everywhere."""
    bounded = min(max(probability, CLOSEST), 1.0 - CLOSEST)
    return math.log(bounded / (1.0 - bounded))
