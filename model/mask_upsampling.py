"""The network's coarse logits, interpolated to pixels of the picture on request.

A mask at the picture's size is only computed where logits are positive, so a small object in a
6-megapixel picture takes little time. ``mask`` and ``probability`` use the same steps for a pixel,
so they agree everywhere.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.crop import Box, mask_box

Logits = NDArray[np.float32]
# The smallest float32 above one half.
ABOVE_HALF = np.nextafter(np.float32(0.5), np.float32(1.0))
# Probability of pixels that keep the value of the mask before, inside and outside.
BASE_IN, BASE_OUT = np.float32(0.9), np.float32(0.1)
# Logits beyond this are almost certain (0.98).
LIMIT = 4.0
# Most parts per cell and direction; between them bilinear interpolation shows no stairs.
FINEST = 3


@dataclass(frozen=True)
class LogitGrid:
    """Logits h,w whose cells divide a box of the picture evenly."""

    logits: Logits
    box: Box

    def sample(self, box: Box, height: int, width: int) -> Logits:
        """height,width: bilinear logits at the centres of cells that divide ``box`` evenly."""
        rows, columns = self._places(box, height, width)
        across = columns.blend(self.logits)
        return _down(across[rows.first], across[rows.second], rows.weight)

    def positive(self, box: Box) -> NDArray[np.bool_]:
        """Which pixels of a box inside the grid's box have a logit > 0."""
        result = np.zeros((box.height, box.width), np.bool_)
        positive_columns = np.flatnonzero((self.logits > 0).any(axis=0))
        if not positive_columns.size:
            return result
        rows, columns = self._places(box, box.height, box.width)
        # Pixels between two columns of cells without a positive one are negative.
        inside = np.flatnonzero(
            (columns.second >= positive_columns[0]) & (columns.first <= positive_columns[-1])
        )
        if not inside.size:  # cells finer than pixels, and no pixel's centre near a positive one
            return result
        start, end = int(inside[0]), int(inside[-1]) + 1
        across = columns.part(start, end).blend(self.logits)
        positive = across > 0
        for above, first, last in rows.bands():
            below = rows.second[first]
            # Between two positive rows of cells all is positive, so only the rest is computed.
            result[first:last, start:end] = positive[above] & positive[below]
            mixed = np.flatnonzero(positive[above] != positive[below])
            if mixed.size:
                logits = _down(across[above, mixed], across[below, mixed], rows.weight[first:last])
                result[first:last, start + mixed] = logits > 0
        return result

    def smoothed(self, part: tuple[slice, slice] | None = None) -> LogitGrid:
        """Finer logits with a smooth border, if a cell is larger than a pixel.

        part: rows and columns of cells that matter; all others become -LIMIT.

        Most logits are far below or above zero, so bilinear interpolation shows cells as stairs.
        Clipped to LIMIT and interpolated by a uniform cubic B-spline, the border is a smooth curve.
        """
        height, width = self.logits.shape
        finer = min(math.ceil(max(self.box.height / height, self.box.width / width)), FINEST)
        if finer < 2:
            return self
        rows, columns = _spline(height, finer), _spline(width, finer)
        cut = np.clip(self.logits, -LIMIT, LIMIT)
        if part is not None:
            down, across = (slice(side.start * finer, side.stop * finer) for side in part)
            whole = np.full((height * finer, width * finer), -LIMIT, np.float32)
            whole[down, across] = rows[down] @ cut @ columns[across].T
            return LogitGrid(whole, self.box)
        return LogitGrid((rows @ cut @ columns.T).astype(np.float32, copy=False), self.box)

    def _places(self, box: Box, height: int, width: int) -> tuple[_SourceCells, _SourceCells]:
        h, w = self.logits.shape
        own = self.box
        return (
            _SourceCells.over(own.top, own.bottom, h, box.top, box.bottom, height),
            _SourceCells.over(own.left, own.right, w, box.left, box.right, width),
        )


@dataclass(frozen=True)
class Layer:
    """Logits that apply in some cells of their box: ``cells`` is h,w bool, None for all."""

    grid: LogitGrid
    cells: NDArray[np.bool_] | None = None

    def extent(self, within: Box) -> Box | None:
        """The smallest box of pixels in ``within`` in which the layer applies, or None."""
        box = self.grid.box
        if self.cells is not None:
            held = mask_box(self.cells)
            if held is None:
                return None
            height, width = self.cells.shape
            box = Box(
                box.left + math.floor(held.left * box.width / width),
                box.top + math.floor(held.top * box.height / height),
                box.left + math.ceil(held.right * box.width / width),
                box.top + math.ceil(held.bottom * box.height / height),
            )
        return box.intersection(within)

    def holds(self, box: Box) -> NDArray[np.bool_]:
        """For each pixel of a box inside the grid's box: whether the layer applies."""
        if self.cells is None:
            return np.ones((box.height, box.width), np.bool_)
        own, (height, width) = self.grid.box, self.cells.shape
        rows = (np.arange(box.top, box.bottom) - own.top + 0.5) * (height / own.height)
        columns = (np.arange(box.left, box.right) - own.left + 0.5) * (width / own.width)
        held: NDArray[np.bool_] = self.cells[
            rows.astype(np.int64)[:, None], columns.astype(np.int64)
        ]
        return held


