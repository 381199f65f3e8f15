"""From the map of ids and the surface of each thing to light: all pixels at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.data.synthetic.looks import Look, Palette
from training.data.synthetic.textures import Plane


@dataclass(frozen=True)
class Body:
    """Where a thing is and what it looks like. x, y: its centre; size: its radius; in pixels."""

    look: Look
    x: float
    y: float
    size: float


@dataclass(frozen=True)
class Light:
    """How a scene is lit. angle: where light comes from. outline: levels that borders are darker
    (or lighter, below 0). shadow: how dark shadows are, 0 to 1; blur: of shadows, in pixels.
    """

    angle: float
    outline: float = 0.0
    shadow: float = 0.0
    blur: float = 3.0


def painted(
    ids: NDArray[np.uint8],
    bodies: Sequence[Body],
    palette: Palette,
    light: Light,
    ground: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """3,H,W levels. bodies: by id, from 1. ground: 3,H,W levels behind them; None: the palette's.

    Colours are planes here, one after the other, which numpy works through several times as
    quickly as through pixels of three.
    """
    looks = [palette.ground, *(body.look for body in bodies)]
    first = np.array([look.first for look in looks], np.float32)
    second = np.array([look.second for look in looks], np.float32)
    planes = np.array([look.plane for look in looks])
    where = ids.astype(np.intp)
    mixture = _mixture(where, planes, palette.planes) if planes.any() else None
    picture = np.empty((3, *ids.shape), np.float32)
    for channel, plane in enumerate(picture):
        first[:, channel].take(where, out=plane, mode="clip")
        if mixture is not None:
            mixed = (second - first)[:, channel].take(where, mode="clip")
            mixed *= mixture
            plane += mixed
    if ground is not None:
        np.copyto(picture, ground, where=ids == 0)
    if palette.photograph is not None:
        filled = np.array([look.photograph for look in looks])
        if filled.any():
            np.copyto(picture, palette.photograph, where=filled.take(where, mode="clip"))
    shading = _shading(where, bodies, light)
    if shading is not None:
        picture *= shading
    if light.shadow:
        picture *= _shadow(ids, light)
    if light.outline:
        picture -= np.float32(light.outline) * _borders(ids)
    return picture


def _mixture(
    where: NDArray[np.intp], planes: NDArray[np.int64], all_planes: Sequence[Plane]
) -> Plane:
    """H,W: of each pixel, the value of its thing's plane."""
    used = [int(number) for number in np.unique(planes)]
    if len(used) == 1:
        return all_planes[used[0]]
    mixture = np.array(all_planes[int(planes[0])])
    for number in used:
        if number != planes[0]:
            inside = (planes == number).take(where, mode="clip")
            np.copyto(mixture, all_planes[number], where=inside)
    return mixture


def _shading(where: NDArray[np.intp], bodies: Sequence[Body], light: Light) -> Plane | None:
    """H,W factors around 1: light from one side, and what bulges towards the viewer."""
    about = np.array(
        [(0, 0, 1, 0, 0)]
        + [(b.x, b.y, 1 / max(b.size, 1.0), b.look.slope, b.look.dome) for b in bodies],
        np.float32,
    ).T
    if not about[3:].any():
        return None
    x0, y0, scale, slope, dome = (row.take(where, mode="clip") for row in about)
    y, x = (np.arange(count, dtype=np.float32) for count in where.shape)
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


def _shadow(ids: NDArray[np.uint8], light: Light) -> Plane:
    """H,W factors up to 1: what stands out darkens the ground on the side away from the light."""
    stencil = Image.fromarray((ids > 0).view(np.uint8) * np.uint8(255)).reduce(2)
    soft = stencil.filter(ImageFilter.BoxBlur(light.blur / 2)).resize(ids.shape[::-1])
    away = (-light.blur * np.array([np.sin(light.angle), np.cos(light.angle)])).round().astype(int)
    dark = np.roll(np.asarray(soft), away.tolist(), (0, 1)).astype(np.float32)
    dark *= np.float32(-light.shadow / 255)
    dark += 1
    dark[ids > 0] = 1
    return dark


def _borders(ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """H,W: pixels of things that have another thing, or the ground, to their left or above."""
    borders = np.zeros(ids.shape, bool)
    borders[:, 1:] = ids[:, 1:] != ids[:, :-1]
    borders[1:] |= ids[1:] != ids[:-1]
    return borders
