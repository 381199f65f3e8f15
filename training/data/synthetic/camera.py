"""The camera: light, contrast, blur, grain and compression of a synthetic photograph."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from training.data.synthetic.styles import Style
from training.data.synthetic.textures import NOISE_LEVELS, Plane, noise

# Luma of red, green and blue (ITU-R BT.601).
GREY = np.array([0.299, 0.587, 0.114], np.float32)
# Up to this radius pictures are blurred by averaging neighbours.
SHARP = 1.0
# How often a picture has more blur, and more grain, than its style.
SPOILED = 0.12


@dataclass(frozen=True)
class Camera:
    """The settings of a photograph.

    low, high: levels of black and white. blur: radius in pixels. noise: standard deviation in
    levels. glow: share of light that spreads. uneven: strength of uneven light. quality: of JPEG,
    0 for none.
    """

    low: float
    high: float
    blur: float
    noise: float
    glow: float
    uneven: float
    grey: bool
    quality: int

    @classmethod
    def draw(cls, style: Style, rng: np.random.Generator) -> Camera:
        """Random settings that fit the style."""
        contrast = rng.uniform(*style.contrast)
        low = rng.uniform(0, 1 - contrast) * (0.3 if style.name == "glowing" else 1.0)
        blur, grain = rng.uniform(*style.blur), rng.uniform(*style.noise) * rng.random()
        spoiled = rng.random()
        if spoiled < SPOILED:
            blur += rng.uniform(0.5, 1.8)
        elif spoiled < 2 * SPOILED:
            grain += rng.uniform(5, 22)
        return cls(
            float(255 * low),
            float(255 * (low + contrast)),
            float(blur),
            float(grain),
            float(rng.uniform(*style.glow)),
            float(rng.uniform(*style.uneven)),
            bool(rng.random() < style.grey),
            int(rng.integers(25, 92)) if rng.random() < style.jpeg else 0,
        )

    def shows(self, levels: float, period: float) -> bool:
        """Whether a pattern of this contrast (levels) and period (pixels) is still visible."""
        kept = levels * (self.high - self.low) / 255 * np.exp(-((2.2 * self.blur / period) ** 2))
        return bool(kept > max(32.0, 2.5 * self.noise))

    def gain(self, size: tuple[int, int], rng: np.random.Generator) -> Plane:
        """H,W: the factor of light at each pixel, contrast included."""
        contrast = np.float32((self.high - self.low) / 255)
        if not self.uneven:
            return np.full(size, contrast)
        return _unevenness(size, self.uneven, rng) * contrast

    def develop(self, planes: Iterable[Plane], rng: np.random.Generator) -> NDArray[np.uint8]:
        """The photograph, H,W,3 uint8, from the H,W planes of red, green and blue levels."""
        if self.grey:
            first, *others = (share * plane for share, plane in zip(GREY, planes, strict=True))
            planes = [sum(others, first)]
        exposed = [Image.fromarray(self._exposed(plane)) for plane in planes]
        picture = exposed[0] if self.grey else Image.merge("RGB", exposed)
        size = picture.height, picture.width
        if self.blur > SHARP:
            # A box filter of the same deviation is like a lens out of focus and three times as
            # fast.
            radius = (math.sqrt(12 * self.blur**2 + 1) - 1) / 2
            picture = picture.filter(ImageFilter.BoxBlur(radius))
        if self.glow:
            spread = picture.reduce(4).filter(ImageFilter.BoxBlur(3))
            spread = spread.resize(picture.size, Image.Resampling.BILINEAR)
            picture = Image.blend(picture, spread, self.glow / 2)
        if self.noise >= 0.5:
            picture = ImageChops.add(picture, self._grain(size, rng), 1.0, -128)
        if self.quality:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=self.quality)
            picture = Image.open(file)
        return np.asarray(picture.convert("RGB"))

    def _exposed(self, plane: Plane) -> NDArray[np.uint8]:
        plane += np.float32(self.low)
        if self.blur <= SHARP:
            _soften(plane, self.blur)
        return np.clip(plane, 0, 255, out=plane).astype(np.uint8)

    def _grain(self, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
        """Noise around 128, weak noise in grey."""
        share = self.noise / NOISE_LEVELS
        levels = [round(128 + share * (level - 128)) for level in range(256)]
        grain = [Image.fromarray(noise(size, rng)).point(levels)]
        if self.grey:
            return grain[0]
        others = [noise(size, rng) for _ in range(2)] if self.noise > 4 else []
        grain += [Image.fromarray(other).point(levels) for other in others]
        return Image.merge("RGB", grain if len(grain) == 3 else 3 * grain)


def _soften(plane: Plane, blur: float) -> None:
    """Blur levels in place by weighted means of neighbours, faster than a Gaussian."""
    passes = 1 if blur <= 0.7 else 2
    weight = np.float32(min(blur**2 / (2 * passes), 0.25))
    width = plane.shape[1]
    # Process the plane as one line of pixels; the sides are restored, since they would wrap around.
    line = plane.reshape(-1)
    sides = plane[:, [0, -1]]
    for away in (1, width) * passes:
        steps = line[away:] - line[:-away]
        steps *= weight
        line[:-away] += steps
        line[away:] -= steps
    plane[:, [0, -1]] = sides


def _unevenness(size: tuple[int, int], much: float, rng: np.random.Generator) -> Plane:
    """H,W factors around 1: light from one side, a dark rim, or slow changes."""
    y, x = (np.linspace(-1, 1, count, dtype=np.float32) for count in size)
    way = int(rng.integers(3))
    if way == 0:
        angle = float(rng.uniform(0, 2 * np.pi))
        rows, columns = much * np.cos(angle) * y, much * np.sin(angle) * x
    elif way == 1:
        x0, y0 = rng.uniform(-0.4, 0.4, 2)
        rows, columns = (much * (0.2 - 0.6 * (y - y0) ** 2), much * (0.2 - 0.6 * (x - x0) ** 2))
    else:
        places = np.linspace(-1, 1, 5)
        rows, columns = (np.interp(along, places, rng.normal(0, much / 2, 5)) for along in (y, x))
    factors: Plane = (1 + rows[:, None] + columns[None, :]).astype(np.float32)
    np.clip(factors, 0.15, 2.0, out=factors)
    return factors
