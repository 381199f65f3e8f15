"""Layouts: a few things, rows, crowds, tilings, a wall of windows, a scratched surface, ...

Each layout draws into a `Builder`; later things cover earlier ones. Sizes are shares of the
picture's shorter side, so a scene looks the same at any resolution. All ranges are a *choice*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.synthetic.palette import Surface
from training.data.synthetic.scene import TILES, Builder, tile
from training.data.synthetic.shapes import RUNS, Points, box, polar, wavy
from training.prompts.vocabulary import related

ABSTRACT = (
    "arrow", "blob", "circle", "crescent", "cross", "diamond", "frame", "gear", "heart", "hexagon",
    "line", "rectangle", "ring", "rod", "square", "star", "stroke", "triangle", "thread",
)  # fmt: skip
THINGS = (
    *ABSTRACT, "ball", "bubble", "button", "dot", "drop", "flower", "leaf", "mushroom", "splatter",
    "stain", "stone", "wheel", "worm",
)  # fmt: skip
GROWING = ("sprout", "grass tuft", "leaf", "flower", "stone", "sprout", "mushroom", "thread")
DEFECTS = (
    "crack",
    "scratch",
    "stain",
    "hole",
    "patch",
    "line",
    "splatter",
    "dot",
    "stroke",
    "thread",
)
CROWDED = (
    "ball", "blob", "bubble", "button", "cell", "circle", "dot", "drop", "flower", "leaf",
    "mushroom cap", "ring", "rod", "square", "star", "stone", "triangle", "hole", "worm", "sprout",
)  # fmt: skip
MICROSCOPIC = ("cell", "cell", "rod", "dot", "ring", "worm", "thread", "bubble", "blob")
STANDING_ON_WALLS = ("window", "door")
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
    for kind in rng.permutation(sorted(set(among))):
        if not any(related(str(kind), other) for other in chosen) or rng.random() < 0.1:
            chosen.append(str(kind))
        if len(chosen) == count:
            break
    return chosen


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def few(builder: Builder) -> None:
    """Two to ten things of one to four kinds; several of a kind differ in colour and size."""
    rng, side = builder.rng, builder.side
    among = ABSTRACT if builder.palette.busy else THINGS
    kinds = _kinds(builder, among, int(rng.integers(1, 5)))
    looks = builder.looks(int(rng.integers(1, 5)), 0.15 * side)
    count = int(rng.integers(2, 11))
    typical = _log(rng, 0.07, 0.22)
    for place in builder.apart(count, 1.3 * typical * side * float(rng.uniform(0.6, 1.5))):
        kind = kinds[int(rng.integers(len(kinds)))]
        size = typical * _log(rng, 0.5, 2.0) * side
        if kind == "dot":
            size = min(size, 0.05 * side)
        _put(builder, kind, place, size, builder.pick(looks))


def _put(
    builder: Builder, kind: str, place: tuple[float, float], size: float, look: Surface
) -> None:
    """Draw one thing, sometimes with a smaller thing on it."""
    number = builder.put(kind, place, size, look)
    if number == 0 or kind in RUNS or size < 0.05 * builder.side:
        return
    chance = builder.rng.random()
    if chance < 0.12:
        other = _kinds(builder, ("dot", "ring", "star", "cross", "hole", "square"), 1)[0]
        if not related(other, kind):
            away = builder.rng.normal(0, 0.2 * size, 2)
            on = place[0] + float(away[0]), place[1] + float(away[1])
            builder.put(
                other, on, size * float(builder.rng.uniform(0.2, 0.4)), builder.looks(1, size)[0]
            )


def rows(builder: Builder) -> None:
    """Things in a row, a column or a grid, for words of order."""
    rng, side = builder.rng, builder.side
    among = ABSTRACT if builder.palette.busy else THINGS
    short = [kind for kind in among if kind not in RUNS]
    kinds = _kinds(builder, short, int(rng.choice([1, 1, 1, 2])))
    way = rng.random()
    down, across = 1, 1
    if way < 0.4:
        across = int(rng.integers(2, 8))
    elif way < 0.7:
        down = int(rng.integers(2, 7))
    else:
        down, across = int(rng.integers(2, 5)), int(rng.integers(2, 7))
    step_x, step_y = builder.width / across, builder.height / down
    size = float(rng.uniform(0.22, 0.48)) * min(step_x, step_y, 0.6 * side)
    looks = builder.looks(int(rng.integers(1, 5)), size)
    loose = float(rng.choice([0.03, 0.12]))
    middle = rng.uniform(0.3, 0.7) * (builder.height if down == 1 else builder.width)
    for row in range(down):
        for column in range(across):
            x = (column + 0.5 + rng.normal(0, loose)) * step_x
            y = (row + 0.5 + rng.normal(0, loose)) * step_y
            if down == 1:
                y = middle + rng.normal(0, loose) * side
            if across == 1:
                x = middle + rng.normal(0, loose) * side
            kind = kinds[int(rng.integers(len(kinds)))]
            builder.put(
                kind, (float(x), float(y)), size * _log(rng, 0.7, 1.25), builder.pick(looks)
            )


def crowd(builder: Builder, among: Sequence[str] = CROWDED) -> None:
    """A dozen to a hundred of a kind, or of two: apart, touching or in clusters."""
    rng, side = builder.rng, builder.side
    kinds = _kinds(builder, among, int(rng.choice([1, 1, 2])))
    count = int(_log(rng, 10, MOST if rng.random() < 0.5 else 40))
    room = np.sqrt(builder.width * builder.height / count)
    size = float(np.clip(rng.uniform(0.22, 0.55) * room, 2.5, 0.2 * side))
    looks = builder.looks(int(rng.choice([1, 1, 2, 3])), size)
    spread = float(rng.choice([0.08, 0.2, 0.45]))
    for place in _places(builder, count, size):
        kind = kinds[0] if len(kinds) == 1 or rng.random() < 0.75 else kinds[1]
        own = size * float(np.exp(rng.normal(0, spread)))
        if kind == "dot":
            own = min(own, 0.03 * side)
        number = builder.put(kind, place, own, builder.pick(looks))
        if kind == "cell" and own > 7 and number and builder.nuclei is not None:
            inside = rng.normal(0, 0.15 * own, 2)
            core = place[0] + float(inside[0]), place[1] + float(inside[1])
            builder.put(
                "nucleus", core, own * float(rng.uniform(0.25, 0.5)), builder.nuclei, whole=number
            )


def _places(builder: Builder, count: int, size: float) -> list[tuple[float, float]]:
    rng = builder.rng
    way = rng.random()
    if way < 0.45:
        return builder.apart(count, size * float(rng.uniform(1.2, 2.3)))
    if way < 0.75:
        centres = rng.uniform((0, 0), (builder.width, builder.height), (int(rng.integers(2, 7)), 2))
        near = centres[rng.integers(len(centres), size=count)]
        scattered = near + rng.normal(0, np.sqrt(count / len(centres)) * size, (count, 2))
        return _spread(scattered, size * float(rng.uniform(1.0, 1.9)))
    across = max(round(np.sqrt(count * builder.width / builder.height)), 1)
    down = max(round(count / across), 1)
    grid = np.stack(np.meshgrid(np.arange(across) + 0.5, np.arange(down) + 0.5), -1).reshape(-1, 2)
    if rng.random() < 0.5:
        grid[:, 0] += 0.5 * (np.floor(grid[:, 1]) % 2)
    grid += rng.normal(0, float(rng.choice([0.02, 0.15])), grid.shape)
    return [(float(x), float(y)) for x, y in grid * (builder.width / across, builder.height / down)]


def _spread(places: Points, distance: float) -> list[tuple[float, float]]:
    """The places at least this distance from all kept before them."""
    kept: list[Points] = []
    for place in places:
        if not kept or ((np.array(kept) - place) ** 2).sum(1).min() >= distance**2:
            kept.append(place)
    return [(float(x), float(y)) for x, y in kept]


def micrograph(builder: Builder) -> None:
    """Cells, bacteria and fibres as under a microscope."""
    builder.nuclei = builder.looks(1, 10)[0] if builder.rng.random() < 0.4 else None
    crowd(builder, MICROSCOPIC)


def tiling(builder: Builder) -> None:
    """Tiles, bricks, panels or cells that share their borders, with stains on them."""
    tile(builder, MOST)
    if builder.rng.random() < 0.6:
        blemishes(builder, int(builder.rng.integers(1, 6)), 0.5 * builder.side)


def facade(builder: Builder) -> None:
    """A wall with rows of windows, a door, and things in front of it."""
    rng, side = builder.rng, builder.side
    wall, frame, door = builder.looks(3, 0.1 * side)
    if rng.random() < 0.6:
        top = float(rng.uniform(0.0, 0.2)) * builder.height
        half = (builder.width * float(rng.uniform(0.4, 0.55)), (builder.height - top) / 2)
        place = (builder.width / 2, top + half[1])
        builder.put("wall", place, 1.0, wall, turn=0.0, shape=[(box(*half), True)])
    down, across = int(rng.integers(2, 8)), int(rng.integers(2, 10))
    step_x, step_y = builder.width / (across + 0.6), builder.height / (down + 0.6)
    high = float(rng.uniform(0.25, 0.4)) * step_y
    wide = min(high * float(rng.uniform(0.5, 1.1)), 0.42 * step_x)
    lean = float(rng.normal(0, 0.04))
    arched = rng.random() < 0.15
    windows = [frame, *builder.looks(int(rng.integers(0, 2)), high)]
    door_at = int(rng.integers(across)) if rng.random() < 0.6 else -1
    for row in range(down):
        for column in range(across):
            x, y = (column + 0.8) * step_x, (row + 0.8) * step_y + lean * (column * step_x)
            low = row == down - 1
            if low and column == door_at:
                half = 1.2 * wide, 0.5 * builder.height - 0.5 * y + 0.5 * high
                builder.put(
                    "door",
                    (x, y - high + half[1]),
                    1.0,
                    door,
                    turn=lean,
                    shape=[(box(*half), True)],
                )
                continue
            if rng.random() < 0.06:
                continue
            shape = [(box(wide, high), True)]
            if arched:
                shape.append((polar(np.full(16, wide)) - (0.0, high), True))
            builder.put("window", (x, y), 1.0, builder.pick(windows), turn=lean, shape=shape)
            builder.resized(min(wide, high))
    if rng.random() < 0.4:
        for kind in _kinds(builder, ("sprout", "grass tuft", "crack", "stain", "line"), 1):
            for _ in range(int(rng.integers(1, 4))):
                place = builder.anywhere()
                builder.put(kind, place, _log(rng, 0.06, 0.2) * side, builder.looks(1, 10)[0])


def surface(builder: Builder) -> None:
    """A surface with some defects."""
    blemishes(builder, int(_log(builder.rng, 1, 16)), builder.side)


def blemishes(builder: Builder, count: int, side: float) -> None:
    rng = builder.rng
    kinds = _kinds(builder, DEFECTS, int(rng.choice([1, 1, 2, 3])))
    looks = builder.looks(int(rng.choice([1, 2])), 0.1 * side)
    for _ in range(count):
        kind = kinds[int(rng.integers(len(kinds)))]
        size = _log(rng, 0.03, 0.3) * side * (2.0 if kind == "patch" else 1.0)
        if kind in ("dot", "hole"):
            size = _log(rng, 0.012, 0.06) * side
        flat = _log(rng, 0.2, 1.0) if kind in ("stain", "patch") else 1.0
        turn = float(rng.normal(0, 0.2)) if flat < 0.5 else None
        builder.put(kind, builder.anywhere(), size, builder.pick(looks), flat=flat, turn=turn)


def field(builder: Builder) -> None:
    """Plants and stones from above, from a few large ones to many small ones."""
    rng, side = builder.rng, builder.side
    kinds = _kinds(builder, GROWING, int(rng.choice([1, 2, 2, 3])))
    count = int(_log(rng, 3, 60))
    size = float(
        np.clip(
            rng.uniform(0.3, 0.7) * np.sqrt(builder.width * builder.height / count), 4, 0.4 * side
        )
    )
    looks = {kind: builder.looks(int(rng.choice([1, 2])), size) for kind in kinds}
    for place in builder.apart(count, size * float(rng.uniform(0.8, 1.6))):
        kind = kinds[int(rng.integers(len(kinds)))]
        builder.put(kind, place, size * _log(rng, 0.4, 1.4), builder.pick(looks[kind]))


def strings(builder: Builder) -> None:
    """Long and thin things that cross each other."""
    rng = builder.rng
    kinds = _kinds(builder, tuple(RUNS), int(rng.choice([1, 1, 2])))
    looks = builder.looks(int(rng.integers(1, 5)), 0.1 * builder.side)
    for _ in range(int(_log(rng, 2, 16))):
        kind = kinds[int(rng.integers(len(kinds)))]
        builder.put(
            kind, builder.anywhere(0.1 * builder.side), builder.side / 3, builder.pick(looks)
        )
    if rng.random() < 0.3:
        few(builder)


def nested(builder: Builder) -> None:
    """Things on things: a target, a clock face, a flower with a centre."""
    rng, side = builder.rng, builder.side
    outer = _kinds(
        builder, ("circle", "square", "blob", "flower", "hexagon", "rectangle", "gear"), 1
    )[0]
    inner = _kinds(builder, ("ring", "star", "triangle", "cross", "heart", "diamond"), 1)[0]
    small = str(rng.choice(["dot", "dot", "drop", "line"]))
    looks = builder.looks(4, 0.2 * side)
    size = float(rng.uniform(0.16, 0.34))
    for place in builder.apart(int(rng.integers(1, 6)), 1.9 * size * side):
        own = size * side * _log(rng, 0.7, 1.2)
        builder.put(outer, place, own, builder.pick(looks[:2]))
        if rng.random() < 0.8:
            away = rng.normal(0, 0.1 * own, 2)
            on = place[0] + float(away[0]), place[1] + float(away[1])
            builder.put(inner, on, own * float(rng.uniform(0.45, 0.65)), looks[2])
        around = int(rng.choice([0, 1, 3, 5]))
        start = rng.uniform(0, 2 * np.pi)
        for number in range(around):
            angle = start + 2 * np.pi * number / around
            far = own * (0.75 if around > 1 else 0.1)
            on = place[0] + far * float(np.cos(angle)), place[1] + far * float(np.sin(angle))
            builder.put(small, on, max(own * 0.1, 2.0), looks[3])


def regions(builder: Builder) -> None:
    """A few large areas that cover each other, with small things on them."""
    rng, side = builder.rng, builder.side
    looks = builder.looks(4, 0.3 * side)
    for _ in range(int(rng.integers(2, 5))):
        shape = [(wavy(rng, 0.25, harmonics=6), True)]
        size = float(rng.uniform(0.3, 0.7)) * side
        builder.put("patch", builder.anywhere(), size, builder.pick(looks), shape=shape)
    kind = _kinds(builder, ("star", "dot", "leaf", "ring", "line", "triangle"), 1)[0]
    for _ in range(int(_log(rng, 1, 16))):
        builder.put(kind, builder.anywhere(), _log(rng, 0.03, 0.1) * side, builder.pick(looks))


LAYOUTS = (
    Layout(
        few, {"vivid": 5, "natural": 3, "paper": 1, "metal": 1, "panel": 0.5, "glowing": 0.5}, 5
    ),
    Layout(
        rows, {"vivid": 4, "natural": 2, "paper": 1, "wall": 1, "metal": 0.5, "glowing": 0.5}, 3
    ),
    Layout(crowd, {"natural": 3, "vivid": 2, "glowing": 1, "soil": 1, "stained": 1, "metal": 1}, 3),
    Layout(micrograph, {"glowing": 3, "stained": 2, "metal": 0.5}, 2),
    Layout(
        tiling, {"wall": 2, "panel": 3, "natural": 2, "stained": 1, "vivid": 1, "metal": 0.5}, 1.5
    ),
    Layout(facade, {"wall": 3, "natural": 1, "vivid": 0.5}, 1),
    Layout(
        surface,
        {"metal": 4, "wall": 1, "natural": 1, "paper": 0.5, "panel": 1, "stained": 0.5},
        2.5,
    ),
    Layout(field, {"soil": 4, "natural": 1}, 2),
    Layout(
        strings, {"vivid": 2, "paper": 2, "natural": 1, "glowing": 1, "stained": 1, "metal": 1}, 1
    ),
    Layout(nested, {"vivid": 3, "natural": 1, "paper": 1, "panel": 0.5}, 1.5),
    Layout(regions, {"natural": 2, "vivid": 1, "panel": 1, "metal": 1, "stained": 0.5}, 0.8),
)
KINDS = tuple(
    sorted(
        {
            *THINGS, *GROWING, *DEFECTS, *CROWDED, *MICROSCOPIC, *TILES, *STANDING_ON_WALLS, *RUNS,
            "nucleus", "wall",
        }
    )
)  # fmt: skip
"""Every kind that a scene can contain."""
