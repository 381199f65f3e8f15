"""A scene while it is put together: what was drawn, of which kind, with which surface."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.data.synthetic.canvas import Canvas
from training.data.synthetic.looks import Look, Palette
from training.data.synthetic.painting import Body
from training.data.synthetic.paths import RUNS, trace
from training.data.synthetic.shapes import SHAPES, STANDING, Shape

# A thing whose pattern repeats fewer than this many times is not called by it.
REPEATS = 2.5
# Different shapes of one kind in a scene.
STOCK = 12


@dataclass(frozen=True)
class Thing:
    """A thing of a scene. kind: its category. whole: the id of what it is a part of, 0 of none."""

    kind: str
    body: Body
    whole: int = 0

    @property
    def pattern(self) -> str:
        """What phrases may call its surface: "plain", "striped", ...; "" where that is unsure."""
        look = self.body.look
        if look.period and 2 * self.body.size < REPEATS * look.period:
            return ""
        return look.pattern


class Builder:
    """Draws things, one over the other, and keeps what they are."""

    def __init__(self, height: int, width: int, palette: Palette, rng: np.random.Generator) -> None:
        self.height, self.width = height, width
        self.side = min(height, width)
        self.palette = palette
        self.rng = rng
        self.canvas = Canvas(height, width)
        self.things: list[Thing] = []
        self._stock: dict[str, list[Shape]] = {}
        # What the nuclei of cells look like; None where cells show none.
        self.nuclei: Look | None = None

    def put(
        self,
        kind: str,
        centre: tuple[float, float],
        size: float,
        look: Look,
        *,
        turn: float | None = None,
        shape: Shape | None = None,
        flat: float = 1.0,
        whole: int = 0,
    ) -> int:
        """Draw one thing of this radius in pixels; its id. What runs long chooses its own size.

        turn: in radians, by default at random. shape: instead of a random one of the kind. flat:
        its height in terms of its width.
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
        self.things.append(Thing(kind, Body(look, *centre, size), whole))
        return number

    def _shape(self, kind: str) -> Shape:
        """A random shape of the kind; of a crowd, one of the first few, turned and scaled."""
        stock = self._stock.setdefault(kind, [])
        if len(stock) < STOCK:
            stock.append(SHAPES[kind](self.rng))
            return stock[-1]
        return stock[int(self.rng.integers(STOCK))]

    def resized(self, size: float) -> None:
        """Say how large the last thing is, where its shape was given in pixels."""
        last = self.things[-1]
        self.things[-1] = replace(last, body=replace(last.body, size=size))

    def looks(self, count: int, size: float) -> list[Look]:
        """So many surfaces that differ, for things of about this radius."""
        looks: list[Look] = []
        for _ in range(count):
            period = float(np.clip(size * self.rng.uniform(0.3, 0.8), 4.0, 24.0))
            looks.append(self.palette.look(period, unlike=looks[-3:]))
        return looks

    def pick(self, looks: list[Look]) -> Look:
        return looks[int(self.rng.integers(len(looks)))]

    def anywhere(self, margin: float = 0.0) -> tuple[float, float]:
        """A random place, at least so many pixels from the border."""
        x = self.rng.uniform(margin, max(self.width - margin, margin + 1))
        y = self.rng.uniform(margin, max(self.height - margin, margin + 1))
        return float(x), float(y)

    def apart(self, count: int, distance: float) -> list[tuple[float, float]]:
        """Up to so many random places, each at least so many pixels from the others."""
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
