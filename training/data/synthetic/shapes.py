"""Random outlines of the things in synthetic scenes.

A shape is a list of polygons around (0, 0) with a radius of about 1, x to the right and y down. A
polygon is filled, or it is a hole in the polygons before it. Long and thin things (lines, cracks,
threads) are paths in pixels instead (`trace`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Shape = list[tuple[Points, bool]]
Trace = list[tuple[Points, int]]
"""Paths of N,2 points (x, y), each with its width in pixels."""

# Corners of round shapes. Few are drawn quickly, and none is visible at a radius of 30 pixels.
ROUND = 32
_ANGLES = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)


def box(wide: float, high: float) -> Points:
    """A rectangle of twice this width and height."""
    return np.array([(-wide, -high), (wide, -high), (wide, high), (-wide, high)])


def polar(radii: Sequence[float] | NDArray[np.float64], start: float = 0.0) -> Points:
    """Corners at these distances from the centre, at equal angles."""
    angles = start + np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def wavy(rng: np.random.Generator, roughness: float, *, harmonics: int = 5) -> Points:
    """A closed curve around the centre, its radius a sum of random waves."""
    order = np.arange(1, harmonics + 1)
    height = rng.normal(0, roughness, harmonics) / order**0.7
    phase = rng.uniform(0, 2 * np.pi, (harmonics, 1))
    radius = 1 + height @ np.cos(order[:, None] * _ANGLES + phase)
    curve: Points = CIRCLE * radius.clip(0.25, 1.8)[:, None]
    return curve


def rotation(angle: float) -> NDArray[np.float64]:
    """2,2: points multiplied by it are turned by this angle."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([(cos, sin), (-sin, cos)])


def _arrow(rng: np.random.Generator) -> Points:
    thick, wide, neck = rng.uniform(0.12, 0.3), rng.uniform(0.5, 0.8), rng.uniform(0.0, 0.35)
    half = np.array([(-1.1, thick), (neck, thick), (neck, wide), (1.1, 0.0)])
    return np.concatenate([half, half[-2::-1] * (1, -1)])


def _cell(rng: np.random.Generator) -> Points:
    return wavy(rng, rng.uniform(0.02, 0.1), harmonics=4) * (1.0, rng.uniform(0.65, 1.0))


def _heart(rng: np.random.Generator) -> Points:
    t = _ANGLES
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], 1) / 16 * (1.0, rng.uniform(0.9, 1.15))


def _rod(rng: np.random.Generator) -> Points:
    thick = rng.uniform(0.16, 0.36)
    return CIRCLE * thick + np.where(CIRCLE[:, :1] > 0, 1 - thick, thick - 1) * (1.0, 0.0)


def _drop(rng: np.random.Generator) -> Points:
    across = rng.uniform(0.55, 0.8) * np.sin(_ANGLES) * np.sin(_ANGLES / 2) ** 1.5
    return np.stack([across, -np.cos(_ANGLES)], 1)


def _stain(rng: np.random.Generator) -> Points:
    jagged = 1 + rng.normal(0, 0.05, (ROUND, 1))
    return wavy(rng, rng.uniform(0.15, 0.3), harmonics=8) * jagged * (1.0, rng.uniform(0.4, 1.0))


def _flower(rng: np.random.Generator) -> Points:
    petals = int(rng.integers(4, 9))
    angles = np.linspace(0, 2 * np.pi, 10 * petals, endpoint=False)
    deep = rng.uniform(0.25, 0.6)
    return polar(1 - deep + deep * np.abs(np.cos(petals * angles / 2)) ** rng.uniform(0.5, 1.0))


def _leaf(rng: np.random.Generator, wide: float, teeth: int = 0) -> Points:
    """A leaf from (-1, 0) to its tip at (1, 0)."""
    t = np.linspace(0, 1, 2 * teeth + 2 if teeth else 14)
    half = wide * np.sin(np.pi * t ** rng.uniform(0.6, 0.95))
    if teeth:
        half[1::2] *= 0.72
    upper = np.stack([2 * t - 1, half], 1)
    return np.concatenate([upper, upper[-2:0:-1] * (1, -1)])


