"""The surfaces of things, with the words that are true of them: colours, textures, patterns.

Irregular textures (clouds, soil, brushed metal, ...) are cut out of tiles that are made once per
process, since noise is the most expensive part of a scene. Regular patterns (stripes, dots,
checks), which phrases name, are made with the requested period.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.sample import pick
from training.data.synthetic.styles import NAMED, Camera, Colour, Style, near, shade

Plane = NDArray[np.float32]
PATTERNS = ("striped", "dotted", "checkered")
TEXTURES = ("clouds", "lumps", "soil", "brushed", "waves", "speckles", "grain", "veins")
# Side of a tile in pixels, and different tiles of each texture.
TILE = 512
VARIANTS = 3
# The least difference, in levels, between a thing and its ground, or between two kinds of looks.
APART = 30.0
# How often a thing is filled with a part of a photograph, where there are photographs.
FROM_PHOTOGRAPH = 0.2
# The most patterns, and the most textures of things, in one scene.
VARIETY = 2


@dataclass(frozen=True)
class Surface:
    """A surface: two colours mixed by a plane of the scene, and how light falls on it.

    plane: index of the plane; 0 is the first colour alone. pattern: the word for it in phrases, ""
    for none, "plain" for one colour. period: of the pattern in pixels. slope: light from one side.
    dome: how much lighter the middle is than the rim; darker below 0. photograph: the surface is a
    part of a photograph instead.
    """

    first: Colour
    second: Colour
    plane: int = 0
    pattern: str = ""
    period: float = 0.0
    slope: float = 0.0
    dome: float = 0.0
    photograph: bool = False


class Palette:
    """The surfaces of one scene, whose things share a few planes and colours.

    planes: H,W from 0 to 1, which mix two colours. photograph, background: 3,H,W levels to fill
    things and the ground with, or None.
    """

    def __init__(
        self,
        style: Style,
        camera: Camera,
        size: tuple[int, int],
        rng: np.random.Generator,
        photograph: Plane | None = None,
        background: Plane | None = None,
    ) -> None:
        self.style, self.camera, self.size = style, camera, size
        self.photograph, self.background = photograph, background
        self._rng = rng
        # Whether things of this scene may look solid.
        self._solid = rng.random() < math.sqrt(style.shaded) - 0.15
        self.planes: list[Plane] = [np.zeros(size, np.float32)]
        self._patterns: list[tuple[str, float, int]] = []
        self._textures: list[int] = []
        self.ground = self._ground()

    def look(self, period: float, *, unlike: Sequence[Surface] = ()) -> Surface:
        """A random surface that differs from the ground.

        period: of a regular pattern, in pixels. unlike: more surfaces to differ from.
        """
        style, rng = self.style, self._rng
        first = self._colour([self.ground, *unlike])
        solid = 0.8 if self._solid else 0.0
        slope = float(rng.uniform(0.05, 0.3)) if rng.random() < solid else 0.0
        dome = float(rng.uniform(0.1, 0.5) * rng.choice([1, 1, 1, -1]))
        dome = dome if rng.random() < solid else 0.0
        if self.photograph is not None and rng.random() < FROM_PHOTOGRAPH:
            return Surface(first, first, slope=slope, photograph=True)
        if rng.random() < style.patterned:
            pattern, actual, plane = self._pattern(period)
            second = self._colour([Surface(first, first)], least=2 * APART)
            if self.camera.shows(self.camera.contrast(first, second), actual):
                return Surface(first, second, plane, pattern, actual, slope)
        elif rng.random() < style.textured:
            second = shade(first, float(rng.choice([-1, 1]) * rng.uniform(15, 70)))
            return Surface(first, second, self._texture(), slope=slope, dome=dome)
        return Surface(first, first, pattern="plain", slope=slope, dome=dome)

    def hole(self) -> Surface:
        """The dark surface that is seen through a hole."""
        first = shade(self.ground.first, -float(self._rng.uniform(60, 140)))
        return Surface(first, first, dome=-float(self._rng.uniform(0.0, 0.5)) * self._solid)

    def _ground(self) -> Surface:
        style, rng = self.style, self._rng
        colour = pick(style.ground, rng)
        if self.background is not None:
            red, green, blue = self.background.mean((1, 2)).tolist()
            return Surface((red, green, blue), colour)
        colour = near(colour, rng, 10.0)
        spread = float(rng.uniform(*style.ground_spread)) * float(rng.choice([-1, 1]))
        self.planes.append(texture(str(rng.choice(list(style.textures))), self.size, rng))
        return Surface(colour, near(shade(colour, spread), rng, 6.0), 1)

    def _pattern(self, period: float) -> tuple[str, float, int]:
        """A pattern, its period and its plane: a new one, or one of the scene's."""
        rng = self._rng
        if not self._patterns or (len(self._patterns) < VARIETY and rng.random() < 0.5):
            pattern = str(rng.choice(PATTERNS))
            self.planes.append(regular(pattern, self.size, period, rng))
            self._patterns.append((pattern, period, len(self.planes) - 1))
            return self._patterns[-1]
        return pick(self._patterns, rng)

    def _texture(self) -> int:
        """The plane of an irregular texture: a new one, or the scene's last."""
        rng = self._rng
        if not self._textures or (len(self._textures) < VARIETY and rng.random() < 0.3):
            self.planes.append(texture(str(rng.choice(TEXTURES)), self.size, rng))
            self._textures.append(len(self.planes) - 1)
        return self._textures[-1]

    def _colour(self, others: Sequence[Surface], least: float = APART) -> Colour:
        """A colour of the style, of six tries the first or the most different from the others."""
        style, rng = self.style, self._rng
        best, farthest = others[0].first, -1.0
        for _ in range(6):
            if style.things:
                named = NAMED[pick(style.things, rng)]
                tried = near(pick(named, rng), rng)
            else:
                step = float(rng.uniform(*style.step)) * float(rng.choice([-1, 1]))
                tried = near(shade(self.ground.first, step), rng, 4.0)
            away = min(
                self.camera.contrast(tried, own)
                for other in others
                for own in (other.first, other.second)
            )
            if away > farthest:
                best, farthest = tried, away
            if away >= least:
                break
        return best


