"""Scenes made of cut-outs: several of a kind, large and small, one before the other, on textures.
And drawn shapes, since what has no name in photographs must be found as well.

Masks are true to the pixel. Everything random comes from the number of the scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from training.gate.general_set.scene import (
    LEAST_SEEN,
    SOURCES,
    WORDS,
    Mask,
    Picture,
    Scene,
    mask_of,
)

# Tries until enough of every object of a scene is seen.
TRIES = 200
SEEN = 0.6


def scenes() -> Iterator[Scene]:
    """All of them."""
    for number, plan in enumerate(PLANS):
        yield _visible(partial(_composed, number, plan), [number], SEEN)
    for number in range(SHAPE_SCENES):
        yield _visible(partial(_shapes, number), [7, number], LEAST_SEEN)


def _visible(
    make: Callable[[np.random.Generator], Scene], seed: Sequence[int], share: float
) -> Scene:
    """The first try in which this share of every object is seen."""
    for attempt in range(TRIES):
        scene = make(np.random.default_rng([*seed, attempt]))
        if not scene.hidden(share):
            break
    return scene


# -- cut-outs

SIZE = 320, 240
# Photograph, part (left, top, right, bottom) and colour (grey ones are tinted) of backgrounds.
GROUNDS = {
    "brick": ("brick", (0, 0, 512, 384), (176, 98, 80)),
    "grass": ("grass", (0, 0, 512, 384), (104, 150, 62)),
    "gravel": ("gravel", (0, 0, 512, 384), (158, 148, 132)),
    "wood": ("coffee", (440, 0, 600, 120), None),
    "sky": ("rocket", (205, 0, 425, 120), None),
    "wall": ("brick", (100, 60, 400, 285), (196, 190, 176)),
}


class CutOut(NamedTuple):
    """A thing of a photograph, and its least and largest share of the scene's height."""

    photograph: str
    low: float
    high: float
    # Cut off by the photograph's lower border, so it stands on it here, too.
    at_border: bool = False


CUT_OUTS = {
    "cup": CutOut("coffee", 0.3, 0.5),
    "helmet": CutOut("astronaut", 0.3, 0.5, at_border=True),
    "shuttle": CutOut("astronaut", 0.45, 0.7),
    "woman": CutOut("astronaut", 0.6, 0.9, at_border=True),
    "man": CutOut("camera", 0.65, 0.95, at_border=True),
    "rocket": CutOut("rocket", 0.6, 0.9),
    "horse": CutOut("horse", 0.35, 0.6),
    "patch": CutOut("astronaut", 0.2, 0.35),
    "coin": CutOut("coins", 0.14, 0.26),
    "cell": CutOut("cell", 0.2, 0.35),
}
COINS = 24
COATS = ((120, 78, 48), (70, 62, 58), (176, 150, 112))


@dataclass(frozen=True)
class ScenePlan:
    """What is in a scene, from the back to the front."""

    ground: str
    things: tuple[str, ...]


PLANS = (
    ScenePlan("wood", ("cup", "cup", "coin", "coin")),
    ScenePlan("grass", ("horse", "horse")),
    ScenePlan("brick", ("woman", "helmet")),
    ScenePlan("sky", ("rocket", "shuttle")),
    ScenePlan("gravel", ("coin", "coin", "coin", "coin")),
    ScenePlan("grass", ("man", "horse")),
    ScenePlan("wood", ("patch", "patch", "cup")),
    ScenePlan("wall", ("horse", "woman")),
    ScenePlan("gravel", ("helmet", "cup", "coin")),
    ScenePlan("sky", ("shuttle", "shuttle")),
    ScenePlan("brick", ("man", "cup")),
    ScenePlan("grass", ("cup", "cup", "cup")),
    ScenePlan("wall", ("cell", "cell", "patch")),
    ScenePlan("gravel", ("horse", "man")),
    ScenePlan("wood", ("coin", "coin", "coin", "cup")),
    ScenePlan("brick", ("rocket", "shuttle", "horse")),
)


def _tinted(grey: Picture, colour: Sequence[int]) -> Picture:
    """A grey texture in a colour of its own."""
    light = grey.astype(np.float32) / max(float(grey.mean()), 1.0)
    return (light * np.asarray(colour, np.float32)).clip(0, 255).astype(np.uint8)


def _composed(number: int, plan: ScenePlan, rng: np.random.Generator) -> Scene:
    photograph, box, colour = GROUNDS[plan.ground]
    used = [photograph, *(CUT_OUTS[thing].photograph for thing in plan.things)]
    if "horse" in plan.things:
        used.append("gravel")
    ground = _ground(photograph, box, colour, rng)
    scene = Scene(f"composed-{number:02}", "composed", ground, tuple(dict.fromkeys(used)))
    masks = []
    for thing in plan.things:
        cut = _cut_out(thing, rng)
        _, low, high, at_border = CUT_OUTS[thing]
        height = rng.uniform(low, high) * SIZE[1]
        cut = cut.resize(
            (max(8, round(cut.width * height / cut.height)), round(height)),
            Image.Resampling.LANCZOS,
        )
        if not at_border:
            cut = cut.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC, expand=True)
        if rng.random() < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        left = round(rng.uniform(-0.1, 1.1) * (SIZE[0] - cut.width))
        lowest = SIZE[1] - cut.height
        top = lowest if at_border else round(rng.uniform(0.0, 1.0) * max(0, lowest))
        scene.picture, mask = _pasted(scene.picture, cut, left, top, rng)
        masks.append(mask)
    for mask, thing, phrase in zip(masks, plan.things, _phrases(plan, masks), strict=True):
        scene.add(mask, _category(thing), phrase)
    noise = rng.normal(0, 2.0, scene.picture.shape)
    scene.picture = (scene.picture + noise).clip(0, 255).astype(np.uint8)
    return scene


