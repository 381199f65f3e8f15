"""Boxes as people draw them around an object: a little off at each side, sometimes loose or tight.

A box is (x1, y1, x2, y2) in pixels of the network input, x2 and y2 past the last pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.regions import bounds

Box = tuple[float, float, float, float]

# Each side is moved by up to this share of the box's width or height (*choice*; SAM: 10 %).
JITTER = 0.1
# Chances of a loose and of a tight box, and by how much of its size each side is then moved.
LOOSE, TIGHT = 0.15, 0.1
LOOSEST, TIGHTEST = 0.25, 0.12
# No box is narrower than this many pixels.
NARROWEST = 4.0


def jittered_box(mask: NDArray[np.bool_], rng: np.random.Generator) -> Box | None:
    """A box around the H,W mask as somebody may draw it, inside the picture; None without pixels.

    A loose or tight box moves all sides outwards or inwards instead of each at random.
    """
    exact = bounds(mask)
    if exact is None:
        return None
    height, width = mask.shape
    low = np.array(exact[:2], float)
    high = np.array(exact[2:], float)
    size = high - low
    chance = rng.random()
    if chance < LOOSE:
        outwards = rng.uniform(0.0, LOOSEST, 4)
    elif chance < LOOSE + TIGHT:
        outwards = -rng.uniform(0.0, TIGHTEST, 4)
    else:
        outwards = rng.normal(0.0, JITTER / 2, 4).clip(-JITTER, JITTER)
    limit = np.array([width, height], float)
    low = (low - outwards[:2] * size).clip(0.0, limit - NARROWEST)
    high = np.maximum((high + outwards[2:] * size).clip(0.0, limit), low + NARROWEST)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
