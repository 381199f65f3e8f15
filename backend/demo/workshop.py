"""Pictures of a team with things of its own: sealing rings on a bench, as no data set shows them.

A ring is two-coloured and often lies half under another, and its hole belongs to it: that is how
this team labels. The shipped model, which has never seen one, needs several clicks for it; what it
learns from a few dozen labels shows at once. The pictures are drawn, on photographs of textures
that come inside scikit-image's package, and no two rings are alike.
"""

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageFilter

LABEL = "Ring"
SIZE = (320, 240)
_TEXTURES = ("gravel.png", "brick.png", "grass.png")
_LEAST_SEEN = 400  # pixels of a ring that is worth a label


@dataclass(frozen=True)
class Bench:
    """One picture: H,W,3 uint8, and the H,W bool mask of each ring on it, as far as it is seen."""

    name: str
    pixels: NDArray[np.uint8]
    masks: tuple[NDArray[np.bool_], ...]

    def content(self) -> bytes:
        """A PNG file."""
        stream = io.BytesIO()
        Image.fromarray(self.pixels).save(stream, "PNG")
        return stream.getvalue()


def bench(number: int) -> Bench:
    """The picture of this number, always the same."""
    rng = np.random.default_rng([20, 26, number])
    width, height = SIZE
    canvas = _ground(rng)
    owner = np.zeros((height, width), int)
    count = int(rng.integers(2, 4))
    for ring in range(1, count + 1):
        _lay(canvas, owner, ring, rng)
    light = 1 + 0.25 * np.linspace(-1, 1, width) * rng.uniform(-1, 1)
    noisy = canvas * light[None, :, None] + rng.normal(0, 5, canvas.shape)
    pixels = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    soft = np.asarray(pixels.filter(ImageFilter.GaussianBlur(0.7)))
    masks = [owner == ring for ring in range(1, count + 1)]
    seen = tuple(mask for mask in masks if mask.sum() >= _LEAST_SEEN)
    return Bench(f"bench-{number:03}.png", soft, seen)


def _lay(
    canvas: NDArray[np.float64], owner: NDArray[np.int_], ring: int, rng: np.random.Generator
) -> None:
    """Put one more ring on top, with its shadow."""
    height, width = owner.shape
    radius = rng.uniform(0.14, 0.27) * height
    x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
    stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
    rows, columns = np.mgrid[:height, :width]
    across = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    down = ((rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)) / stretch
    distance = np.hypot(across, down) / radius
    shadow = np.roll(distance < 1.04, (4, 5), (0, 1))
    canvas[shadow] *= 0.62
    # Outer ring, inner ring, and the hole through which the bench is seen.
    outer, inner = rng.uniform(50, 220, 3), rng.uniform(50, 220, 3)
    middle, hole = rng.uniform(0.62, 0.8), rng.uniform(0.3, 0.48)
    shade = 1 + 0.3 * (across + down) / radius / 2
    for edge, colour in ((1.0, outer), (middle, inner)):
        part = (distance < edge) & (distance >= hole)
        canvas[part] = colour * shade[part][:, None]
    owner[distance < 1.0] = ring


def _ground(rng: np.random.Generator) -> NDArray[np.float64]:
    """A piece of a texture, in a colour of its own."""
    width, height = SIZE
    texture = _texture(_TEXTURES[int(rng.integers(len(_TEXTURES)))])
    top = int(rng.integers(texture.shape[0] - height))
    left = int(rng.integers(texture.shape[1] - width))
    piece = texture[top : top + height, left : left + width].astype(float)
    return 0.8 * piece[..., None] * rng.uniform(0.85, 1.1, 3)


@cache
def _texture(name: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(Path(skimage.__file__).parent / "data" / name).convert("L"))
