"""What people call the colour of a pixel: eleven basic terms (Berlin and Kay), by hue and value.

The bounds are a choice, set by eye on photographs: skin, wood and fur are brown long before they
are orange, and a dim yellow is brown too.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from training.prompts.vocabulary import COLOURS


def colour_names(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """H,W indices into `COLOURS`, by a table over the upper five bits of each channel."""
    bits = (image >> 3).astype(np.int64)
    names: NDArray[np.int64] = _colour_table()[
        (bits[..., 0] << 10) | (bits[..., 1] << 5) | bits[..., 2]
    ]
    return names


@functools.cache
def _colour_table() -> NDArray[np.int64]:
    levels = (np.arange(32) * 8 + 4) / 255.0
    red, green, blue = np.meshgrid(levels, levels, levels, indexing="ij")
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    safe = np.where(chroma == 0, 1.0, chroma)
    hue = np.where(
        value == red,
        ((green - blue) / safe) % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = hue * 60.0
    saturation = np.where(value > 0, chroma / np.maximum(value, 1e-6), 0)
    index = {name: place for place, name in enumerate(COLOURS)}
    warm = (hue >= 12) & (hue < 50)
    names = np.select(
        [
            value < 0.2,
            (saturation < 0.15) & (value > 0.75),
            (saturation < 0.15) & (value < 0.3),
            saturation < 0.15,
            warm & ((value < 0.7) | (saturation < 0.55)),
            warm & (hue < 40),
            (hue < 12) & (saturation < 0.5) & (value > 0.7),
            (hue < 12) | (hue >= 345),
            (hue < 68) & (value < 0.35),
            hue < 68,
            hue < 165,
            hue < 258,
            hue < 295,
        ],
        [
            index["black"],
            index["white"],
            index["black"],
            index["grey"],
            index["brown"],
            index["orange"],
            index["pink"],
            index["red"],
            index["brown"],
            index["yellow"],
            index["green"],
            index["blue"],
            index["purple"],
        ],
        index["pink"],
    )
    table: NDArray[np.int64] = names.astype(np.int64).ravel()
    return table
