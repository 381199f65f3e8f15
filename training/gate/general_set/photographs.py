"""The photographs that the general set is made of, and outlines of what is on them.

All come inside scikit-image's package, free of rights by what its documentation says. The outlines
(`outlines.json`) were drawn by hand over enlarged pictures, drawn to the edges by GrabCut within a
few pixels, and looked at once more; coins, galaxies and the cell by thresholds, looked at as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray

from training.data.masks import Outline

OUTLINES = Path(__file__).with_name("outlines.json")

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """A picture of `skimage.data`: what it is called there, who gave it, under which terms."""

    name: str
    terms: str
    by: str

    def pixels(self) -> Picture:
        """H,W,3; grey ones with three times the same."""
        found = np.asarray(getattr(skimage.data, self.name)())
        if found.dtype == bool:
            found = found.astype(np.uint8) * 255
        return np.stack([found] * 3, -1) if found.ndim == 2 else found[..., :3]


SOURCES = {
    source.name: source
    for source in (
        Source("astronaut", "public domain", "NASA"),
        Source("brick", "CC0", "CC0Textures"),
        Source("camera", "CC0", "Lav Varshney"),
        Source("cell", "CC0", "Paul Müller and others"),
        Source("chelsea", "CC0", "Stefan van der Walt"),
        Source("coffee", "CC0", "Rachel Michetti"),
        Source("coins", "no known copyright restrictions", "Brooklyn Museum"),
        Source("grass", "CC0", "linolafett"),
        Source("gravel", "CC0", "CC0Textures"),
        Source("horse", "CC0", "Andreas Preuss"),
        Source("hubble_deep_field", "public domain", "NASA"),
        Source("retina", "CC0", "Mikael Häggström"),
        Source("rocket", "public domain", "SpaceX"),
    )
}


@cache
def outlines() -> dict[str, dict[str, list[list[float]]]]:
    """By photograph and object: polygons, each x, y, x, y … in its pixels."""
    found: dict[str, dict[str, list[list[float]]]] = json.loads(OUTLINES.read_text("utf-8"))
    return found


def mask_of(
    photograph: str, name: str, size: tuple[int, int], box: tuple[int, int, int, int]
) -> Mask:
    """An object in a part of its photograph (left, top, right, bottom), shown width x height."""
    width, height = size
    left, top, right, bottom = box
    scale = np.array([width / (right - left), height / (bottom - top)])
    polygons = tuple(
        ((np.reshape(flat, (-1, 2)) - (left, top)) * scale).astype(np.float32)
        for flat in outlines()[photograph][name]
    )
    return Outline(polygons).draw(height, width)
