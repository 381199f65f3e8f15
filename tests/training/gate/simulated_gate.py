"""Simulated outcomes of two versions whose true difference is known."""

from __future__ import annotations

import numpy as np

from training.evaluation.protocol import Mode
from training.gate.rules import GateRules, Outcome, Which, rule

MOST = 8
Values = tuple[float, float, float, float]


def outcomes(
    rng: np.random.Generator,
    pictures: int,
    a_picture: int,
    gain: float = 0.0,
    modes: tuple[Mode, ...] = ("clicks+phrase", "phrase+clicks"),
) -> list[Outcome]:
    """Objects as hard for both as they are, and both as lucky with each as they happen to be.

    gain: of the candidate, as a share of what is wrong that it gets right at once.
    """
    drawn = []
    for picture in range(pictures):
        hard = rng.uniform(0.1, 0.6)
        luck = rng.normal(0, 0.15, 2)
        for _ in range(a_picture):
            own = np.clip(hard + rng.normal(0, 0.15), 0.03, 0.95)
            for mode in modes:
                late = 0.0 if mode == "clicks+phrase" else 0.15
                candidate, champion = (
                    _values(rng, own * (1 - better) + late, luck[side])
                    for side, better in enumerate((gain, 0.0))
                )
                drawn.append(Outcome(mode, picture, candidate, champion))
    return drawn


def passes(rng: np.random.Generator, pictures: int, a_picture: int, gain: float = 0.0) -> bool:
    """Whether the gate lets a candidate pass that is just as good in general."""
    asked: dict[Which, list[Outcome]] = {
        "own": outcomes(rng, pictures, a_picture, gain),
        "general": outcomes(rng, 10, 1, modes=("clicks+phrase",)),
    }
    return rule(asked, GateRules(general="veto"), "champion").passed


def _values(rng: np.random.Generator, wrong: float, luck: float) -> Values:
    """Each interaction leaves some two thirds of what was wrong."""
    ious = []
    left = wrong * np.exp(luck + rng.normal(0, 0.25))
    for _ in range(MOST):
        ious.append(float(np.clip(1 - left, 0.0, 1.0)))
        left *= rng.uniform(0.45, 0.9)
    reached = [count for count, iou in enumerate(ious, 1) if iou >= 0.85]
    return float(reached[0] if reached else MOST), ious[0], ious[1], ious[2]
