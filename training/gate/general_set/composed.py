"""Scenes made of cut-outs: several of a kind, large and small, one before the other, on textures.

Masks are true to the pixel. Everything random comes from the number of the scene.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from training.gate.general_set.scene import SOURCES, WORDS, Mask, Picture, Scene, mask_of

SIZE = 320, 240
# Tries until such a share of every object of a scene is seen.
TRIES = 200
SEEN = 0.6
# Photograph, part (left, top, right, bottom) and colour (grey ones are tinted) of backgrounds.
GROUNDS = {
    "brick": ("brick", (0, 0, 512, 384), (176, 98, 80)),
    "grass": ("grass", (0, 0, 512, 384), (104, 150, 62)),
    "gravel": ("gravel", (0, 0, 512, 384), (158, 148, 132)),
    "wood": ("coffee", (440, 0, 600, 120), None),
    "sky": ("rocket", (205, 0, 425, 120), None),
    "wall": ("brick", (100, 60, 400, 285), (196, 190, 176)),
}
# Of the picture's height: how high a thing may stand, from and to.
HEIGHTS = {
    "cup": (0.3, 0.5),
    "helmet": (0.3, 0.5),
    "shuttle": (0.45, 0.7),
    "woman": (0.6, 0.9),
    "man": (0.65, 0.95),
    "rocket": (0.6, 0.9),
    "horse": (0.35, 0.6),
    "patch": (0.2, 0.35),
    "coin": (0.14, 0.26),
    "cell": (0.2, 0.35),
}
# Cut off by the picture's lower border, so they stand on it here, too.
AT_BORDER = ("woman", "man", "helmet")
PHOTOGRAPHS = {
    "cup": "coffee",
    "helmet": "astronaut",
    "shuttle": "astronaut",
    "woman": "astronaut",
    "man": "camera",
    "rocket": "rocket",
    "horse": "horse",
    "patch": "astronaut",
    "coin": "coins",
    "cell": "cell",
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


def scenes() -> Iterator[Scene]:
    """All of them."""
    for number, plan in enumerate(PLANS):
        for attempt in range(TRIES):
            scene = _scene(f"composed-{number:02}", plan, np.random.default_rng([number, attempt]))
            if not scene.hidden(SEEN):
                break
        yield scene


def tinted(grey: Picture, colour: Sequence[int]) -> Picture:
    """A grey texture in a colour of its own."""
    light = grey.astype(np.float32) / max(float(grey.mean()), 1.0)
    return (light * np.asarray(colour, np.float32)).clip(0, 255).astype(np.uint8)


def _scene(key: str, plan: ScenePlan, rng: np.random.Generator) -> Scene:
    photograph, box, colour = GROUNDS[plan.ground]
    used = [photograph, *(PHOTOGRAPHS[thing] for thing in plan.things)]
    if "horse" in plan.things:
        used.append("gravel")
    scene = Scene(
        key, "composed", _ground(photograph, box, colour, rng), tuple(dict.fromkeys(used))
    )
    masks = []
    for thing in plan.things:
        cut = _cut_out(thing, rng)
        low, high = HEIGHTS[thing]
        height = rng.uniform(low, high) * SIZE[1]
        cut = cut.resize(
            (max(8, round(cut.width * height / cut.height)), round(height)),
            Image.Resampling.LANCZOS,
        )
        if thing not in AT_BORDER:
            cut = cut.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC, expand=True)
        if rng.random() < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        left = round(rng.uniform(-0.1, 1.1) * (SIZE[0] - cut.width))
        lowest = SIZE[1] - cut.height
        top = lowest if thing in AT_BORDER else round(rng.uniform(0.0, 1.0) * max(0, lowest))
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
        pixels = tinted(pixels, colour)
    # Light from one side.
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    turn = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(turn) * x / SIZE[0] + np.sin(turn) * y / SIZE[1]) * 0.35
    light = 1.0 + slope - slope.mean()
    lit: Picture = (pixels * light[..., None]).clip(0, 255).astype(np.uint8)
    return lit


def _cut_out(thing: str, rng: np.random.Generator) -> Image.Image:
    """The thing alone, RGBA, cut to its border."""
    source = SOURCES[PHOTOGRAPHS[thing]]
    pixels = source.pixels()
    if thing == "horse":
        mask = pixels[..., 0] < 128
        rows, columns = mask.shape
        texture = SOURCES["gravel"].pixels()[:rows, :columns]
        coat = tinted(texture // 3 + 90, COATS[int(rng.integers(len(COATS)))])
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
