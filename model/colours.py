"""Any picture in RGB as a browser shows it: deep values scaled, transparent pixels white.

Pillow alone would clip deep values at 255, and show what is behind transparent pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Rows are converted in bands of about this many pixels, so that a picture of another mode does not
# need its memory several times.
BAND_PIXELS = 2_000_000
_WHITE = (255, 255, 255, 255)


def as_rgb(image: Image.Image, file_format: str | None) -> NDArray[np.uint8]:
    """H,W,3 uint8 RGB of a loaded picture. file_format: as Pillow names it, such as "PNG"."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.array(image)
    array = np.empty((image.height, image.width, 3), np.uint8)
    deep = image.mode.startswith("I") or image.mode == "F"
    black, beyond = _range_of(image, file_format) if deep else (0.0, 1.0)
    for top, band in _bands(image):
        rows = array[top : top + band.height]
        if deep:
            scaled = (_values(band) - black) * (256 / (beyond - black))
            rows[:] = scaled.clip(0, 255)[:, :, None]
            continue
        if image.has_transparency_data:
            # A crop keeps the palette and the transparent colour, which is in ``info``.
            band.info = dict(image.info)
            band = band.convert("RGBA")
            band = Image.alpha_composite(Image.new("RGBA", band.size, _WHITE), band)
        rows[:] = np.asarray(band.convert("RGB"))
    return array


def _range_of(image: Image.Image, file_format: str | None) -> tuple[float, float]:
    """For grey values of more than 8 bits: the one that is black, and the one just beyond white.

    Browsers show a 16-bit PNG over its whole range. TIFF, which most do not show, uses any part of
    it, so it is stretched from darkest to brightest.
    """
    if file_format != "TIFF":
        return 0, 1 << 16
    low, high = float("inf"), float("-inf")
    for _, band in _bands(image):
        values = _values(band)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high if high > low else low + 1


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The picture in bands of rows, each with the row at which it begins."""
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _values(band: Image.Image) -> NDArray[Any]:
    return np.nan_to_num(np.asarray(band, np.float64), posinf=0.0, neginf=0.0)
