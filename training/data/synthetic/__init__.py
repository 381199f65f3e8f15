"""Endless synthetic scenes: shapes, textures, crowds and defects, with exact masks.

Photographs with masks show a few kinds of things, but teams also label cells, cracks, weeds and
tiles. Scenes teach what does not depend on the kind: that a click means the region under it, where
a region ends, and words of side, order, colour, size, number and texture.

layouts.py decides what is where, shapes.py has the outlines, surfaces.py the colours and textures,
scene.py draws and paints, styles.py has the kinds of pictures and the camera that takes them. Seed
and number determine a picture.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.sample import VOID, Dataset, Expression, Sample, SampleObject
from training.data.synthetic.layouts import KINDS, LAYOUTS
from training.data.synthetic.scene import Builder, painted
from training.data.synthetic.styles import STYLES, Camera
from training.data.synthetic.surfaces import Palette, texture

SOURCE = "synthetic"
# The background photograph may show other things, so nothing can be called absent.
ON_PHOTOGRAPHS = "synthetic on photographs"
# Widths and heights, in turn, of pictures that are read by index.
SIZES = ((288, 224), (224, 288), (256, 256))
# A thing with a smaller visible share, or fewer visible pixels, is not asked for.
LEAST_SEEN = 0.3
LEAST_PIXELS = 6
# The number of photographs for patches, which are kept in memory, and their longest side: between
# 60 and 100 % of this, since a patch is a part of one.
KEPT = 96
LARGEST = 560
# How often the ground, and how often the filling of some things, is a patch of a photograph.
PHOTOGRAPHED = 0.2, 0.25


class SyntheticDataset:
    """Endless scenes, determined by the seed.

    count: number of scenes that can be read by index. patches: photographs for grounds and
    fillings. categories: every one that can occur.
    """

    def __init__(self, seed: int = 1, *, count: int = 60, patches: Dataset | None = None) -> None:
        self.seed = seed
        self._count = count
        self._patches = patches
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self.categories = KINDS
        self._read = functools.lru_cache(maxsize=8)(self.made)

    @property
    def sources(self) -> Sequence[str]:
        return [SOURCE] * self._count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._count:
            raise IndexError(f"Scene {index} of {self._count}")
        width, height = self.size(index)
        return self._read(index, height, width)

    def size(self, index: int) -> tuple[int, int]:
        return SIZES[index % len(SIZES)]

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return self[index].objects

    def expressions(self, index: int) -> tuple[Expression, ...]:
        return ()

    def made(self, number: int, height: int, width: int) -> Sample:
        """Scene ``number``, 0 to 2**63 - 1, with height x width pixels.

        Raises DataError for a broken photograph.
        """
        rng = np.random.default_rng([self.seed, number])
        shares = np.array([layout.share for layout in LAYOUTS])
        layout = LAYOUTS[int(rng.choice(len(LAYOUTS), p=shares / shares.sum()))]
        chances = np.array(list(layout.styles.values()))
        style = STYLES[str(rng.choice(list(layout.styles), p=chances / chances.sum()))]
        camera = Camera.draw(style, rng)
        size = height, width
        on, filled = rng.random(2) < PHOTOGRAPHED
        on = on and style.name not in ("glowing", "stained")
        background = self._patch(size, rng) if on else None
        fill = self._patch(size, rng) if filled else None
        builder = Builder(*size, Palette(style, camera, size, rng, fill, background), rng)
        layout.fill(builder)
        levels = painted(builder, camera.gain(size, rng))
        image = camera.develop(levels, texture("grain", size, rng))
        source = SOURCE if background is None else ON_PHOTOGRAPHS
        return _sample(f"synthetic-{self.seed}-{number}", source, image, builder)

    def _patch(self, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32] | None:
        """3,H,W levels: a random part of a photograph."""
        place, corner = int(rng.integers(KEPT)), rng.random(2)
        if self._patches is None:
            return None
        photograph = self._photograph(place)
        height, width = photograph.shape[:2]
        photograph = np.tile(photograph, (-(-size[0] // height), -(-size[1] // width), 1))
        room = np.array(photograph.shape[:2]) - size + 1
        top, left = (corner * room).astype(int)
        part = photograph[top : top + size[0], left : left + size[1]]
        return np.ascontiguousarray(part.transpose(2, 0, 1), np.float32)

    def _photograph(self, place: int) -> NDArray[np.uint8]:
        """H,W,3."""
        assert self._patches is not None
        if place not in self._kept:
            rng = np.random.default_rng([self.seed, place, 7])
            picture = Image.fromarray(self._patches[int(rng.integers(len(self._patches)))].image)
            scale = LARGEST / max(picture.size) * float(rng.uniform(0.6, 1.0))
            size = round(picture.width * scale), round(picture.height * scale)
            self._kept[place] = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
        return self._kept[place]


def _sample(key: str, source: str, image: NDArray[np.uint8], builder: Builder) -> Sample:
    """The scene as a sample: masks are visible parts; the mask of a whole includes its parts."""
    ids, things = builder.ids(), builder.things
    seen = np.bincount(ids.ravel(), minlength=len(things) + 1)
    whole = seen.copy()
    parts: dict[int, list[int]] = {}
    for number, thing in enumerate(things, 1):
        if thing.whole:
            parts.setdefault(thing.whole, [thing.whole]).append(number)
            whole[thing.whole] += seen[number]
    drawn = np.array([0, *(thing.area for thing in things)])
    shown = (seen > 0) & (whole >= LEAST_PIXELS) & (whole >= LEAST_SEEN * drawn)
    objects = tuple(
        SampleObject(number, thing.kind, traits=(thing.pattern,) if thing.pattern else ())
        for number, thing in enumerate(things, 1)
        if shown[number]
    )
    shown[0] = True
    numbers = np.where(shown, np.arange(len(shown)), VOID).astype(np.int16)
    return Sample(
        key,
        source,
        image,
        numbers.take(ids),
        objects,
        masks={number: np.isin(ids, inside) for number, inside in parts.items() if shown[number]},
    )
