"""Tilings: cells that share their corners, even if the corners are moved at random."""

from __future__ import annotations

import math

import numpy as np

from training.data.synthetic.scene import Builder
from training.data.synthetic.shapes import Points

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
    lattice = _Lattice(across, down, rng, loose, shifted=shifted, hexagonal=hexagonal)
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


class _Lattice:
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
