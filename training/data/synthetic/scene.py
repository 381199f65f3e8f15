"""A synthetic scene while it is drawn: the id map, the thing of each id, and tilings of cells."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.data.synthetic.palette import Body, Palette, Surface
from training.data.synthetic.shapes import RUNS, SHAPES, STANDING, Points, Shape, Trace, trace

# The most things in a scene: ids fit into a byte, where 255 is void in stored samples.
MOST = 250
# Wider paths, in pixels, get round joints and ends, which Pillow draws slowly.
ROUNDED = 4


class Canvas:
    """The id map while it is drawn, without smoothing: each pixel shows one thing."""

    def __init__(self, height: int, width: int) -> None:
        self.size = height, width
        self._ids = Image.new("L", (width, height))
        self._draw = ImageDraw.Draw(self._ids)
        self._areas: list[int] = [0]

    @property
    def count(self) -> int:
        """The number of things drawn, which is the last one's id."""
        return len(self._areas) - 1

    @property
    def full(self) -> bool:
        return self.count >= MOST

    def ids(self) -> NDArray[np.uint8]:
        """H,W: the id of each pixel, 0 where nothing was drawn."""
        return np.asarray(self._ids)

    def seen(self) -> NDArray[np.int64]:
        """By id, the number of visible pixels."""
        return np.array(self._ids.histogram()[: len(self._areas)])

    def areas(self) -> NDArray[np.int64]:
        """By id, the number of pixels covered when drawn."""
        return np.array(self._areas)

    def shape(
        self,
        shape: Shape,
        centre: tuple[float, float],
        size: tuple[float, float],
        turn: float,
    ) -> int:
        """Draw a shape with these radii (across and down, before rotation); returns its id."""
        across, down = math.cos(turn), math.sin(turn)
        axes = np.array([(size[0] * across, size[0] * down), (-size[1] * down, size[1] * across)])
        middle = np.array(centre)
        placed = [(points @ axes + middle, fills) for points, fills in shape]
        if len(placed) == 1:
            points = placed[0][0]
            (left, top), (right, bottom) = points.min(0), points.max(0)
            if left >= 0 and top >= 0 and right < self.size[1] - 1 and bottom < self.size[0] - 1:
                return self._polygon(points)
        every = np.concatenate([points for points, fills in placed if fills])
        box = self._box(every.min(0), every.max(0))
        if box is None:
            return self._added(None, (0, 0))
        low, stencil = box
        draw = ImageDraw.Draw(stencil)
        for points, fills in placed:
            draw.polygon((points - low).ravel().tolist(), fill=255 if fills else 0)
        return self._added(stencil, low)

    def trace(self, trace: Trace) -> int:
        """Draw long and thin paths; returns their id."""
        reach = max(width for _, width in trace.paths) / 2 + 1
        every = np.concatenate([path for path, _ in trace.paths])
        box = self._box(every.min(0) - reach, every.max(0) + reach)
        if box is None:
            return self._added(None, (0, 0))
        low, stencil = box
        draw = ImageDraw.Draw(stencil)
        for path, width in trace.paths:
            points = (path - low).ravel().tolist()
            draw.line(points, fill=255, width=width, joint="curve" if width > ROUNDED else None)
            if width > ROUNDED:
                for x, y in (points[:2], points[-2:]):
                    draw.circle((x, y), width / 2, fill=255)
        return self._added(stencil, low)

    def _polygon(self, points: NDArray[np.float64]) -> int:
        """Draw a single polygon that is entirely in the picture: the common, fastest case."""
        number = self.count + 1
        self._draw.polygon(points.ravel().tolist(), fill=number)
        x, y = np.concatenate([points, points[:1]]).T
        area = 0.5 * abs(float(x[1:] @ y[:-1] - y[1:] @ x[:-1]))
        self._areas.append(round(area))
        return number

    def _box(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[tuple[int, int], Image.Image] | None:
        """The corner and an empty stencil of the visible part of a box; None if there is none."""
        left, top = max(int(low[0]), 0), max(int(low[1]), 0)
        right = min(int(high[0]) + 2, self.size[1])
        bottom = min(int(high[1]) + 2, self.size[0])
        if right <= left or bottom <= top:
            return None
        return (left, top), Image.new("L", (right - left, bottom - top))

    def _added(self, stencil: Image.Image | None, corner: tuple[int, int]) -> int:
        covered = 0
        number = self.count + 1
        if stencil is not None:
            self._ids.paste(number, corner, stencil)
            covered = stencil.histogram()[255]
        self._areas.append(covered)
        return number


# A pattern that repeats less often than this within a thing is not named.
REPEATS = 2.5
# Number of different shapes of one kind in a scene.
STOCK = 12


@dataclass(frozen=True)
class SceneObject:
    """A thing of a scene. kind: its category. whole: the id of what it is a part of, 0 of none."""

    kind: str
    body: Body
    whole: int = 0

    @property
    def pattern(self) -> str:
        """The word for its surface ("plain", "striped", ...); "" if unsure."""
        look = self.body.look
        if look.period and 2 * self.body.size < REPEATS * look.period:
            return ""
        return look.pattern


class Builder:
    """Draws things over each other and records what they are."""

    def __init__(self, height: int, width: int, palette: Palette, rng: np.random.Generator) -> None:
        self.height, self.width = height, width
        self.side = min(height, width)
        self.palette = palette
        self.rng = rng
        self.canvas = Canvas(height, width)
        self.things: list[SceneObject] = []
        self._stock: dict[str, list[Shape]] = {}
        # The surface of the nuclei of cells; None without nuclei.
        self.nuclei: Surface | None = None

    def put(
        self,
        kind: str,
        centre: tuple[float, float],
        size: float,
        look: Surface,
        *,
        turn: float | None = None,
        shape: Shape | None = None,
        flat: float = 1.0,
        whole: int = 0,
    ) -> int:
        """Draw one thing and return its id; 0 if the scene is full.

        size: radius in pixels; long and thin kinds choose their own. turn: in radians, by default
        random. shape: instead of a random one of the kind. flat: height as a share of the width.
        whole: the id of what it is a part of.
        """
        if self.canvas.full:
            return 0
        rng = self.rng
        if kind == "hole":
            look = self.palette.hole()
        if kind in RUNS:
            number = self.canvas.trace(trace(kind, centre, self.side, rng))
        else:
            if turn is None:
                turn = float(rng.normal(0, 0.15) if kind in STANDING else rng.uniform(0, 2 * np.pi))
            drawn = shape if shape is not None else self._shape(kind)
            number = self.canvas.shape(drawn, centre, (size, size * flat), turn)
        self.things.append(SceneObject(kind, Body(look, *centre, size), whole))
        return number

    def _shape(self, kind: str) -> Shape:
        """A random shape of the kind; after STOCK shapes, one of them again."""
        stock = self._stock.setdefault(kind, [])
        if len(stock) < STOCK:
            stock.append(SHAPES[kind](self.rng))
            return stock[-1]
        return stock[int(self.rng.integers(STOCK))]

    def resized(self, size: float) -> None:
        """Set the size in pixels of the last thing, whose shape was given in pixels."""
        last = self.things[-1]
        self.things[-1] = replace(last, body=replace(last.body, size=size))

    def looks(self, count: int, size: float) -> list[Surface]:
        """``count`` different surfaces for things of about this radius in pixels."""
        looks: list[Surface] = []
        for _ in range(count):
            period = float(np.clip(size * self.rng.uniform(0.3, 0.8), 4.0, 24.0))
            looks.append(self.palette.look(period, unlike=looks[-3:]))
        return looks

    def pick(self, looks: list[Surface]) -> Surface:
        return looks[int(self.rng.integers(len(looks)))]

    def anywhere(self, margin: float = 0.0) -> tuple[float, float]:
        """A random place at least ``margin`` pixels from the border."""
        x = self.rng.uniform(margin, max(self.width - margin, margin + 1))
        y = self.rng.uniform(margin, max(self.height - margin, margin + 1))
        return float(x), float(y)

    def apart(self, count: int, distance: float) -> list[tuple[float, float]]:
        """Up to ``count`` random places at least ``distance`` pixels apart."""
        tries = self.rng.uniform((0, 0), (self.width, self.height), (8 * count, 2))
        chosen = np.empty((count, 2))
        made = 0
        for place in tries:
            if not made or ((chosen[:made] - place) ** 2).sum(1).min() >= distance**2:
                chosen[made] = place
                made += 1
                if made == count:
                    break
        return [(float(x), float(y)) for x, y in chosen[:made]]


TILES = ("tile", "brick", "panel", "hexagon", "cell", "stone")


def tile(builder: Builder, most: int) -> None:
    """Cover the scene with up to ``most`` cells of one kind and size."""
    rng = builder.rng
    kind = str(rng.choice(TILES))
    aspect = {"brick": 2.4, "panel": float(rng.choice([1.0, 1.6, 0.6]))}.get(kind, 1.0)
    # The number of rows keeps the number of cells below the limit.
    rows = math.sqrt(most * aspect * builder.height / builder.width)
    down = int(rng.integers(2, max(min(9, int(rows)), 3)))
    high = builder.height / (down - float(rng.uniform(0, 0.8)))
    wide = high * aspect * float(rng.uniform(1.0, 1.15))
    across = int(np.ceil(builder.width / wide)) + 1
    natural = kind in ("cell", "stone")
    loose = float(rng.uniform(0.12, 0.25)) if natural else float(rng.choice([0, 0, 0.02]))
    gap = float(rng.uniform(0.8, 0.97)) if min(wide, high) > 10 else 0.85
    looks = builder.looks(int(rng.choice([1, 1, 2, 3])), high / 2)
    shifted = kind in ("brick", "hexagon", "cell", "stone")
    hexagonal = kind in ("hexagon", "cell", "stone")
    lattice = _Grid(across, down, rng, loose, shifted=shifted, hexagonal=hexagonal)
    turn = float(rng.normal(0, 0.05)) if rng.random() < 0.5 else 0.0
    for row in range(down):
        for column in range(across):
            ring = lattice.cell(row, column) * (wide, high)
            middle = ring.mean(0)
            shape = [((ring - middle) * gap, True)]
            if natural:
                shape = [(_rounded(shape[0][0]), True)]
            place = float(middle[0]), float(middle[1])
            number = builder.put(kind, place, 1.0, builder.pick(looks), turn=turn, shape=shape)
            if number:
                builder.resized(min(wide, high) / 2)
            if builder.canvas.count >= most:
                break


# Corners in units of the cell's width and height; hexagons reach into the neighbouring rows.
_SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
_HEXAGON = np.array([(3, -1), (6, 1), (6, 5), (3, 7), (0, 5), (0, 1)]) / 6


class _Grid:
    """Cells that share their corners.

    loose: standard deviation of the corners' random shifts, in units of a cell. shifted: every
    second row is shifted by half a cell.
    """

    def __init__(
        self,
        across: int,
        down: int,
        rng: np.random.Generator,
        loose: float,
        *,
        shifted: bool,
        hexagonal: bool,
    ) -> None:
        self._moved = rng.normal(0, loose, (6 * down + 14, 2 * across + 6, 2))
        self._shifted = shifted
        self._corners = _HEXAGON if hexagonal else _SQUARE

    def cell(self, row: int, column: int) -> Points:
        """N,2: the corners of a cell, in units of a cell's width and height."""
        start = np.array([column - 0.5 * (row % 2) * self._shifted, row])
        corners = self._corners + start
        keys = np.round((corners + 1) * (2, 6)).astype(int)
        moved: Points = corners + self._moved[keys[:, 1], keys[:, 0]]
        return moved


def _rounded(corners: Points) -> Points:
    """2N,2: each of N corners cut off (Chaikin 1974)."""
    following = np.roll(corners, -1, 0)
    return np.stack(
        [0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following], 1
    ).reshape(-1, 2)
