"""A synthetic scene while it is drawn: the id map, the thing of each id, and its painting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.data.masks import spread
from training.data.sample import Item, pick
from training.data.synthetic import shapes
from training.data.synthetic.surfaces import Palette, Plane, Surface

# The most things in a scene: ids fit into a byte, where 255 is void in stored samples.
MOST = 250
# Wider paths, in pixels, get round joints and ends, which Pillow draws slowly.
ROUNDED = 4
# A pattern that repeats less often than this within a thing is not named.
REPEATS = 2.5
# Number of different shapes of one kind in a scene.
STOCK = 12

Place = tuple[float, float]


@dataclass(frozen=True)
class SceneObject:
    """A thing of a scene.

    kind: its category. centre, size: its place and radius in pixels. whole: the id of what it is a
    part of, 0 of none. area: pixels that it covered when it was drawn.
    """

    kind: str
    look: Surface
    centre: Place
    size: float
    whole: int
    area: int

    @property
    def pattern(self) -> str:
        """The word for its surface ("plain", "striped", ...); "" if unsure."""
        if self.look.period and 2 * self.size < REPEATS * self.look.period:
            return ""
        return self.look.pattern


class Builder:
    """Draws things over each other, without smoothing, and records what they are.

    Each pixel shows one thing. nuclei: the surface of the nuclei of cells; None without nuclei.
    """

    def __init__(self, height: int, width: int, palette: Palette, rng: np.random.Generator) -> None:
        self.height, self.width = height, width
        self.side = min(height, width)
        self.palette = palette
        self.rng = rng
        self.things: list[SceneObject] = []
        self.nuclei: Surface | None = None
        self._ids = Image.new("L", (width, height))
        self._draw = ImageDraw.Draw(self._ids)
        self._stock: dict[str, list[shapes.Shape]] = {}

    def ids(self) -> NDArray[np.uint8]:
        """H,W: the id of each pixel, 0 where nothing was drawn."""
        return np.asarray(self._ids)

    def put(
        self,
        kind: str,
        centre: Place,
        size: float,
        look: Surface,
        *,
        turn: float | None = None,
        shape: shapes.Shape | None = None,
        flat: float = 1.0,
        whole: int = 0,
    ) -> int:
        """Draw one thing and return its id; 0 if the scene is full.

        size: radius in pixels; long and thin kinds choose their own. turn: in radians, by default
        random. shape: in pixels, instead of a random one of the kind and this radius. flat: height
        as a share of the width. whole: the id of what it is a part of.
        """
        if len(self.things) >= MOST:
            return 0
        rng = self.rng
        if kind == "hole":
            look = self.palette.hole()
        if kind in shapes.RUNS:
            area = self._draw_trace(shapes.trace(kind, centre, self.side, rng))
        else:
            if turn is None:
                turn = float(
                    rng.normal(0, 0.15) if kind in shapes.STANDING else rng.uniform(0, 2 * np.pi)
                )
            scale = 1.0 if shape is not None else size
            axes = shapes.rotation(turn) * ((scale,), (scale * flat,))
            drawn = self._shape(kind) if shape is None else shape
            area = self._draw_shape([(points @ axes + centre, fills) for points, fills in drawn])
        self.things.append(SceneObject(kind, look, centre, size, whole, area))
        return len(self.things)

    def looks(self, count: int, size: float) -> list[Surface]:
        """``count`` different surfaces for things of about this radius in pixels."""
        looks: list[Surface] = []
        for _ in range(count):
            period = float(np.clip(size * self.rng.uniform(0.3, 0.8), 4.0, 24.0))
            looks.append(self.palette.look(period, unlike=looks[-3:]))
        return looks

    def pick(self, among: Sequence[Item]) -> Item:
        return pick(among, self.rng)

    def anywhere(self, margin: float = 0.0) -> Place:
        """A random place at least ``margin`` pixels from the border."""
        x = self.rng.uniform(margin, max(self.width - margin, margin + 1))
        y = self.rng.uniform(margin, max(self.height - margin, margin + 1))
        return float(x), float(y)

    def near(self, place: Place, away: float) -> Place:
        """A random place about ``away`` pixels from this one."""
        x, y = place + self.rng.normal(0, away, 2)
        return float(x), float(y)

    def apart(self, count: int, distance: float) -> list[Place]:
        """Up to ``count`` random places at least ``distance`` pixels apart."""
        tries = self.rng.uniform((0, 0), (self.width, self.height), (8 * count, 2))
        return [(float(x), float(y)) for x, y in spread(tries, distance, count)]

    def _shape(self, kind: str) -> shapes.Shape:
        """A random shape of the kind; after STOCK shapes, one of them again."""
        stock = self._stock.setdefault(kind, [])
        if len(stock) < STOCK:
            stock.append(shapes.shape_of(kind, self.rng))
            return stock[-1]
        return stock[int(self.rng.integers(STOCK))]

    def _draw_shape(self, shape: shapes.Shape) -> int:
        if len(shape) == 1:
            points = shape[0][0]
            (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
            if min(left, top) >= 0 and right < self.width - 1 and bottom < self.height - 1:
                # Most shapes are one polygon within the picture, which needs no stencil.
                self._draw.polygon(points.ravel().tolist(), fill=len(self.things) + 1)
                x, y = np.concatenate([points, points[:1]]).T
                return round(abs(float(x[1:] @ y[:-1] - y[1:] @ x[:-1])) / 2)
        corner, stencil = self._stencil([points for points, fills in shape if fills], 0.0)
        draw = ImageDraw.Draw(stencil)
        for points, fills in shape:
            draw.polygon((points - corner).ravel().tolist(), fill=255 if fills else 0)
        return self._add(corner, stencil)

    def _draw_trace(self, paths: shapes.Trace) -> int:
        reach = max(width for _, width in paths) / 2 + 1
        corner, stencil = self._stencil([path for path, _ in paths], reach)
        draw = ImageDraw.Draw(stencil)
        for path, width in paths:
            points = (path - corner).ravel().tolist()
            draw.line(points, fill=255, width=width, joint="curve" if width > ROUNDED else None)
            if width > ROUNDED:
                for end in (points[:2], points[-2:]):
                    draw.circle(end, width / 2, fill=255)
        return self._add(corner, stencil)

    def _stencil(
        self, parts: Sequence[shapes.Points], reach: float
    ) -> tuple[tuple[int, int], Image.Image]:
        """The corner and an empty stencil of the visible part of what is to be drawn."""
        points = parts[0] if len(parts) == 1 else np.concatenate(parts)
        (low_x, low_y), (high_x, high_y) = points.min(0) - reach, points.max(0) + reach
        left, top = max(int(low_x), 0), max(int(low_y), 0)
        right, bottom = min(int(high_x) + 2, self.width), min(int(high_y) + 2, self.height)
        return (left, top), Image.new("L", (max(right - left, 0), max(bottom - top, 0)))

    def _add(self, corner: tuple[int, int], stencil: Image.Image) -> int:
        """Put the next id where the stencil is; returns the number of pixels."""
        if 0 in stencil.size:
            return 0
        self._ids.paste(len(self.things) + 1, corner, stencil)
        return stencil.histogram()[255]


def painted(builder: Builder, gain: Plane) -> NDArray[np.float32]:
    """3,H,W levels of a finished scene. gain: H,W factors of the camera."""
    things, palette, rng = builder.things, builder.palette, builder.rng
    style = palette.style
    # numpy looks up faster by indices of its own type, and without checking them.
    ids = builder.ids().astype(np.intp)
    looks = [palette.ground, *(thing.look for thing in things)]
    first, second = (
        np.array([getattr(look, name) for look in looks], np.float32).T
        for name in ("first", "second")
    )
    planes = np.array([look.plane for look in looks])
    levels = first.take(ids, 1, mode="clip")
    if planes.any():
        mixture = np.zeros(ids.shape, np.float32)
        for number in np.unique(planes[planes > 0]):
            np.copyto(mixture, palette.planes[number], where=(planes == number).take(ids))
        mixed = (second - first).take(ids, 1, mode="clip")
        mixed *= mixture
        levels += mixed
    if palette.background is not None:
        np.copyto(levels, palette.background, where=ids == 0)
    if palette.photograph is not None:
        filled = np.array([look.photograph for look in looks]).take(ids)
        np.copyto(levels, palette.photograph, where=filled)
    angle = float(rng.uniform(0, 2 * np.pi))
    light = gain * _shading(ids, things, angle)
    if rng.random() < style.shadows:
        light *= _shadow(ids, angle, float(rng.uniform(2, 9)), float(rng.uniform(0.2, 0.6)))
    levels *= light
    if rng.random() < style.outlined:
        borders = np.zeros(ids.shape, bool)
        borders[:, 1:] = ids[:, 1:] != ids[:, :-1]
        borders[1:] |= ids[1:] != ids[:-1]
        levels -= borders * (np.float32(rng.uniform(15, 60)) * gain)
    return levels


def _shading(ids: NDArray[np.intp], things: Sequence[SceneObject], angle: float) -> Plane:
    """H,W factors around 1: light from one side, and domes."""
    table = np.array(
        [(0, 0, 1, 0, 0)]
        + [(*t.centre, 1 / max(t.size, 1.0), t.look.slope, t.look.dome) for t in things],
        np.float32,
    ).T
    if not table[3:].any():
        return np.ones(ids.shape, np.float32)
    x0, y0, scale, slope, dome = table.take(ids, 1, mode="clip")
    y, x = (np.arange(count, dtype=np.float32) for count in ids.shape)
    across = (x[None, :] - x0) * scale
    down = (y[:, None] - y0) * scale
    lit = across * np.float32(np.cos(angle)) + down * np.float32(np.sin(angle))
    round_ = np.float32(0.5) - across**2 - down**2
    shading: Plane = (1 + slope * lit + dome * round_).clip(0.3, 1.6)
    return shading


def _shadow(ids: NDArray[np.intp], angle: float, blur: float, darkness: float) -> Plane:
    """H,W factors up to 1: things darken the ground on the side away from the light.

    blur: in pixels. darkness: 0 to 1.
    """
    stencil = Image.fromarray((ids > 0).astype(np.uint8) * 255).reduce(2)
    soft = stencil.filter(ImageFilter.BoxBlur(blur / 2))
    soft = soft.resize(ids.shape[::-1], Image.Resampling.BILINEAR)
    away = round(-blur * math.sin(angle)), round(-blur * math.cos(angle))
    dark = np.roll(np.asarray(soft), away, (0, 1)) * np.float32(darkness / 255)
    return np.where(ids > 0, np.float32(1), 1 - dark)
