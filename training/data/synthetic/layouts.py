"""Layouts: a few things, rows, crowds, tilings, a wall of windows, a scratched surface, ...

Each layout draws into a `Builder`; later things cover earlier ones. Sizes are shares of the
picture's shorter side, so a scene looks the same at any resolution. All ranges are a *choice*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.masks import spread
from training.data.synthetic.scene import Builder, Place
from training.data.synthetic.shapes import RUNS, Points, box, wavy
from training.prompts.vocabulary import related

ABSTRACT = (
    "arrow", "blob", "circle", "crescent", "cross", "diamond", "frame", "gear", "heart", "hexagon",
    "line", "rectangle", "ring", "rod", "square", "star", "stroke", "triangle", "thread",
)  # fmt: skip
THINGS = (
    *ABSTRACT, "ball", "bubble", "button", "dot", "drop", "flower", "leaf", "mushroom", "splatter",
    "stain", "stone", "wheel", "worm",
)  # fmt: skip
GROWING = ("sprout", "grass tuft", "leaf", "flower", "stone", "mushroom", "thread")
DEFECTS = (
    "crack", "scratch", "stain", "hole", "patch", "line", "splatter", "dot", "stroke", "thread",
)  # fmt: skip
CROWDED = (
    "ball", "blob", "bubble", "button", "cell", "circle", "dot", "drop", "flower", "leaf",
    "mushroom cap", "ring", "rod", "square", "star", "stone", "triangle", "hole", "worm", "sprout",
)  # fmt: skip
MICROSCOPIC = ("cell", "rod", "dot", "ring", "worm", "thread", "bubble", "blob")
ON_THINGS = ("dot", "ring", "star", "cross", "hole", "square", "triangle", "heart", "diamond")
TILES = ("tile", "brick", "panel", "hexagon", "cell", "stone")
KINDS = tuple(
    sorted(
        {
            *THINGS, *GROWING, *DEFECTS, *CROWDED, *MICROSCOPIC, *ON_THINGS, *TILES,
            "nucleus", "wall", "window", "door",
        }
    )
)  # fmt: skip
"""Every kind that a scene can contain."""

# The most things of a crowd or a tiling.
MOST = 110


@dataclass(frozen=True)
class Layout:
    """A way to fill a scene. styles: weight by name of style. share: its weight among layouts."""

    fill: Callable[[Builder], None]
    styles: Mapping[str, float]
    share: float


def _kinds(builder: Builder, among: Sequence[str], count: int) -> list[str]:
    """Up to ``count`` kinds that are mostly not confused with each other."""
    rng = builder.rng
    chosen: list[str] = []
    for kind in map(str, rng.permutation(among)):
        if not any(related(kind, other) for other in chosen) or rng.random() < 0.1:
            chosen.append(kind)
        if len(chosen) == count:
            break
    return chosen


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def few(builder: Builder) -> None:
    """Two to ten things of one to four kinds; several of a kind differ in colour and size.

    Some have smaller things on them, in some scenes most.
    """
    rng, side = builder.rng, builder.side
    kinds = _kinds(builder, _things(builder), int(rng.integers(1, 5)))
    looks = builder.looks(int(rng.integers(1, 5)), 0.15 * side)
    stacked = float(rng.choice([0.1, 0.1, 0.8]))
    typical = _log(rng, 0.07, 0.22) * side
    for place in builder.apart(int(rng.integers(2, 11)), typical * float(rng.uniform(0.8, 1.9))):
        kind = builder.pick(kinds)
        size = min(typical * _log(rng, 0.5, 2.0), (0.05 if kind == "dot" else 1.0) * side)
        drawn = builder.put(kind, place, size, builder.pick(looks))
        if not drawn or kind in RUNS or size < 0.05 * side or rng.random() > stacked:
            continue
        other = _kinds(builder, ON_THINGS, 1)[0]
        if not related(other, kind):
            on, look = builder.near(place, 0.15 * size), builder.looks(1, size)[0]
            builder.put(other, on, size * float(rng.uniform(0.2, 0.6)), look)


def _things(builder: Builder) -> Sequence[str]:
    """On a photograph, which may show anything, only abstract shapes."""
    return THINGS if builder.palette.background is None else ABSTRACT


def rows(builder: Builder) -> None:
    """Things in a row, a column or a grid, for words of order."""
    rng, side = builder.rng, builder.side
    short = [kind for kind in _things(builder) if kind not in RUNS]
    kinds = _kinds(builder, short, int(rng.choice([1, 1, 1, 2])))
    way = str(rng.choice(["row", "column", "grid"], p=(0.4, 0.3, 0.3)))
    down = 1 if way == "row" else int(rng.integers(2, 7))
    across = 1 if way == "column" else int(rng.integers(2, 8))
    step = np.array([builder.width / across, builder.height / down])
    size = float(rng.uniform(0.22, 0.48)) * min(*step, 0.6 * side)
    looks = builder.looks(int(rng.integers(1, 5)), size)
    loose = float(rng.choice([0.03, 0.12]))
    # A single row or column may be off the middle of the picture.
    aside = rng.uniform(-0.2, 0.2, 2) * (across == 1, down == 1)
    for row, column in np.ndindex(down, across):
        x, y = (np.array([column, row]) + 0.5 + aside + rng.normal(0, loose, 2)) * step
        own = size * _log(rng, 0.7, 1.25)
        builder.put(builder.pick(kinds), (float(x), float(y)), own, builder.pick(looks))


def crowd(builder: Builder, among: Sequence[str] = CROWDED, fewest: int = 10) -> None:
    """Up to a hundred of a kind, or of two: apart, touching or in clusters."""
    rng, side = builder.rng, builder.side
    kinds = _kinds(builder, among, int(rng.choice([1, 1, 2])))
    count = int(_log(rng, fewest, MOST if rng.random() < 0.5 else 40))
    room = np.sqrt(builder.width * builder.height / count)
    size = float(np.clip(rng.uniform(0.22, 0.55) * room, 2.5, 0.25 * side))
    looks = {kind: builder.looks(int(rng.choice([1, 1, 2, 3])), size) for kind in kinds}
    spreads = float(rng.choice([0.08, 0.2, 0.45]))
    for place in _places(builder, count, size):
        kind = kinds[0] if rng.random() < 0.75 else kinds[-1]
        own = size * float(np.exp(rng.normal(0, spreads)))
        own = min(own, 0.03 * side) if kind == "dot" else own
        number = builder.put(kind, place, own, builder.pick(looks[kind]))
        if kind == "cell" and own > 7 and number and builder.nuclei is not None:
            core, inner = builder.near(place, 0.15 * own), own * float(rng.uniform(0.25, 0.5))
            builder.put("nucleus", core, inner, builder.nuclei, whole=number)


def _places(builder: Builder, count: int, size: float) -> list[Place]:
    """About ``count`` places: apart, in clusters, or on a grid."""
    rng, whole = builder.rng, np.array([builder.width, builder.height])
    way = rng.random()
    if way < 0.45:
        return builder.apart(count, size * float(rng.uniform(1.2, 2.3)))
    if way < 0.75:
        centres = rng.uniform((0, 0), whole, (int(rng.integers(2, 7)), 2))
        near = centres[rng.integers(len(centres), size=count)]
        near += rng.normal(0, np.sqrt(count / len(centres)) * size, (count, 2))
        places = spread(near, size * float(rng.uniform(1.0, 1.9)), count)
    else:
        across = max(round(np.sqrt(count * builder.width / builder.height)), 1)
        down = max(round(count / across), 1)
        grid = np.array(list(np.ndindex(across, down))) + 0.5
        grid[:, 0] += 0.5 * (np.floor(grid[:, 1]) % 2) * (rng.random() < 0.5)
        grid += rng.normal(0, float(rng.choice([0.02, 0.15])), grid.shape)
        places = grid / (across, down) * whole
    return [(float(x), float(y)) for x, y in places]


def micrograph(builder: Builder) -> None:
    """Cells, bacteria and fibres as under a microscope."""
    builder.nuclei = builder.looks(1, 10)[0] if builder.rng.random() < 0.4 else None
    crowd(builder, MICROSCOPIC)


def plants(builder: Builder) -> None:
    """Plants and stones from above, from a few large ones to many small ones."""
    crowd(builder, GROWING, fewest=3)


# Corners in units of the cell's width and height; hexagons reach into the neighbouring rows.
SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
HEXAGON = np.array([(3, -1), (6, 1), (6, 5), (3, 7), (0, 5), (0, 1)]) / 6


def tiling(builder: Builder) -> None:
    """Tiles, bricks, panels or cells that share their borders, with stains on them."""
    rng = builder.rng
    kind = str(rng.choice(TILES))
    aspect = {"brick": 2.4, "panel": float(rng.choice([1.0, 1.6, 0.6]))}.get(kind, 1.0)
    natural = kind in ("cell", "stone")
    hexagonal = natural or kind == "hexagon"
    # The number of rows keeps the number of cells below the limit.
    rows = int(np.sqrt(MOST * aspect * builder.height / builder.width))
    down = int(rng.integers(2, max(min(9, rows), 3)))
    high = builder.height / (down - float(rng.uniform(0, 0.8)))
    wide = high * aspect * float(rng.uniform(1.0, 1.15))
    across = int(np.ceil(builder.width / wide)) + 1
    loose = float(rng.uniform(0.12, 0.25)) if natural else float(rng.choice([0, 0, 0.02]))
    # Neighbours share their corners, so each corner is moved once, by its place.
    moves = rng.normal(0, loose, (6 * down + 14, 2 * across + 6, 2))
    gap = float(rng.uniform(0.8, 0.97)) if min(wide, high) > 10 else 0.85
    looks = builder.looks(int(rng.choice([1, 1, 2, 3])), high / 2)
    turn = float(rng.normal(0, 0.05)) if rng.random() < 0.5 else 0.0
    for row, column in list(np.ndindex(down, across))[:MOST]:
        shift = 0.5 * (row % 2) if hexagonal or kind == "brick" else 0.0
        corners = (HEXAGON if hexagonal else SQUARE) + (column - shift, row)
        keys = np.round((corners + 1) * (2, 6)).astype(int)
        corners = (corners + moves[keys[:, 1], keys[:, 0]]) * (wide, high)
        x, y = corners.mean(0)
        outline = (corners - (x, y)) * gap
        shape = [(_rounded(outline) if natural else outline, True)]
        size = min(wide, high) / 2
        builder.put(kind, (float(x), float(y)), size, builder.pick(looks), turn=turn, shape=shape)
    if rng.random() < 0.6:
        defects(builder, int(rng.integers(1, 6)), 0.5 * builder.side)


def _rounded(corners: Points) -> Points:
    """2N,2: each of N corners cut off (Chaikin 1974)."""
    following = np.roll(corners, -1, 0)
    cut = [0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following]
    return np.stack(cut, 1).reshape(-1, 2)


def facade(builder: Builder) -> None:
    """A wall with rows of windows, a door, and things in front of it."""
    rng, side = builder.rng, builder.side
    wall, frame, door = builder.looks(3, 0.1 * side)
    if rng.random() < 0.6:
        half = builder.width * float(rng.uniform(0.4, 0.55)), 0.5 * builder.height
        place = builder.width / 2, builder.height * float(rng.uniform(0.5, 0.6))
        builder.put("wall", place, min(half), wall, turn=0.0, shape=[(box(*half), True)])
    down, across = int(rng.integers(2, 8)), int(rng.integers(2, 10))
    step_x, step_y = builder.width / (across + 0.6), builder.height / (down + 0.6)
    high = float(rng.uniform(0.25, 0.4)) * step_y
    wide = min(high * float(rng.uniform(0.5, 1.1)), 0.42 * step_x)
    lean = float(rng.normal(0, 0.04))
    door_at = int(rng.integers(across)) if rng.random() < 0.6 else -1
    for row, column in np.ndindex(down, across):
        x, y = (column + 0.8) * step_x, (row + 0.8 + lean * column) * step_y
        kind, look, half = "window", frame, (wide, high)
        if row == down - 1 and column == door_at:
            # It reaches down to the ground.
            bottom = max(builder.height - y, high)
            kind, look, half = "door", door, (1.2 * wide, (bottom + high) / 2)
            y += half[1] - high
        builder.put(kind, (x, y), min(half), look, turn=lean, shape=[(box(*half), True)])
    if rng.random() < 0.4:
        kind = _kinds(builder, ("sprout", "grass tuft", "crack", "stain", "line"), 1)[0]
        for _ in range(int(rng.integers(1, 4))):
            size, look = _log(rng, 0.06, 0.2) * side, builder.looks(1, 10)[0]
            builder.put(kind, builder.anywhere(), size, look)


def surface(builder: Builder) -> None:
    """A surface with some defects."""
    defects(builder, int(_log(builder.rng, 1, 16)), builder.side)


def defects(builder: Builder, count: int, side: float) -> None:
    """Cracks, stains and the like, of sizes that are shares of ``side``."""
    rng = builder.rng
    kinds = _kinds(builder, DEFECTS, int(rng.choice([1, 1, 2, 3])))
    looks = builder.looks(int(rng.choice([1, 2])), 0.1 * side)
    for _ in range(count):
        kind = builder.pick(kinds)
        size = _log(rng, 0.03, 0.3) * side * (2.0 if kind == "patch" else 1.0)
        if kind in ("dot", "hole"):
            size = _log(rng, 0.012, 0.06) * side
        flat = _log(rng, 0.2, 1.0) if kind in ("stain", "patch") else 1.0
        turn = float(rng.normal(0, 0.2)) if flat < 0.5 else None
        builder.put(kind, builder.anywhere(), size, builder.pick(looks), flat=flat, turn=turn)


def strings(builder: Builder) -> None:
    """Long and thin things that cross each other."""
    rng, side = builder.rng, builder.side
    kinds = _kinds(builder, tuple(RUNS), int(rng.choice([1, 1, 2])))
    looks = builder.looks(int(rng.integers(1, 5)), 0.1 * side)
    for _ in range(int(_log(rng, 2, 16))):
        place = builder.anywhere(0.1 * side)
        builder.put(builder.pick(kinds), place, side / 3, builder.pick(looks))
    if rng.random() < 0.3:
        few(builder)


def regions(builder: Builder) -> None:
    """A few large areas that cover each other, with small things on them."""
    rng, side = builder.rng, builder.side
    looks = builder.looks(4, 0.3 * side)
    for _ in range(int(rng.integers(2, 5))):
        size = float(rng.uniform(0.3, 0.7)) * side
        shape = [(size * wavy(rng, 0.25, harmonics=6), True)]
        builder.put("patch", builder.anywhere(), size, builder.pick(looks), shape=shape)
    kind = _kinds(builder, ("star", "dot", "leaf", "ring", "line", "triangle"), 1)[0]
    for _ in range(int(_log(rng, 1, 16))):
        builder.put(kind, builder.anywhere(), _log(rng, 0.03, 0.1) * side, builder.pick(looks))


LAYOUTS = (
    Layout(few, {"vivid": 5, "natural": 3, "paper": 1, "metal": 1, "panel": 1, "glowing": 0.5}, 6),
    Layout(rows, {"vivid": 4, "natural": 2, "paper": 1, "wall": 1, "metal": 1, "glowing": 0.5}, 3),
    Layout(crowd, {"natural": 3, "vivid": 2, "glowing": 1, "soil": 1, "stained": 1, "metal": 1}, 3),
    Layout(micrograph, {"glowing": 3, "stained": 2, "metal": 0.5}, 2),
    Layout(plants, {"soil": 4, "natural": 1}, 2),
    Layout(tiling, {"wall": 2, "panel": 3, "natural": 2, "stained": 1, "vivid": 1, "metal": 1}, 2),
    Layout(facade, {"wall": 3, "natural": 1, "vivid": 0.5}, 1),
    Layout(surface, {"metal": 4, "wall": 1, "natural": 1, "paper": 0.5, "panel": 1}, 2.5),
    Layout(strings, {"vivid": 2, "paper": 2, "natural": 1, "glowing": 1, "stained": 1}, 1),
    Layout(regions, {"natural": 2, "vivid": 1, "panel": 1, "metal": 1, "stained": 0.5}, 1),
)