_OUTLINES: Mapping[str, Callable[[np.random.Generator], Points]] = {
    "arrow": _arrow,
    "ball": lambda rng: CIRCLE,
    "blob": lambda rng: wavy(rng, rng.uniform(0.08, 0.28)) * (1.0, rng.uniform(0.6, 1.0)),
    "bubble": lambda rng: CIRCLE * (1.0, rng.uniform(0.8, 1.0)),
    "cell": _cell,
    "circle": lambda rng: CIRCLE * (1.0, rng.uniform(0.8, 1.0)),
    "diamond": lambda rng: polar([1.15, rng.uniform(0.55, 0.8)] * 2),
    "dot": lambda rng: CIRCLE * (1.0, rng.uniform(0.8, 1.0)),
    "drop": _drop,
    "flower": _flower,
    "heart": _heart,
    "hexagon": lambda rng: polar([1.05] * 6),
    "hole": _cell,
    "leaf": lambda rng: _leaf(rng, rng.uniform(0.25, 0.55), int(rng.choice([0, 0, 5, 8]))),
    "mushroom cap": _cell,
    "nucleus": _cell,
    "patch": _stain,
    "rectangle": lambda rng: box(1.0, rng.uniform(0.3, 0.65)),
    "rod": _rod,
    "square": lambda rng: box(0.9, 0.9 * rng.uniform(0.92, 1.0)),
    "stain": _stain,
    "star": lambda rng: polar([1.15, rng.uniform(0.35, 0.6)] * int(rng.integers(4, 8))),
    "stone": lambda rng: (
        polar(rng.uniform(0.75, 1.08, int(rng.integers(7, 13)))) * (1.0, rng.uniform(0.6, 1.0))
    ),
    "triangle": lambda rng: polar(rng.uniform(0.85, 1.2, 3)),
}
"""Kinds of one polygon."""


def _button(rng: np.random.Generator) -> Shape:
    holes = polar([0.33] * int(rng.integers(2, 5)), rng.uniform(0, np.pi))
    small = rng.uniform(0.1, 0.16)
    return [(CIRCLE, True), *((CIRCLE * small + hole, False) for hole in holes)]


def _crescent(rng: np.random.Generator) -> Shape:
    shadow = CIRCLE * rng.uniform(0.8, 0.98) + (rng.uniform(0.35, 0.7), 0.0)
    return [(CIRCLE, True), (shadow, False)]


def _cross(rng: np.random.Generator) -> Shape:
    thick = rng.uniform(0.18, 0.38)
    return [(box(1.0, thick), True), (box(thick, 1.0), True)]


def _frame(rng: np.random.Generator) -> Shape:
    flat, inner = rng.uniform(0.6, 1.0), rng.uniform(0.6, 0.85)
    return [(box(1.0, flat), True), (box(inner, flat + inner - 1.0), False)]


def _gear(rng: np.random.Generator) -> Shape:
    deep = rng.uniform(0.72, 0.85)
    teeth = polar([1.05, 1.05, deep, deep] * int(rng.integers(7, 13)))
    return [(teeth, True), (CIRCLE * rng.uniform(0.05, 0.45), False)]


def _grass(rng: np.random.Generator) -> Shape:
    """A tuft of blades that bend outwards from a root at the bottom."""
    shape: Shape = []
    t = np.linspace(0, 1, 7)
    for lean in rng.uniform(-1.0, 1.0, int(rng.integers(4, 11))):
        height = rng.uniform(1.2, 1.9)
        spine = np.stack([lean * t**1.7, 0.9 - height * t * (1 - 0.2 * abs(lean) * t)], 1)
        thick = (rng.uniform(0.05, 0.1) * (1 - t))[:, None] * (1.0, 0.0)
        shape.append((np.concatenate([spine + thick, (spine - thick)[::-1]]), True))
    return shape


def _mushroom(rng: np.random.Generator) -> Shape:
    """From the side: a cap on a stem."""
    t = np.linspace(np.pi, 2 * np.pi, 18)
    cap = np.stack([np.cos(t), np.sin(t) * rng.uniform(0.6, 1.0)], 1)
    thin, foot = rng.uniform(0.14, 0.3), rng.uniform(0.2, 0.4)
    stem = np.array([(-thin, 0.0), (thin, 0.0), (foot, 0.95), (-foot, 0.95)])
    return [(stem, True), (np.concatenate([cap, [(0.9, 0.12), (-0.9, 0.12)]]), True)]


def _ring(rng: np.random.Generator) -> Shape:
    outer = CIRCLE * (1.0, rng.uniform(0.75, 1.0))
    return [(outer, True), (outer * rng.uniform(0.45, 0.85), False)]