def texture(name: str, size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """A random part, H,W from 0 to 1, of a random tile; flipped at random."""
    tile = _tile(name, int(rng.integers(VARIANTS)))
    if max(size) > TILE:
        tile = np.tile(tile, (-(-size[0] // TILE), -(-size[1] // TILE)))
    top, left = (
        int(rng.integers(have - need + 1)) for have, need in zip(tile.shape, size, strict=True)
    )
    down, across = rng.choice([-1, 1], 2)
    return tile[top : top + size[0], left : left + size[1]][::down, ::across]


def regular(pattern: str, size: tuple[int, int], period: float, rng: np.random.Generator) -> Plane:
    """Stripes, dots or checks of 0 and 1, H,W, that repeat after ``period`` pixels."""
    angle = rng.uniform(0, np.pi) if rng.random() < 0.6 else rng.choice([0, np.pi / 2])
    cos, sin = np.cos(angle) / period, np.sin(angle) / period
    across = _phase(size, cos, sin, rng)
    if pattern == "striped":
        return (across < rng.uniform(0.35, 0.65)).astype(np.float32)
    along = _phase(size, -sin, cos, rng)
    if pattern == "checkered":
        return ((across < 0.5) ^ (along < 0.5)).astype(np.float32)
    away = (across - 0.5) ** 2 + (along - 0.5) ** 2
    return (away < rng.uniform(0.24, 0.36) ** 2).astype(np.float32)


def _phase(size: tuple[int, int], down: float, across: float, rng: np.random.Generator) -> Plane:
    """H,W from 0 to 1: where in its period each pixel is."""
    rows = np.arange(size[0], dtype=np.float32) * np.float32(down)
    columns = np.arange(size[1], dtype=np.float32) * np.float32(across) + rng.random()
    turns = np.add.outer(rows, columns.astype(np.float32))
    phase: Plane = turns - np.floor(turns)
    return phase


@functools.cache
def _tile(name: str, variant: int) -> Plane:
    """TILE x TILE values from 0 to 1, all of them used."""
    made = _made(name, np.random.default_rng([TEXTURES.index(name), variant]))
    low, high = np.percentile(made, (1, 99))
    values: Plane = ((made - low) / (high - low)).clip(0, 1).astype(np.float32)
    return values


def _made(name: str, rng: np.random.Generator) -> Plane:
    if name == "clouds":
        return _octaves(rng, 3, 200, 0.55)
    if name == "lumps":
        return np.tanh(2 * _octaves(rng, 24, 100, 0.5))
    if name == "soil":
        return _octaves(rng, 16, TILE, 0.85)
    if name == "brushed":
        return _grains(rng, TILE, 10) + 0.6 * _grains(rng, TILE // 4, 5)
    if name == "waves":
        slope = np.arange(TILE, dtype=np.float32)[:, None] * float(rng.uniform(0.6, 1.4))
        waves: Plane = np.sin((30 * _octaves(rng, 2, 8, 0.5) + slope) / 5)
        return waves + 0.3 * _grains(rng, TILE, 16)
    if name == "speckles":
        fine = _octaves(rng, 96, 200, 0.8)
        between = 0.15 * _octaves(rng, 8, 256, 0.8)
        specks: Plane = np.where(fine > np.quantile(fine, 0.93), np.float32(1), between)
        return specks
    if name == "veins":
        return 0.1 * _octaves(rng, 64, 256, 0.9) - np.sqrt(np.abs(_octaves(rng, 6, 24, 0.5)))
    return _octaves(rng, TILE // 2, TILE, 0.8)


def _octaves(rng: np.random.Generator, first: int, last: int, fall: float) -> Plane:
    """Noise of several sizes: from ``first`` to ``last`` grains along a side."""
    total = np.zeros((TILE, TILE), np.float32)
    grains, weight = first, 1.0
    while grains <= last:
        total += weight * _grains(rng, grains, grains)
        grains, weight = grains * 2, weight * fall
    return total


def _grains(rng: np.random.Generator, down: int, across: int) -> Plane:
    """A smooth tile of down x across random grains."""
    coarse = Image.fromarray(rng.normal(0, 1, (down, across)).astype(np.float32))
    return np.asarray(coarse.resize((TILE, TILE), Image.Resampling.BICUBIC))