@dataclass(frozen=True)
class MaskLayers:
    """A mask as it was before, and logits over it, later layers over earlier ones.

    base: H,W bool, or None for an empty one. It counts as a probability of BASE_IN inside and
    BASE_OUT outside.
    """

    width: int
    height: int
    layers: tuple[Layer, ...]
    base: NDArray[np.bool_] | None = None

    def probability(self) -> NDArray[np.float32]:
        """H,W in [0, 1] at the picture's size."""
        if self.base is None:
            result = np.zeros((self.height, self.width), np.float32)
        else:
            result = np.where(self.base, BASE_IN, BASE_OUT)
        for layer in self.layers:
            box = layer.extent(self._whole)
            if box is not None:
                logits = layer.grid.sample(box, box.height, box.width)
                np.copyto(result[box.slices], sigmoid(logits), where=layer.holds(box))
        return result

    def mask(self, box: Box | None = None) -> NDArray[np.bool_]:
        """H,W: ``probability() > 0.5``, bit for bit; or a box of it."""
        return self.pixels.copy() if box is None else self._part(box)

    @functools.cached_property
    def pixels(self) -> NDArray[np.bool_]:
        """H,W: ``mask()``, made once and read-only."""
        pixels = self._part(self._whole)
        pixels.flags.writeable = False
        return pixels

    def _part(self, region: Box) -> NDArray[np.bool_]:
        if self.base is None:
            result = np.zeros((region.height, region.width), np.bool_)
        else:
            result = self.base[region.slices].copy()
        for layer in self.layers:
            part = layer.extent(region)
            if part is not None:
                target = result[part.moved(-region.left, -region.top).slices]
                positive = layer.grid.positive(part)
                if layer.cells is None:
                    target[:] = positive
                else:
                    np.copyto(target, positive, where=layer.holds(part))
        return result

    @property
    def _whole(self) -> Box:
        return Box(0, 0, self.width, self.height)


def sigmoid(logits: Logits) -> NDArray[np.float32]:
    """The sigmoid, above one half exactly if the logit is above zero, despite rounding."""
    probability = 1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0)))
    bounded = np.where(
        logits > 0, np.maximum(probability, ABOVE_HALF), np.minimum(probability, np.float32(0.5))
    )
    return bounded.astype(np.float32, copy=False)


@functools.lru_cache(maxsize=32)
def _spline(cells: int, finer: int) -> NDArray[np.float32]:
    """(finer * cells),cells: weights of a uniform cubic B-spline, the outer cells repeated."""
    places = (np.arange(cells * finer) + 0.5) / finer - 0.5
    first = np.floor(places).astype(np.int64)
    t = places - first
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1
    )
    matrix = np.zeros((cells * finer, cells), np.float32)
    for offset in range(4):
        columns = np.clip(first + offset - 1, 0, cells - 1)
        np.add.at(matrix, (np.arange(cells * finer), columns), weights[:, offset] / 6.0)
    return matrix


@dataclass(frozen=True)
class _SourceCells:
    """For each of n target cells along one axis: the two source cells around its centre."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float32]  # of the second

    @classmethod
    def over(
        cls, start: int, end: int, cells: int, low: int, high: int, count: int
    ) -> _SourceCells:
        """``cells`` divide start..end, ``count`` targets divide low..high."""
        # Relative to the target's start first, so that boxes of one size give equal numbers.
        centres = (low - start) + (np.arange(count) + 0.5) * ((high - low) / count)
        place = np.clip(centres * (cells / (end - start)) - 0.5, 0, cells - 1)
        first = np.minimum(place.astype(np.int64), max(cells - 2, 0))
        second = np.minimum(first + 1, cells - 1)
        return cls(first, second, (place - first).astype(np.float32))

    def part(self, start: int, end: int) -> _SourceCells:
        """Targets start..end only."""
        return _SourceCells(self.first[start:end], self.second[start:end], self.weight[start:end])

    def blend(self, logits: Logits) -> Logits:
        """h,n: columns of h,w at these places."""
        return _mixed(logits[:, self.first], logits[:, self.second], self.weight)

    def bands(self) -> list[tuple[int, int, int]]:
        """(source cell, first target, last target + 1) of the runs that share a source cell."""
        starts = np.flatnonzero(np.diff(self.first, prepend=-1))
        ends = np.append(starts[1:], len(self.first))
        return [
            (int(self.first[start]), int(start), int(end))
            for start, end in zip(starts, ends, strict=True)
        ]


def _down(above: Logits, below: Logits, weight: NDArray[np.float32]) -> Logits:
    """Blend rows: ``above`` and ``below`` are n,w, or w for n rows between the same two."""
    return _mixed(above, below, weight[:, None])


def _mixed(first: Logits, second: Logits, weight: NDArray[np.float32]) -> Logits:
    """Linear interpolation that rounding takes to no sign that neither value has."""
    return (np.float32(1) - weight) * first + weight * second
