"""Which pixel shows which thing: things are drawn one over the other, ids 1 to 250."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.data.synthetic.paths import Trace
from training.data.synthetic.shapes import Shape

# The most things in a scene: ids fit into a byte, where 255 is void in stored samples.
MOST = 250


class Canvas:
    """The map of ids while it is drawn. Nothing is smoothed: a pixel shows one thing."""

    def __init__(self, height: int, width: int) -> None:
        self.size = height, width
        self._ids = Image.new("L", (width, height))
        self._draw = ImageDraw.Draw(self._ids)
        self._areas: list[int] = [0]

    @property
    def count(self) -> int:
        """How many things were drawn; the last one's id."""
        return len(self._areas) - 1

    @property
    def full(self) -> bool:
        return self.count >= MOST

    def ids(self) -> NDArray[np.uint8]:
        """H,W: the id of each pixel, 0 where nothing was drawn."""
        return np.asarray(self._ids)

    def seen(self) -> NDArray[np.int64]:
        """By id, how many pixels show each thing."""
        return np.array(self._ids.histogram()[: len(self._areas)])

    def areas(self) -> NDArray[np.int64]:
        """By id, how many pixels each thing covered when it was drawn."""
        return np.array(self._areas)

    def shape(
        self,
        shape: Shape,
        centre: tuple[float, float],
        size: tuple[float, float],
        turn: float,
    ) -> int:
        """Draw a shape of these radii, across and down before it is turned; its id."""
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
        """Draw what is long and thin; its id."""
        reach = max(width for _, width in trace.paths) / 2 + 1
        every = np.concatenate([path for path, _ in trace.paths])
        box = self._box(every.min(0) - reach, every.max(0) + reach)
        if box is None:
            return self._added(None, (0, 0))
        low, stencil = box
        draw = ImageDraw.Draw(stencil)
        for path, width in trace.paths:
            points = (path - low).ravel().tolist()
            draw.line(points, fill=255, width=width, joint="curve" if width > 2 else None)
            if width > 4:
                for x, y in (points[:2], points[-2:]):
                    draw.circle((x, y), width / 2, fill=255)
        return self._added(stencil, low)

    def _polygon(self, points: NDArray[np.float64]) -> int:
        """Draw what is one polygon and wholly in the picture: most things, and most quickly."""
        number = self.count + 1
        self._draw.polygon(points.ravel().tolist(), fill=number)
        x, y = np.concatenate([points, points[:1]]).T
        area = 0.5 * abs(float(x[1:] @ y[:-1] - y[1:] @ x[:-1]))
        self._areas.append(round(area))
        return number

    def _box(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[tuple[int, int], Image.Image] | None:
        """The corner and an empty stencil of what is visible of a box; None where nothing is."""
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
            covered = int(np.count_nonzero(np.asarray(stencil)))
        self._areas.append(covered)
        return number
