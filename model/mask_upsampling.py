"""The network's answer over the picture: coarse logits, stretched to its pixels when asked for.

A mask at the picture's size is made where the logits are positive and nowhere else, so that a small
object in a 6-megapixel picture costs a small object's time. ``mask`` and ``probability`` take the
very same steps for a pixel, so they agree at every one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.crop import Box

Logits = NDArray[np.float32]
# The smallest float32 above one half.
ABOVE_HALF = np.nextafter(np.float32(0.5), np.float32(1.0))


@dataclass(frozen=True)
class Grid:
    """Logits h,w whose cells divide a box of the picture evenly."""

    logits: Logits
    box: Box

    def sample(self, box: Box, height: int, width: int) -> Logits:
        """height,width: bilinear logits at the centres of cells that divide ``box`` evenly."""
        rows, columns = self._places(box, height, width)
        across = columns.blend(self.logits)
        return _down(across[rows.first], across[rows.second], rows.weight)

    def draw_mask(self, mask: NDArray[np.bool_]) -> None:
        """Write logits > 0 into the box of a mask of the picture's size."""
        target = mask[self.box.top : self.box.bottom, self.box.left : self.box.right]
        target[:] = False
        positive_columns = np.flatnonzero((self.logits > 0).any(axis=0))
        if not positive_columns.size:
            return
        height, width = target.shape
        rows, columns = self._places(self.box, height, width)
        # Pixels that lie between two columns of cells without a positive one are negative.
        inside = np.flatnonzero(
            (columns.second >= positive_columns[0]) & (columns.first <= positive_columns[-1])
        )
        if not inside.size:  # cells finer than pixels, and no pixel's centre near a positive one
            return
        start, end = int(inside[0]), int(inside[-1]) + 1
        across = columns.part(start, end).blend(self.logits)
        positive = across > 0
        for above, first, last in rows.bands():
            below = rows.second[first]
            span = np.flatnonzero(positive[above] | positive[below])
            if span.size:
                left, right = int(span[0]), int(span[-1]) + 1
                logits = _down(
                    across[above, left:right], across[below, left:right], rows.weight[first:last]
                )
                target[first:last, start + left : start + right] = logits > 0

    def _places(self, box: Box, height: int, width: int) -> tuple[_Places, _Places]:
        h, w = self.logits.shape
        own = self.box
        return (
            _Places.over(own.top, own.bottom, h, box.top, box.bottom, height),
            _Places.over(own.left, own.right, w, box.left, box.right, width),
        )


@dataclass(frozen=True)
class MaskLayers:
    """Grids over a picture, later ones over earlier ones; where there is none, probability 0."""

    width: int
    height: int
    grids: tuple[Grid, ...]

    def probability(self) -> NDArray[np.float32]:
        """H,W in [0, 1] at the picture's size."""
        result = np.zeros((self.height, self.width), np.float32)
        for grid in self.grids:
            box = grid.box
            logits = grid.sample(box, box.height, box.width)
            result[box.top : box.bottom, box.left : box.right] = sigmoid(logits)
        return result

    def mask(self) -> NDArray[np.bool_]:
        """H,W: ``probability() > 0.5``, bit for bit."""
        result = np.zeros((self.height, self.width), np.bool_)
        for grid in self.grids:
            grid.draw_mask(result)
        return result


def sigmoid(logits: Logits) -> NDArray[np.float32]:
    """Above one half where, and only where, the logit is above zero, in spite of rounding."""
    probability = 1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0)))
    bounded = np.where(
        logits > 0, np.maximum(probability, ABOVE_HALF), np.minimum(probability, np.float32(0.5))
    )
    return bounded.astype(np.float32, copy=False)


@dataclass(frozen=True)
class _Places:
    """For each of n target cells along one axis: between which two source cells it lies."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float32]  # of the second

    @classmethod
    def over(cls, start: int, end: int, cells: int, low: int, high: int, count: int) -> _Places:
        """``cells`` divide start..end, ``count`` targets divide low..high."""
        # Relative to the target's start first, so that the same box gives the same numbers
        # wherever it lies.
        centres = (low - start) + (np.arange(count) + 0.5) * ((high - low) / count)
        place = np.clip(centres * (cells / (end - start)) - 0.5, 0, cells - 1)
        first = np.minimum(place.astype(np.int64), max(cells - 2, 0))
        second = np.minimum(first + 1, cells - 1)
        return cls(first, second, (place - first).astype(np.float32))

    def part(self, start: int, end: int) -> _Places:
        """Targets start..end only."""
        return _Places(self.first[start:end], self.second[start:end], self.weight[start:end])

    def blend(self, logits: Logits) -> Logits:
        """h,n: columns of h,w at these places."""
        first = logits[:, self.first]
        return first + self.weight * (logits[:, self.second] - first)

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
    return above + weight[:, None] * (below - above)
