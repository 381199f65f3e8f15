"""Drawn shapes with shading and texture: what has no name in photographs must be found as well."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from training.gate.general_set.composed import tinted
from training.gate.general_set.scene import SOURCES, Mask, Picture, Scene

SIZE = 288, 216
SCENES = 9
TRIES = 200
# Shapes are drawn this many times larger, for smooth borders.
FINER = 4
COLOURS = {
    "red": (205, 45, 40),
    "green": (60, 150, 70),
    "blue": (50, 90, 200),
    "yellow": (225, 195, 60),
    "orange": (230, 130, 40),
    "purple": (130, 70, 160),
    "white": (235, 235, 230),
    "black": (40, 40, 44),
}
SHAPES = ("circle", "square", "triangle", "star", "ring")
GROUNDS = (None, "gravel", "grass", None, "brick")


def scenes() -> Iterator[Scene]:
    """All of them."""
    for number in range(SCENES):
        for attempt in range(TRIES):
            scene = _scene(number, np.random.default_rng([7, number, attempt]))
            if not scene.hidden():
                break
        yield scene


def _scene(number: int, rng: np.random.Generator) -> Scene:
    name = GROUNDS[number % len(GROUNDS)]
    ground = _ground(name, rng)
    scene = Scene(f"shapes-{number:02}", "shapes", ground, (name,) if name else ())
    colours = rng.permutation(list(COLOURS))
    for colour in colours[: int(rng.integers(3, 6))]:
        shape = str(rng.choice(SHAPES))
        mask = _drawn(shape, rng)
        paint = _paint(str(colour), rng)
        shadow = ndimage.gaussian_filter(ndimage.shift(mask, (4, 3), order=0), 3)
        shaded = scene.picture * (1 - 0.35 * shadow)[..., None]
        mixed = paint * mask[..., None] + shaded * (1 - mask)[..., None]
        scene.picture = mixed.clip(0, 255).astype(np.uint8)
        scene.add(_inside(mask), shape, f"{colour} {shape}")
    return scene


def _ground(name: str | None, rng: np.random.Generator) -> Picture:
    width, height = SIZE
    colour = rng.uniform(90, 190, 3)
    if name is not None:
        part = Image.fromarray(SOURCES[name].pixels()).crop((0, 0, 2 * width - 64, 2 * height - 48))
        grey = np.asarray(part.resize(SIZE, Image.Resampling.LANCZOS))
        return tinted(grey, [int(value) for value in colour])
    clouds = ndimage.gaussian_filter(rng.normal(0, 1, (height, width)), 22)
    grain = rng.normal(0, 4, (height, width))
    light = 24 * clouds / clouds.std() + grain
    clouded: Picture = (colour + light[..., None]).clip(0, 255).astype(np.uint8)
    return clouded


def _drawn(shape: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """How much of each pixel a shape covers: of any size, turn and place, at times cut off."""
    width, height = SIZE
    x, y = rng.uniform(0.08, 0.92) * width, rng.uniform(0.1, 0.9) * height
    size = rng.uniform(0.12, 0.3) * height
    flat, turn = rng.uniform(0.65, 1.0), rng.uniform(0, 2 * math.pi)
    canvas = Image.new("L", (width * FINER, height * FINER))
    for points, value in _corners(shape):
        turned = [
            (
                FINER * (x + size * (a * math.cos(turn) - flat * b * math.sin(turn))),
                FINER * (y + size * (a * math.sin(turn) + flat * b * math.cos(turn))),
            )
            for a, b in points
        ]
        ImageDraw.Draw(canvas).polygon(turned, fill=value)
    small = canvas.resize(SIZE, Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)


def _corners(shape: str) -> list[tuple[list[tuple[float, float]], int]]:
    """Polygons of about size 1, each with the value it is filled with."""

    def around(count: int, *radii: float) -> list[tuple[float, float]]:
        angles = [2 * math.pi * i / count for i in range(count)]
        far = [radii[i % len(radii)] for i in range(count)]
        return [(r * math.cos(t), r * math.sin(t)) for r, t in zip(far, angles, strict=True)]

    if shape == "ring":
        return [(around(90, 1.0), 255), (around(90, 0.55), 0)]
    sides = {"circle": (90, 1.0), "square": (4, 1.1), "triangle": (3, 1.15)}
    if shape in sides:
        count, radius = sides[shape]
        return [(around(count, radius), 255)]
    return [(around(10, 1.15, 0.5), 255)]


def _paint(colour: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """A colour with light from one side, and grain or stripes at times."""
    width, height = SIZE
    y, x = np.mgrid[0:height, 0:width]
    turn = rng.uniform(0, 2 * math.pi)
    along = (np.cos(turn) * x + np.sin(turn) * y) / height
    light = 1.0 + 0.5 * (along - along.mean())
    kind = rng.choice(["plain", "grain", "stripes"])
    if kind == "grain":
        light = light + rng.normal(0, 0.08, light.shape)
    elif kind == "stripes":
        light = light + 0.14 * np.sign(np.sin(along * height / rng.uniform(2.0, 4.0)))
    painted: NDArray[np.float64] = np.asarray(COLOURS[colour], float) * light[..., None]
    return painted


def _inside(covered: NDArray[np.float32]) -> Mask:
    inside: Mask = covered > 0.5
    return inside