def _ground(
    photograph: str,
    box: tuple[int, int, int, int],
    colour: tuple[int, int, int] | None,
    rng: np.random.Generator,
) -> Picture:
    part = Image.fromarray(SOURCES[photograph].pixels()).crop(box)
    pixels = np.asarray(part.resize(SIZE, Image.Resampling.LANCZOS))
    if colour is not None:
        pixels = _tinted(pixels, colour)
    # Light from one side.
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    turn = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(turn) * x / SIZE[0] + np.sin(turn) * y / SIZE[1]) * 0.35
    light = 1.0 + slope - slope.mean()
    lit: Picture = (pixels * light[..., None]).clip(0, 255).astype(np.uint8)
    return lit


def _cut_out(thing: str, rng: np.random.Generator) -> Image.Image:
    """The thing alone, RGBA, cut to its border."""
    source = SOURCES[CUT_OUTS[thing].photograph]
    pixels = source.pixels()
    if thing == "horse":
        mask = pixels[..., 0] < 128
        rows, columns = mask.shape
        texture = SOURCES["gravel"].pixels()[:rows, :columns]
        coat = _tinted(texture // 3 + 90, COATS[int(rng.integers(len(COATS)))])
        depth = np.minimum(ndimage.distance_transform_edt(mask), 30) / 30
        pixels = (coat * (0.55 + 0.5 * depth[..., None])).clip(0, 255).astype(np.uint8)
    else:
        name = f"coin {int(rng.integers(COINS))}" if thing == "coin" else thing
        height, width = pixels.shape[:2]
        mask = mask_of(source.name, name, (width, height), (0, 0, width, height))
        if thing == "woman":
            mask &= ~mask_of(source.name, "helmet", (width, height), (0, 0, width, height))
        if thing == "man":
            for other in ("camera", "tripod"):
                mask &= ~mask_of(source.name, other, (width, height), (0, 0, width, height))
    # The outermost pixels hold some of what was behind.
    mask = ndimage.binary_erosion(mask, border_value=1)
    bright = (pixels * rng.uniform(0.85, 1.12)).clip(0, 255).astype(np.uint8)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Image.fromarray(np.dstack([bright, mask.astype(np.uint8) * 255])[part])


def _pasted(
    ground: Picture, cut: Image.Image, left: int, top: int, rng: np.random.Generator
) -> tuple[Picture, Mask]:
    """The picture with a cut-out and its shadow on it, and where the cut-out is."""
    layer = Image.new("RGBA", SIZE)
    layer.paste(cut, (left, top))
    alpha = np.asarray(layer)[..., 3].astype(np.float32) / 255
    blurred = Image.fromarray(np.asarray(layer)[..., 3]).filter(ImageFilter.GaussianBlur(5))
    shift = int(rng.integers(2, 7)), int(rng.integers(-6, 7))
    shadow = ndimage.shift(np.asarray(blurred, np.float32) / 255, shift, order=0)
    shaded = ground * (1 - 0.4 * shadow)[..., None]
    pixels = np.asarray(layer)[..., :3] * alpha[..., None] + shaded * (1 - alpha)[..., None]
    return pixels.clip(0, 255).astype(np.uint8), alpha > 0.5


def _phrases(plan: ScenePlan, masks: Sequence[Mask]) -> list[str]:
    """The name of each; where two bear it and stand apart, the side as well."""
    middles = [float(np.flatnonzero(mask.any(0)).mean()) for mask in masks]
    phrases = []
    for thing, middle in zip(plan.things, middles, strict=True):
        same = [m for other, m in zip(plan.things, middles, strict=True) if other == thing]
        name = _category(thing) if thing not in WORDS else WORDS[thing][1]
        if len(same) == 2 and max(same) - min(same) > 0.15 * SIZE[0]:
            name = f"{'left' if middle == min(same) else 'right'} {name}"
        phrases.append(name)
    return phrases


def _category(thing: str) -> str:
    return WORDS[thing][0] if thing in WORDS else thing


# -- shapes

SHAPES_SIZE = 288, 216
SHAPE_SCENES = 9
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
SHAPE_GROUNDS = (None, "gravel", "grass", None, "brick")


def _shapes(number: int, rng: np.random.Generator) -> Scene:
    name = SHAPE_GROUNDS[number % len(SHAPE_GROUNDS)]
    ground = _ground_of_shapes(name, rng)
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
        scene.add(mask > 0.5, shape, f"{colour} {shape}")
    return scene


def _ground_of_shapes(name: str | None, rng: np.random.Generator) -> Picture:
    width, height = SHAPES_SIZE
    colour = rng.uniform(90, 190, 3)
    if name is not None:
        part = Image.fromarray(SOURCES[name].pixels()).crop((0, 0, 2 * width - 64, 2 * height - 48))
        grey = np.asarray(part.resize(SHAPES_SIZE, Image.Resampling.LANCZOS))
        return _tinted(grey, [int(value) for value in colour])
    clouds = ndimage.gaussian_filter(rng.normal(0, 1, (height, width)), 22)
    grain = rng.normal(0, 4, (height, width))
    light = 24 * clouds / clouds.std() + grain
    clouded: Picture = (colour + light[..., None]).clip(0, 255).astype(np.uint8)
    return clouded


def _drawn(shape: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """How much of each pixel a shape covers: of any size, turn and place, at times cut off."""
    width, height = SHAPES_SIZE
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
    small = canvas.resize(SHAPES_SIZE, Image.Resampling.BOX)
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
    width, height = SHAPES_SIZE
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
