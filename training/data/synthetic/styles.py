"""Styles of scenes (ground, colours of things, settings of the camera), and the camera itself.

A style is a kind of picture: things on a table, a fluorescence micrograph, a steel surface, ink on
paper. The camera adds light, contrast, blur, grain and compression. All ranges are a *choice*.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

Colour = tuple[float, float, float]
Range = tuple[float, float]

NAMED: Mapping[str, tuple[Colour, ...]] = {
    "black": ((22, 22, 24),),
    "white": ((242, 242, 240), (232, 230, 222)),
    "grey": ((130, 130, 130), (165, 167, 170), (95, 96, 98)),
    "red": ((205, 30, 35), (170, 25, 30)),
    "orange": ((240, 135, 20),),
    "yellow": ((240, 215, 45), (225, 205, 90)),
    "green": ((40, 150, 55), (95, 175, 60), (45, 105, 60)),
    "blue": ((35, 75, 205), (60, 140, 215), (30, 45, 120)),
    "purple": ((125, 50, 175), (95, 55, 130)),
    "pink": ((240, 130, 175), (225, 60, 150)),
    "brown": ((125, 78, 42), (90, 58, 35), (165, 120, 75)),
}
"""RGB examples, 0 to 255, of the colours that `training.prompts.scenes` names."""


@dataclass(frozen=True)
class Style:
    """One kind of picture.

    ground: colours to choose from. ground_spread: difference of the two colours of the ground's
    texture. textures: of the ground. things: names of their colours; empty: shades of the ground.
    step: difference of such a shade from the ground, in levels. textured, patterned: how often a
    thing has an irregular or a regular texture. shaded: how often things look solid, not flat.
    contrast, blur, noise, glow, uneven: ranges of the camera's settings. grey, jpeg, outlined,
    shadows: how often.
    """

    name: str
    ground: Sequence[Colour]
    ground_spread: Range
    textures: Sequence[str]
    things: Sequence[str] = ()
    step: Range = (20, 90)
    textured: float = 0.4
    patterned: float = 0.0
    shaded: float = 0.5
    contrast: Range = (0.7, 1.0)
    blur: Range = (0.4, 1.0)
    noise: Range = (0.0, 8.0)
    glow: Range = (0.0, 0.0)
    uneven: Range = (0.0, 0.3)
    grey: float = 0.0
    jpeg: float = 0.25
    outlined: float = 0.1
    shadows: float = 0.0


ALL = tuple(NAMED)
EARTH = ((120, 92, 66), (92, 74, 58), (140, 122, 98), (70, 60, 52))
MUTED = (*EARTH, (150, 150, 145), (104, 128, 84), (196, 190, 176), (120, 134, 148))

STYLES = {
    style.name: style
    for style in (
        Style(
            "vivid", (*MUTED, (235, 235, 230), (30, 32, 38), (70, 110, 170), (200, 170, 190)),
            (0, 50), ("clouds", "grain", "waves", "lumps"), ALL,
            textured=0.25, patterned=0.45, shadows=0.4, outlined=0.2,
        ),
        Style(
            "natural", MUTED, (20, 90), ("clouds", "soil", "waves", "lumps", "veins", "speckles"),
            ("brown", "grey", "green", "white", "red", "orange", "yellow", "black"),
            textured=0.8, patterned=0.15, shaded=0.8, contrast=(0.5, 1.0), uneven=(0.1, 0.5),
            jpeg=0.5, shadows=0.6,
        ),
        Style(
            "soil", EARTH, (40, 110), ("soil", "lumps", "speckles"),
            ("green", "green", "green", "yellow", "brown"), textured=0.8, shaded=0.4,
            contrast=(0.5, 1.0), uneven=(0.1, 0.5), blur=(0.3, 0.9), jpeg=0.5, shadows=0.5,
        ),
        Style(
            "glowing", ((4, 4, 6), (10, 12, 12), (2, 6, 14)), (0, 14), ("clouds", "grain"),
            ("green", "blue", "red", "white", "grey", "purple"), textured=0.6, shaded=0.7,
            contrast=(0.25, 1.0), blur=(0.6, 2.2), noise=(1.0, 16.0), glow=(0.2, 0.9), grey=0.4,
        ),
        Style(
            "stained", ((236, 226, 232), (240, 238, 235), (225, 205, 220), (214, 200, 190)),
            (4, 40), ("clouds", "veins", "lumps"), ("purple", "blue", "pink", "brown", "red"),
            textured=0.7, shaded=0.3, contrast=(0.4, 0.95), blur=(0.5, 1.4), grey=0.15,
            outlined=0.4,
        ),
        Style(
            "metal", ((120, 120, 120), (90, 92, 95), (160, 160, 158), (60, 62, 64)),
            (8, 60), ("brushed", "grain", "clouds", "soil", "waves"), step=(18, 90), textured=0.7,
            shaded=0.2, contrast=(0.4, 0.95), blur=(0.5, 1.5), noise=(1.0, 12.0),
            uneven=(0.1, 0.6), grey=0.8,
        ),
        Style(
            "paper", ((244, 242, 236), (228, 220, 200), (250, 250, 250), (40, 60, 48)),
            (0, 16), ("grain", "clouds", "veins"), ("black", "blue", "red", "grey", "green"),
            textured=0.15, patterned=0.25, shaded=0.0, blur=(0.3, 0.8), jpeg=0.4, grey=0.3,
            outlined=0.1,
        ),
        Style(
            "wall",
            ((176, 98, 80), (196, 190, 176), (225, 214, 190), (150, 150, 150), (110, 90, 80)),
            (10, 60), ("soil", "grain", "clouds", "lumps"),
            ("white", "brown", "grey", "blue", "black", "green"), textured=0.5, patterned=0.1,
            shaded=0.3, uneven=(0.1, 0.5), jpeg=0.5, outlined=0.5, shadows=0.2,
        ),
        Style(
            "panel", ((22, 34, 66), (30, 36, 44), (18, 26, 40), (60, 72, 92)),
            (2, 24), ("grain", "clouds", "brushed"), ("white", "grey", "brown", "black"),
            textured=0.7, shaded=0.1, contrast=(0.5, 1.0), uneven=(0.1, 0.6), jpeg=0.4,
        ),
    )
}  # fmt: skip


def near(colour: Sequence[float], rng: np.random.Generator, spread: float = 14.0) -> Colour:
    """A random colour near this one. spread: standard deviation of lightness, in levels."""
    light = rng.normal(0, spread)
    return _within(np.asarray(colour) + light + rng.normal(0, spread / 3, 3))


def shade(colour: Sequence[float], step: float) -> Colour:
    """The colour, lighter by this many levels; darker below 0."""
    return _within(np.asarray(colour) + step)


def _within(levels: NDArray[np.float64]) -> Colour:
    red, green, blue = levels.clip(0, 255).tolist()
    return red, green, blue


# Of red, green and blue (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
# How often a picture has more blur, and more grain, than its style.
SPOILED = 0.12
# Standard deviations from the least to the largest value of the texture "grain".
GRAIN = 4.65


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
        blurred, grainy = rng.random(2) < SPOILED
        return cls(
            float(255 * low),
            float(255 * (low + contrast)),
            float(rng.uniform(*style.blur) + blurred * rng.uniform(0.5, 1.8)),
            float(rng.uniform(*style.noise) * rng.random() + grainy * rng.uniform(5, 22)),
            float(rng.uniform(*style.glow)),
            float(rng.uniform(*style.uneven)),
            bool(rng.random() < style.grey),
            int(rng.integers(25, 92)) if rng.random() < style.jpeg else 0,
        )

    def contrast(self, one: Colour, other: Colour) -> float:
        """The difference of two colours in levels, as this camera sees them."""
        away = [a - b for a, b in zip(one, other, strict=True)]
        if self.grey:
            return abs(sum(share * step for share, step in zip(LUMA, away, strict=True)))
        return max(map(abs, away))

    def shows(self, levels: float, period: float) -> bool:
        """Whether a pattern of this contrast (levels) and period (pixels) is still visible."""
        kept = levels * (self.high - self.low) / 255 * np.exp(-((2.2 * self.blur / period) ** 2))
        return bool(kept > max(32.0, 2.5 * self.noise))

    def gain(self, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        """H,W: the factor of light at each pixel, contrast included: a slope and a dark rim."""
        y, x = (np.linspace(-1, 1, count, dtype=np.float32) for count in size)
        angle, rim = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
        y0, x0 = rng.uniform(-0.4, 0.4, 2)
        rows = np.cos(angle) * y + rim * (0.4 - (y - y0) ** 2)
        columns = np.sin(angle) * x + rim * (0.4 - (x - x0) ** 2)
        light = 1 + np.add.outer(self.uneven * rows, self.uneven * columns).astype(np.float32)
        gain: NDArray[np.float32] = light.clip(0.15, 2.0) * np.float32((self.high - self.low) / 255)
        return gain

    def develop(self, levels: NDArray[np.float32], grain: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The photograph, H,W,3 uint8, of 3,H,W levels. grain: H,W values from 0 to 1."""
        if self.grey:
            levels = np.tensordot(np.array(LUMA, np.float32), levels, 1)[None]
        exposed = (levels + np.float32(self.low)).clip(0, 255).astype(np.uint8)
        # A box filter of the same deviation is like a lens out of focus, and fast.
        blur = ImageFilter.BoxBlur((math.sqrt(12 * self.blur**2 + 1) - 1) / 2)
        planes = [Image.fromarray(plane).filter(blur) for plane in exposed]
        picture = planes[0] if self.grey else Image.merge("RGB", planes)
        if self.glow:
            spread = picture.reduce(4).filter(ImageFilter.BoxBlur(3))
            spread = spread.resize(picture.size, Image.Resampling.BILINEAR)
            picture = Image.blend(picture, spread, self.glow / 2)
        if self.noise >= 0.5:
            noise = 128 + np.float32(GRAIN * self.noise) * (grain - np.float32(0.5))
            added = Image.fromarray(noise.clip(0, 255).astype(np.uint8)).convert(picture.mode)
            picture = ImageChops.add(picture, added, 1.0, -128)
        if self.quality:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=self.quality)
            picture = Image.open(file)
        return np.asarray(picture.convert("RGB"))
