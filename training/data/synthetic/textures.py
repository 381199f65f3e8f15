"""Grey textures: H,W planes of values from 0 to 1 that mix two colours.

Irregular ones (clouds, soil, brushed metal, ...) are cut out of tiles that are made once per
process, since noise is the most expensive part of a scene. Regular ones (stripes, dots, checks),
which phrases name, are made with the requested period.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float32]
Pattern = Literal["striped", "dotted", "checkered"]
PATTERNS: tuple[Pattern, ...] = ("striped", "dotted", "checkered")
IRREGULAR = ("clouds", "lumps", "soil", "brushed", "waves", "speckles", "grain", "veins")

TILE = 512
# Different tiles of each texture; each is made in three sizes, cut and flipped at random.
VARIANTS = 3
NOISE_LEVELS = 40.0
SCALES = (0.6, 1.0, 1.8)


def irregular(name: str, size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """A random part of a random tile of this texture, H,W."""
    made = tile(name, int(rng.integers(VARIANTS)), int(rng.integers(len(SCALES))))
    return _part(made, size, rng).astype(np.float32) * np.float32(1 / 255)


def regular(
    pattern: Pattern, size: tuple[int, int], period: float, rng: np.random.Generator
) -> Plane:
    """Stripes, dots or checks of 0 and 1, H,W, that repeat after ``period`` pixels."""
    angle = (
        float(rng.uniform(0, np.pi)) if rng.random() < 0.6 else float(rng.choice([0, np.pi / 2]))
    )
    cos, sin = float(np.cos(angle)) / period, float(np.sin(angle)) / period
    across = _phase(size, cos, sin, rng)
    if pattern == "striped":
        return (across < _WHOLE * rng.uniform(0.35, 0.65)).astype(np.float32)
    along = _phase(size, -sin, cos, rng)
    if pattern == "checkered":
        return ((across < _WHOLE / 2) ^ (along < _WHOLE / 2)).astype(np.float32)
    away = (
        across.view(np.int16).astype(np.float32) ** 2 + along.view(np.int16).astype(np.float32) ** 2
    )
    return (away < (_WHOLE * rng.uniform(0.24, 0.36)) ** 2).astype(np.float32)


_WHOLE = 65536.0


def _phase(
    size: tuple[int, int], down: float, across: float, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """H,W: the phase of each pixel; 16 bits are one period and wrap around."""
    rows = ((np.arange(size[0]) * down + rng.random()) * _WHOLE).astype(np.int64).astype(np.uint16)
    columns = ((np.arange(size[1]) * across) * _WHOLE).astype(np.int64).astype(np.uint16)
    return rows[:, None] + columns[None, :]


def noise(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Fine noise, H,W, of mean 128 and deviation `NOISE_LEVELS`: a random part of a tile."""
    return np.ascontiguousarray(_part(_noise(int(rng.integers(VARIANTS))), size, rng))


@functools.cache
def tile(name: str, variant: int, scale: int) -> NDArray[np.uint8]:
    """One of the tiles: `TILE` x `TILE` grey levels, all of them used."""
    if SCALES[scale] != 1.0:
        side = TILE / SCALES[scale]
        plain = tile(name, variant, SCALES.index(1.0))
        wide = np.concatenate([plain, plain[:, ::-1]], 1)
        part = Image.fromarray(np.concatenate([wide, wide[::-1]]))
        box = (0, 0, side, side)
        return np.asarray(part.resize((TILE, TILE), Image.Resampling.BICUBIC, box))
    rng = np.random.default_rng([IRREGULAR.index(name), variant])
    made = _TILES[name](rng)
    low, high = np.percentile(made, (1, 99))
    levels: NDArray[np.uint8] = (255 * ((made - low) / (high - low)).clip(0, 1)).astype(np.uint8)
    return levels


def _part(
    made: NDArray[np.generic], size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.generic]:
    """A random part of a tile, flipped at random; larger ones repeat it."""
    if size[0] > TILE or size[1] > TILE:
        made = np.tile(made, (-(-size[0] // TILE), -(-size[1] // TILE)))
    top, left = (
        int(rng.integers(0, whole - part + 1)) for whole, part in zip(made.shape, size, strict=True)
    )
    part = made[top : top + size[0], left : left + size[1]]
    return part[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]


def _octaves(rng: np.random.Generator, first: int, last: int, fall: float) -> Plane:
    """Noise of several sizes: from ``first`` to ``last`` grains along a side."""
    total = np.zeros((TILE, TILE), np.float32)
    grains, weight = first, 1.0
    while grains <= last:
        coarse = Image.fromarray(rng.normal(0, 1, (grains, grains)).astype(np.float32))
        total += weight * np.asarray(coarse.resize((TILE, TILE), Image.Resampling.BICUBIC))
        grains, weight = grains * 2, weight * fall
    return total


def _stretched(rng: np.random.Generator, across: int, along: int) -> Plane:
    rows = Image.fromarray(rng.normal(0, 1, (across, along)).astype(np.float32))
    return np.asarray(rows.resize((TILE, TILE), Image.Resampling.BICUBIC))


def _waves(rng: np.random.Generator) -> Plane:
    y = np.arange(TILE, dtype=np.float32)[:, None]
    bent = 30 * _octaves(rng, 2, 8, 0.5) + y * float(rng.uniform(0.6, 1.4))
    waves: Plane = np.sin(bent / 5) + 0.3 * _stretched(rng, TILE, 16)
    return waves


def _speckles(rng: np.random.Generator) -> Plane:
    fine = _octaves(rng, 96, 200, 0.8)
    specks: Plane = np.where(fine > np.quantile(fine, 0.93), 1.0, 0.15 * _octaves(rng, 8, 256, 0.8))
    return specks.astype(np.float32)


def _veins(rng: np.random.Generator) -> Plane:
    veins: Plane = -(np.abs(_octaves(rng, 6, 24, 0.5)) ** 0.5) + 0.1 * _octaves(rng, 64, 256, 0.9)
    return veins


_TILES = {
    "clouds": lambda rng: _octaves(rng, 3, 200, 0.55),
    "lumps": lambda rng: np.tanh(2 * _octaves(rng, 24, 100, 0.5)),
    "soil": lambda rng: _octaves(rng, 16, TILE, 0.85),
    "brushed": lambda rng: _stretched(rng, TILE, 10) + 0.6 * _stretched(rng, TILE // 4, 5),
    "waves": _waves,
    "speckles": _speckles,
    "grain": lambda rng: _octaves(rng, TILE // 2, TILE, 0.8),
    "veins": _veins,
}


@functools.cache
def _noise(variant: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng([99, variant])
    made = rng.normal(128, NOISE_LEVELS, (TILE, TILE))
    return made.round().clip(0, 255).astype(np.uint8)
