"""Random outlines of the things in synthetic scenes.

A shape is a list of polygons around (0, 0) with a radius of about 1, x to the right and y down. A
polygon is filled, or it is a hole in the polygons before it. Long and thin things (lines, cracks,
threads) are paths in pixels instead (`trace`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Polygon = tuple[Points, bool]
Shape = list[Polygon]

# Corners of round shapes. Few are drawn quickly, and none is visible at a radius of 30 pixels.
ROUND = 32
_ANGLES = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
_WAVES = np.arange(1, 9)[:, None] * _ANGLES


def circle() -> Points:
    return _CIRCLE


def wavy(rng: np.random.Generator, roughness: float, *, harmonics: int = 5) -> Points:
    """A closed curve around the centre, its radius a sum of random waves."""
    order = np.arange(1, harmonics + 1)
    height = rng.normal(0, roughness, harmonics) / order**0.7
    phase = rng.uniform(0, 2 * np.pi, (harmonics, 1))
    radius = 1 + height @ np.cos(_WAVES[:harmonics] + phase)
    curve: Points = _CIRCLE * radius.clip(0.25, 1.8)[:, None]
    return curve


def polar(radii: NDArray[np.float64], start: float = 0.0) -> Points:
    """Corners at these distances from the centre, at equal angles."""
    angles = start + np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def box(wide: float, high: float) -> Points:
    """A rectangle of twice this width and height."""
    return np.array([(-wide, -high), (wide, -high), (wide, high), (-wide, high)])


def turned(points: Points, angle: float) -> Points:
    cos, sin = np.cos(angle), np.sin(angle)
    rotated: Points = points @ np.array([(cos, sin), (-sin, cos)])
    return rotated


def moved(points: Points, x: float, y: float) -> Points:
    shifted: Points = points + np.array([x, y])
    return shifted


def _round(rng: np.random.Generator) -> Shape:
    return [(circle() * (1.0, rng.uniform(0.8, 1.0)), True)]


def _ring(rng: np.random.Generator) -> Shape:
    flat = (1.0, rng.uniform(0.75, 1.0))
    return [(circle() * flat, True), (circle() * rng.uniform(0.45, 0.85) * flat, False)]


def _crescent(rng: np.random.Generator) -> Shape:
    away = rng.uniform(0.35, 0.7)
    return [(circle(), True), (circle() * rng.uniform(0.8, 0.98) + (away, 0.0), False)]


def _button(rng: np.random.Generator) -> Shape:
    count = int(rng.integers(2, 5))
    holes = polar(np.full(count, 0.33), rng.uniform(0, np.pi))
    small = rng.uniform(0.1, 0.16)
    return [(circle(), True), *((circle() * small + hole, False) for hole in holes)]


def _wheel(rng: np.random.Generator) -> Shape:
    spokes = int(rng.integers(3, 9))
    start = rng.uniform(0, np.pi)
    rim = rng.uniform(0.72, 0.85)
    bar = moved(box(rim / 2, rng.uniform(0.04, 0.09)), rim / 2, 0.0)
    around = [(turned(bar, start + 2 * np.pi * i / spokes), True) for i in range(spokes)]
    hub = circle() * rng.uniform(0.15, 0.3)
    return [(circle(), True), (circle() * rim, False), *around, (hub, True)]


def _square(rng: np.random.Generator) -> Shape:
    return [(box(0.9, 0.9 * rng.uniform(0.92, 1.0)), True)]


def _rectangle(rng: np.random.Generator) -> Shape:
    return [(box(1.0, rng.uniform(0.3, 0.65)), True)]


def _frame(rng: np.random.Generator) -> Shape:
    flat = rng.uniform(0.6, 1.0)
    inner = rng.uniform(0.6, 0.85)
    return [(box(1.0, flat), True), (box(inner, flat + inner - 1.0), False)]


def _triangle(rng: np.random.Generator) -> Shape:
    return [(polar(rng.uniform(0.85, 1.2, 3)), True)]


def _star(rng: np.random.Generator) -> Shape:
    count = int(rng.integers(4, 8))
    return [(polar(np.tile([1.15, rng.uniform(0.35, 0.6)], count)), True)]


def _hexagon(rng: np.random.Generator) -> Shape:
    return [(polar(np.full(6, 1.05)), True)]


def _diamond(rng: np.random.Generator) -> Shape:
    return [(polar(np.tile([1.15, rng.uniform(0.55, 0.8)], 2)), True)]


def _cross(rng: np.random.Generator) -> Shape:
    thick = rng.uniform(0.18, 0.38)
    return [(box(1.0, thick), True), (box(thick, 1.0), True)]


def _arrow(rng: np.random.Generator) -> Shape:
    thick, wide, neck = rng.uniform(0.12, 0.3), rng.uniform(0.5, 0.8), rng.uniform(0.0, 0.35)
    half = np.array([(-1.1, thick), (neck, thick), (neck, wide), (1.1, 0.0)])
    return [(np.concatenate([half, half[-2::-1] * (1, -1)]), True)]


def _heart(rng: np.random.Generator) -> Shape:
    t = _ANGLES
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [(np.stack([16 * np.sin(t) ** 3, -y], 1) / 16 * (1.0, rng.uniform(0.9, 1.15)), True)]


def _gear(rng: np.random.Generator) -> Shape:
    teeth = int(rng.integers(7, 13))
    deep = rng.uniform(0.72, 0.85)
    shape: Shape = [(polar(np.tile([1.05, 1.05, deep, deep], teeth)), True)]
    if rng.random() < 0.7:
        shape.append((circle() * rng.uniform(0.2, 0.45), False))
    return shape


def _rod(rng: np.random.Generator) -> Shape:
    thick = rng.uniform(0.16, 0.36)
    ends = circle() * thick + np.where(_CIRCLE[:, :1] > 0, 1 - thick, thick - 1) * (1.0, 0.0)
    return [(ends, True)]


def _drop(rng: np.random.Generator) -> Shape:
    t = _ANGLES
    wide = rng.uniform(0.55, 0.8)
    return [(np.stack([wide * np.sin(t) * np.sin(t / 2) ** 1.5, -np.cos(t)], 1), True)]


def _blob(rng: np.random.Generator) -> Shape:
    return [(wavy(rng, rng.uniform(0.08, 0.28)) * (1.0, rng.uniform(0.6, 1.0)), True)]


def _cell(rng: np.random.Generator) -> Shape:
    return [(wavy(rng, rng.uniform(0.02, 0.1), harmonics=4) * (1.0, rng.uniform(0.65, 1.0)), True)]


def _stone(rng: np.random.Generator) -> Shape:
    corners = rng.uniform(0.75, 1.08, int(rng.integers(7, 13)))
    return [(polar(corners) * (1.0, rng.uniform(0.6, 1.0)), True)]


def _stain(rng: np.random.Generator) -> Shape:
    points = wavy(rng, rng.uniform(0.15, 0.3), harmonics=8)
    jagged = 1 + rng.normal(0, 0.05, (ROUND, 1))
    return [(points * jagged * (1.0, rng.uniform(0.4, 1.0)), True)]


def _splatter(rng: np.random.Generator) -> Shape:
    radii = rng.uniform(0.45, 0.62, ROUND)
    rays = rng.choice(ROUND // 2, int(rng.integers(3, 8)), replace=False) * 2
    radii[rays] = rng.uniform(0.8, 1.15, len(rays))
    shape: Shape = [(polar(radii), True)]
    for angle, far, size in rng.uniform((0, 0.95, 0.04), (6.3, 1.5, 0.14), (4, 3)):
        shape.append((circle() * size + (far * np.cos(angle), far * np.sin(angle)), True))
    return shape


def leaf_outline(rng: np.random.Generator, wide: float, teeth: int = 0) -> Points:
    """A leaf from (-1, 0) to its tip at (1, 0)."""
    t = np.linspace(0, 1, 14 if not teeth else 2 * teeth + 2)
    half = wide * np.sin(np.pi * t ** rng.uniform(0.6, 0.95))
    if teeth:
        half[1::2] *= 0.72
    upper = np.stack([2 * t - 1, half], 1)
    return np.concatenate([upper, upper[-2:0:-1] * (1, -1)])


def _leaf(rng: np.random.Generator) -> Shape:
    teeth = int(rng.integers(5, 10)) if rng.random() < 0.3 else 0
    return [(leaf_outline(rng, rng.uniform(0.25, 0.55), teeth), True)]


def _sprout(rng: np.random.Generator) -> Shape:
    """A small plant from above: leaves around a centre, from two broad ones to many fine ones."""
    count = int(rng.choice([2, 2, 3, 4, 5, 6, 9, 14]))
    wide = rng.uniform(0.25, 0.5) if count < 5 else rng.uniform(0.05, 0.22)
    start = rng.uniform(0, 2 * np.pi)
    shape: Shape = []
    for number in range(count):
        length = rng.uniform(0.65, 1.1)
        leaf = moved(leaf_outline(rng, wide), 1.0, 0.0) * (length / 2)
        angle = start + 2 * np.pi * number / count + rng.normal(0, 0.25)
        shape.append((turned(leaf, float(angle)), True))
    return shape


def _grass(rng: np.random.Generator) -> Shape:
    """A tuft of blades that bend outwards from a root at the bottom."""
    shape: Shape = []
    for lean in rng.uniform(-1.0, 1.0, int(rng.integers(4, 11))):
        t = np.linspace(0, 1, 7)
        height = rng.uniform(1.2, 1.9)
        spine = np.stack([lean * t**1.7, 0.9 - height * t * (1 - 0.2 * abs(lean) * t)], 1)
        thick = (rng.uniform(0.05, 0.1) * (1 - t))[:, None] * (1.0, 0.0)
        shape.append((np.concatenate([spine + thick, (spine - thick)[::-1]]), True))
    return shape


def _flower(rng: np.random.Generator) -> Shape:
    petals = int(rng.integers(4, 9))
    angles = np.linspace(0, 2 * np.pi, 10 * petals, endpoint=False)
    deep = rng.uniform(0.25, 0.6)
    radius = 1 - deep + deep * np.abs(np.cos(petals * angles / 2)) ** rng.uniform(0.5, 1.0)
    return [(polar(radius), True)]


def _mushroom(rng: np.random.Generator) -> Shape:
    """From the side: a cap on a stem."""
    t = np.linspace(np.pi, 2 * np.pi, 18)
    cap = np.stack([np.cos(t), np.sin(t) * rng.uniform(0.6, 1.0)], 1)
    brim = np.array([(0.9, 0.12), (-0.9, 0.12)])
    thin, foot = rng.uniform(0.14, 0.3), rng.uniform(0.2, 0.4)
    stem = np.array([(-thin, 0.0), (thin, 0.0), (foot, 0.95), (-foot, 0.95)])
    return [(stem, True), (np.concatenate([cap, brim]), True)]


SHAPES: Mapping[str, Callable[[np.random.Generator], Shape]] = {
    "arrow": _arrow,
    "ball": lambda rng: [(circle(), True)],
    "blob": _blob,
    "bubble": _round,
    "button": _button,
    "cell": _cell,
    "circle": _round,
    "crescent": _crescent,
    "cross": _cross,
    "diamond": _diamond,
    "dot": _round,
    "drop": _drop,
    "flower": _flower,
    "frame": _frame,
    "gear": _gear,
    "grass tuft": _grass,
    "heart": _heart,
    "hexagon": _hexagon,
    "hole": _cell,
    "leaf": _leaf,
    "mushroom": _mushroom,
    "mushroom cap": _cell,
    "nucleus": _cell,
    "patch": _stain,
    "rectangle": _rectangle,
    "ring": _ring,
    "rod": _rod,
    "splatter": _splatter,
    "sprout": _sprout,
    "square": _square,
    "stain": _stain,
    "star": _star,
    "stone": _stone,
    "triangle": _triangle,
    "wheel": _wheel,
}
"""How each kind is drawn."""

STANDING = frozenset({"mushroom", "grass tuft", "drop", "heart", "arrow"})
"""Kinds that are drawn roughly upright."""


Path = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """Paths of N,2 points (x, y), each with its width in pixels."""

    paths: tuple[tuple[Path, int], ...]


@dataclass(frozen=True)
class Run:
    """The ranges of a kind's paths.

    length: least and largest, as a share of the picture's shorter side. width: least and largest,
    in pixels. bend, jag: drift and jumps of the direction per step, in radians. branches,
    parallel: the largest number of branches and of parallel paths.
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
