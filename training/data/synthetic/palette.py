"""The surfaces of things with the words that are true of them, painted over a scene's id map."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.data.synthetic.styles import NAMED, Camera, Colour, Style, near, shade
from training.data.synthetic.textures import PATTERNS, Pattern, Plane, irregular, regular

# The least difference, in levels, between a thing and its ground, or between two kinds of looks.
APART = 30.0
# How often a thing is filled with a part of a photograph, where there are photographs.
FROM_PHOTOGRAPH = 0.2


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

    photograph: 3,H,W levels to fill things with, or None.
    """

    def __init__(
        self,
        style: Style,
        camera: Camera,
        size: tuple[int, int],
        rng: np.random.Generator,
        photograph: NDArray[np.float32] | None,
        ground: NDArray[np.float32] | None,
    ) -> None:
        """ground: 3,H,W levels of the background if it is a photograph."""
        self.style, self.camera, self.size = style, camera, size
        self._rng = rng
        self.photograph = photograph
        # Whether things of this scene may look solid.
        self._solid = rng.random() < math.sqrt(style.shaded) - 0.15
        self.planes: list[Plane] = [np.zeros((1, 1), np.float32)]
        self._patterns: list[tuple[Pattern, float, int]] = []
        self._irregular = 0
        self.busy = "photograph" if ground is not None else ""
        colour = style.ground[int(rng.integers(len(style.ground)))]
        if ground is None:
            self.ground = self._ground(near(colour, rng, 10.0))
        else:
            mean = ground.mean((1, 2))
            self.ground = Surface((float(mean[0]), float(mean[1]), float(mean[2])), colour)

    def look(self, period: float, *, unlike: Sequence[Surface] = ()) -> Surface:
        """A random surface that differs from the ground.

        period: of a regular pattern, in pixels. unlike: more surfaces to differ from.
        """
        style, rng = self.style, self._rng
        first = self._colour([self.ground, *unlike])
        solid = 0.8 if self._solid else 0.0
        slope = float(rng.uniform(0.05, 0.3)) if rng.random() < solid else 0.0
        dome = 0.0
        if rng.random() < solid:
            dome = float(rng.uniform(0.1, 0.5)) * (1 if rng.random() < 0.75 else -1)
        chance = rng.random()
        if self.photograph is not None and rng.random() < FROM_PHOTOGRAPH:
            return Surface(first, first, slope=slope, photograph=True)
        if chance < style.patterned:
            pattern, actual, plane = self._pattern(period)
            second = self._colour([Surface(first, first)], least=2 * APART)
            if self.camera.shows(_contrast(first, second, grey=self.camera.grey), actual):
                return Surface(first, second, plane, pattern, actual, slope)
        elif chance < style.patterned + (1 - style.patterned) * style.textured:
            second = shade(first, float(rng.choice([-1, 1]) * rng.uniform(15, 70)))
            return Surface(first, second, self._texture(), slope=slope, dome=dome)
        return Surface(first, first, pattern="plain", slope=slope, dome=dome)

    def hole(self) -> Surface:
        """The dark surface that is seen through a hole."""
        depth = float(self._rng.uniform(60, 140))
        first = shade(self.ground.first, -depth)
        return Surface(first, first, dome=-float(self._rng.uniform(0.0, 0.5)) * self._solid)

    def _ground(self, colour: Colour) -> Surface:
        style, rng = self.style, self._rng
        spread = float(rng.uniform(*style.ground_spread))
        second = near(shade(colour, float(rng.choice([-1, 1])) * spread), rng, 6.0)
        self.planes.append(irregular(str(rng.choice(list(style.textures))), self.size, rng))
        return Surface(colour, second, 1)

    def _pattern(self, period: float) -> tuple[Pattern, float, int]:
        """A pattern, its period and its plane: a new one, or one of the scene's at most two."""
        rng = self._rng
        if len(self._patterns) < 2 and not (self._patterns and rng.random() < 0.5):
            pattern = PATTERNS[int(rng.integers(len(PATTERNS)))]
            self.planes.append(regular(pattern, self.size, period, rng))
            self._patterns.append((pattern, period, len(self.planes) - 1))
            return self._patterns[-1]
        return self._patterns[int(rng.integers(len(self._patterns)))]

    def _texture(self) -> int:
        if not self._irregular or (self._irregular < 2 and self._rng.random() < 0.3):
            names = ("clouds", "lumps", "soil", "brushed", "waves", "grain", "veins", "speckles")
            self.planes.append(irregular(str(self._rng.choice(names)), self.size, self._rng))
            self._irregular += 1
            self._last = len(self.planes) - 1
        return self._last

    def _colour(self, others: Sequence[Surface], least: float = APART) -> Colour:
        """A colour of the style, of six tries the first or the most different from the others."""
        style, rng = self.style, self._rng
        best, farthest = others[0].first, -1.0
        for _ in range(6):
            if style.things:
                named = NAMED[style.things[int(rng.integers(len(style.things)))]]
                tried = near(named[int(rng.integers(len(named)))], rng)
            else:
                step = float(rng.uniform(*style.step)) * float(rng.choice([-1, 1]))
                tried = near(shade(self.ground.first, step), rng, 4.0)
            away = min(self._apart(tried, other) for other in others)
            if away > farthest:
                best, farthest = tried, away
            if away >= least:
                break
        return best

    def _apart(self, colour: Colour, look: Surface) -> float:
        return min(
            _contrast(colour, own, grey=self.camera.grey) for own in (look.first, look.second)
        )


def _contrast(one: Colour, other: Colour, *, grey: bool) -> float:
    """The difference of two colours in levels, as the camera sees them."""
    if grey:
        weights = (0.299, 0.587, 0.114)
        return abs(sum(w * (a - b) for w, a, b in zip(weights, one, other, strict=True)))
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


