"""Paints the id map of a scene with the surfaces of its things, all pixels at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.data.synthetic.palette import Look, Palette
from training.data.synthetic.textures import Plane

Byte = TypeVar("Byte", np.uint8, np.bool_)


@dataclass(frozen=True)
class Body:
    """The place and surface of a thing. x, y: its centre; size: its radius; all in pixels."""

    look: Look
    x: float
    y: float
    size: float


@dataclass(frozen=True)
class Light:
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
    light: Light,
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


def _shading(ids: NDArray[np.uint8], bodies: Sequence[Body], light: Light) -> Plane | None:
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


def _shadow(ids: NDArray[np.uint8], light: Light) -> Plane:
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
