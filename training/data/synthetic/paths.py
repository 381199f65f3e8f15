"""What is long and thin: where lines, cracks, threads and strokes run, in pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Path = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """Paths of N,2 points (x, y), each with its width in pixels."""

    paths: tuple[tuple[Path, int], ...]


@dataclass(frozen=True)
class Run:
    """How a kind runs. length: of the picture's shorter side. width: in pixels, from and to.

    bend: how much the direction drifts from step to step. jag: how much it jumps. branches: at
    most. parallel: at most so many side by side.
    """

    length: tuple[float, float]
    width: tuple[int, int]
    bend: float = 0.0
    jag: float = 0.0
    branches: int = 0
    parallel: int = 1


RUNS: Mapping[str, Run] = {
    "line": Run((0.25, 1.3), (1, 3)),
    "crack": Run((0.3, 1.1), (1, 3), bend=0.1, jag=0.5, branches=4),
    "scratch": Run((0.15, 0.6), (1, 3), bend=0.02, parallel=3),
    "thread": Run((0.3, 1.2), (1, 3), bend=0.3),
    "stroke": Run((0.2, 0.8), (5, 16), bend=0.22),
    "worm": Run((0.12, 0.35), (4, 9), bend=0.5),
}
"""By kind."""

STEPS = 20


def trace(kind: str, start: tuple[float, float], side: int, rng: np.random.Generator) -> Trace:
    """A random path of this kind around its start (x, y). side: the picture's shorter side."""
    run = RUNS[kind]
    length = float(rng.uniform(*run.length)) * side
    width = int(rng.integers(run.width[0], run.width[1] + 1))
    angle = float(rng.uniform(0, 2 * np.pi))
    main = _walk(start, angle, length, run, rng)
    main += np.asarray(start) - main[STEPS // 2]
    paths = [(main, width)]
    for _ in range(int(rng.integers(0, run.branches + 1))):
        root = int(rng.integers(2, STEPS - 2))
        aside = angle + float(rng.choice([-1, 1]) * rng.uniform(0.4, 1.2))
        twig = _walk(main[root], aside, length * float(rng.uniform(0.1, 0.4)), run, rng)
        paths.append((twig, max(width - 1, 1)))
    for number in range(1, int(rng.integers(1, run.parallel + 1))):
        away = number * float(rng.uniform(3, 7))
        shift = np.array([-np.sin(angle), np.cos(angle)]) * away
        cut = slice(int(rng.integers(0, 6)), STEPS - int(rng.integers(0, 6)))
        paths.append((main[cut] + shift, width))
    return Trace(tuple(paths))


def _walk(
    start: tuple[float, float] | Path,
    angle: float,
    length: float,
    run: Run,
    rng: np.random.Generator,
) -> Path:
    drift = np.cumsum(rng.normal(0, run.bend, STEPS)) if run.bend else np.zeros(STEPS)
    if run.jag:
        drift = drift + rng.normal(0, run.jag, STEPS)
    steps = np.stack([np.cos(angle + drift), np.sin(angle + drift)], 1) * (length / STEPS)
    steps[0] = 0.0
    walked: Path = np.asarray(start) + np.cumsum(steps, 0)
    return walked