Byte = TypeVar("Byte", np.uint8, np.bool_)


@dataclass(frozen=True)
class Body:
    """The place and surface of a thing. x, y: its centre; size: its radius; all in pixels."""

    look: Surface
    x: float
    y: float
    size: float


@dataclass(frozen=True)
class Lighting:
    """The light of a scene. angle: its direction in radians. outline: how much darker borders are,
    in levels. shadow: darkness of shadows, 0 to 1. blur: of shadows, in pixels.
    """

    angle: float
    outline: float = 0.0
    shadow: float = 0.0
    blur: float = 3.0


def painted(
    ids: NDArray[np.uint8],
    bodies: Sequence[Body],
    palette: Palette,
    light: Lighting,
    ground: NDArray[np.float32] | None,
    gain: Plane,
) -> Iterator[Plane]:
    """The red, green and blue plane of a scene, H,W levels each.

    One at a time, since a plane fits into a processor's cache and three do not. ids: H,W. bodies:
    by id, from 1. ground: 3,H,W levels of the background; None: the palette's. gain: H,W factors
    of the camera, changed in place.
    """
    looks = [palette.ground, *(body.look for body in bodies)]
    first = np.array([look.first for look in looks]).round().astype(np.uint8).T
    second = np.array([look.second for look in looks]).round().astype(np.uint8).T
    planes = np.array([look.plane for look in looks])
    mixture = _mixture(ids, planes, palette.planes) if planes.any() else None
    behind = ids == 0 if ground is not None else None
    filled = None
    if palette.photograph is not None and any(look.photograph for look in looks):
        filled = _looked_up(ids, np.array([look.photograph for look in looks]))
    shading = _shading(ids, bodies, light)
    borders = _borders(ids) * np.float32(light.outline) * gain if light.outline else None
    if shading is not None:
        gain *= shading
    if light.shadow:
        gain *= _shadow(ids, light)
    for channel in range(3):
        plane = _looked_up(ids, first[channel]).astype(np.float32)
        if mixture is not None:
            mixed = _looked_up(ids, second[channel]) - plane
            mixed *= mixture
            plane += mixed
        if ground is not None and behind is not None:
            np.putmask(plane, behind, ground[channel])
        if palette.photograph is not None and filled is not None:
            np.putmask(plane, filled, palette.photograph[channel])
        plane *= gain
        if borders is not None:
            plane -= borders
        yield plane


def _looked_up(ids: NDArray[np.uint8], table: NDArray[Byte]) -> NDArray[Byte]:
    """H,W: the table's entry for the id of each pixel. bytes.translate is faster than numpy."""
    every = np.zeros(256, table.dtype)
    every[: len(table)] = table
    values = np.frombuffer(ids.tobytes().translate(every.tobytes()), table.dtype)
    return values.reshape(ids.shape)


def _mixture(
    ids: NDArray[np.uint8], planes: NDArray[np.int64], all_planes: Sequence[Plane]
) -> Plane:
    """H,W: the value of each pixel in its thing's plane."""
    used = [int(number) for number in np.unique(planes)]
    if len(used) == 1:
        return all_planes[used[0]]
    mixture = np.array(np.broadcast_to(all_planes[int(planes[0])], ids.shape))
    for number in used:
        if number != planes[0]:
            inside = _looked_up(ids, planes == number)
            np.putmask(mixture, inside, np.broadcast_to(all_planes[number], ids.shape))
    return mixture


def _shading(ids: NDArray[np.uint8], bodies: Sequence[Body], light: Lighting) -> Plane | None:
    """H,W factors around 1: light from one side, and domes; None if nothing has either."""
    about = np.array(
        [(0, 0, 1, 0, 0)]
        + [(b.x, b.y, 1 / max(b.size, 1.0), b.look.slope, b.look.dome) for b in bodies],
        np.float32,
    ).T
    if not about[3:].any():
        return None
    where = ids.astype(np.intp)
    x0, y0, scale, slope, dome = (row.take(where, mode="clip") for row in about)
    y, x = (np.arange(count, dtype=np.float32) for count in ids.shape)
    across = (x[None, :] - x0) * scale
    down = (y[:, None] - y0) * scale
    shade: Plane = across * np.float32(np.cos(light.angle))
    shade += down * np.float32(np.sin(light.angle))
    shade *= slope
    across *= across
    down *= down
    across += down
    np.subtract(np.float32(0.5), across, out=across)
    across *= dome
    shade += across
    shade += 1
    np.clip(shade, 0.3, 1.6, out=shade)
    return shade


def _shadow(ids: NDArray[np.uint8], light: Lighting) -> Plane:
    """H,W factors up to 1: things darken the ground on the side away from the light."""
    stencil = Image.fromarray((ids > 0).view(np.uint8) * np.uint8(255)).reduce(2)
    soft = stencil.filter(ImageFilter.BoxBlur(light.blur / 2))
    soft = soft.resize(ids.shape[::-1], Image.Resampling.BILINEAR)
    away = (-light.blur * np.array([np.sin(light.angle), np.cos(light.angle)])).round().astype(int)
    dark = np.roll(np.asarray(soft), away.tolist(), (0, 1)).astype(np.float32)
    dark *= np.float32(-light.shadow / 255)
    dark += 1
    np.putmask(dark, ids > 0, 1)
    return dark


def _borders(ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """H,W: pixels whose left or upper neighbour has another id."""
    borders = np.zeros(ids.shape, bool)
    borders[:, 1:] = ids[:, 1:] != ids[:, :-1]
    borders[1:] |= ids[1:] != ids[:-1]
    return borders
