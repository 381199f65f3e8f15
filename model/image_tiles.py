"""A picture kept at full detail in little memory, for encoding crops of it later.

A 6-megapixel picture takes 18 MB as pixels and 1 to 2 MB as JPEG tiles, and a crop needs only the
tiles it touches. The network does not notice JPEG's losses at this quality (a *choice*).
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.crop import Box

TILE = 512
QUALITY = 92


class ImageTiles:
    """An H,W,3 picture in tiles; immutable."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.height, self.width = image.shape[:2]
        self._tiles = {
            (row, column): _encode(image[row : row + TILE, column : column + TILE])
            for row in range(0, self.height, TILE)
            for column in range(0, self.width, TILE)
        }

    @property
    def nbytes(self) -> int:
        """Memory of the tiles."""
        return sum(len(tile) for tile in self._tiles.values())

    def read(self, box: Box) -> Image.Image:
        """The pixels of a box inside the picture, RGB."""
        canvas = Image.new("RGB", (box.width, box.height))
        for row in range(box.top // TILE * TILE, box.bottom, TILE):
            for column in range(box.left // TILE * TILE, box.right, TILE):
                tile = Image.open(io.BytesIO(self._tiles[row, column]), formats=["JPEG"])
                canvas.paste(tile, (column - box.left, row - box.top))
        return canvas


def _encode(tile: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