def _splatter(rng: np.random.Generator) -> Shape:
    radii = rng.uniform(0.45, 0.62, ROUND)
    rays = rng.choice(ROUND // 2, int(rng.integers(3, 8)), replace=False) * 2
    radii[rays] = rng.uniform(0.8, 1.15, len(rays))
    drops = rng.uniform((0, 0.95, 0.04), (2 * np.pi, 1.5, 0.14), (4, 3))
    around = (
        CIRCLE * size + (far * np.cos(angle), far * np.sin(angle)) for angle, far, size in drops
    )
    return [(polar(radii), True), *((drop, True) for drop in around)]


def _sprout(rng: np.random.Generator) -> Shape:
    """A small plant from above: leaves around a centre, from two broad ones to many fine ones."""
    count = int(rng.choice([2, 2, 3, 4, 5, 6, 9, 14]))
    wide = rng.uniform(0.25, 0.5) if count < 5 else rng.uniform(0.05, 0.22)
    angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(count) / count
    leaves = (np.add(_leaf(rng, wide), (1.0, 0.0)) * rng.uniform(0.32, 0.55) for _ in range(count))
    return [
        (leaf @ rotation(angle + rng.normal(0, 0.25)), True)
        for leaf, angle in zip(leaves, angles, strict=True)
    ]


def _wheel(rng: np.random.Generator) -> Shape:
    spokes = int(rng.integers(3, 9))
    start, rim = rng.uniform(0, np.pi), rng.uniform(0.72, 0.85)
    bar = np.add(box(rim / 2, rng.uniform(0.04, 0.09)), (rim / 2, 0.0))
    around = [(bar @ rotation(start + 2 * np.pi * i / spokes), True) for i in range(spokes)]
    return [(CIRCLE, True), (CIRCLE * rim, False), *around, (CIRCLE * rng.uniform(0.15, 0.3), True)]


_COMPOUNDS: Mapping[str, Callable[[np.random.Generator], Shape]] = {
    "button": _button,
    "crescent": _crescent,
    "cross": _cross,
    "frame": _frame,
    "gear": _gear,
    "grass tuft": _grass,
    "mushroom": _mushroom,
    "ring": _ring,
    "splatter": _splatter,
    "sprout": _sprout,
    "wheel": _wheel,
}
"""Kinds of several polygons."""

STANDING = frozenset({"mushroom", "grass tuft", "drop", "heart", "arrow"})
"""Kinds that are drawn roughly upright."""


def shape_of(kind: str, rng: np.random.Generator) -> Shape:
    """A random shape of this kind."""
    return _COMPOUNDS[kind](rng) if kind in _COMPOUNDS else [(_OUTLINES[kind](rng), True)]


class Run(NamedTuple):
    """The ranges of a kind's paths.

    length: least and largest, as a share of the picture's shorter side. width: least and largest,
    in pixels. bend, jag: drift and jumps of the direction per step, in radians. branches: the
    largest number of branches.
    """

    length: tuple[float, float]
    width: tuple[int, int]
    bend: float = 0.0
    jag: float = 0.0
    branches: int = 0


RUNS: Mapping[str, Run] = {
    "line": Run((0.25, 1.3), (1, 3)),
    "crack": Run((0.3, 1.1), (1, 3), bend=0.1, jag=0.5, branches=4),
    "scratch": Run((0.15, 0.6), (1, 3), bend=0.02),
    "thread": Run((0.3, 1.2), (1, 3), bend=0.3),
    "stroke": Run((0.2, 0.8), (5, 16), bend=0.22),
    "worm": Run((0.12, 0.35), (4, 9), bend=0.5),
}
"""By kind."""

STEPS = 20


def trace(kind: str, middle: tuple[float, float], side: int, rng: np.random.Generator) -> Trace:
    """A random path of this kind around a place. side: the picture's shorter side in pixels."""
    run = RUNS[kind]
    length = float(rng.uniform(*run.length)) * side
    width = int(rng.integers(run.width[0], run.width[1] + 1))
    angle = float(rng.uniform(0, 2 * np.pi))
    main = _walk(angle, length, run, rng)
    main += np.asarray(middle) - main[STEPS // 2]
    paths = [(main, width)]
    for _ in range(int(rng.integers(0, run.branches + 1))):
        root = main[int(rng.integers(2, STEPS - 2))]
        aside = angle + float(rng.choice([-1, 1]) * rng.uniform(0.4, 1.2))
        twig = _walk(aside, length * float(rng.uniform(0.1, 0.4)), run, rng)
        paths.append((root + twig, max(width - 1, 1)))
    return paths


def _walk(angle: float, length: float, run: Run, rng: np.random.Generator) -> Points:
    """STEPS,2: a path from (0, 0) that keeps about this direction."""
    drift = angle + np.cumsum(rng.normal(0, run.bend, STEPS)) + rng.normal(0, run.jag, STEPS)
    steps = np.stack([np.cos(drift), np.sin(drift)], 1) * (length / STEPS)
    steps[0] = 0.0
    walked: Points = np.cumsum(steps, 0)
    return walked
