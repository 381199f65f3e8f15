"""Real photographs, and where on them an annotator clicks. Places are percents of the picture.

The outlines are drawn by hand and coarse: they tell "on the object" from "somewhere else", not
a good border from a very good one.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image
from skimage.draw import polygon2mask

_FOLDER = Path(skimage.__file__).parent / "data"
# Turn by 90 degrees clockwise to see it upright.
_EXIF_ORIENTATION, _TURNED = 274, 6


@dataclass(frozen=True)
class Photograph:
    """A picture file, and the outline of what is clicked on it."""

    path: Path
    width: int
    height: int
    outline: tuple[tuple[float, float], ...]

    def object(self) -> NDArray[np.bool_]:
        """The outline, filled."""
        corners = [(y / 100 * self.height, x / 100 * self.width) for x, y in self.outline]
        return np.asarray(polygon2mask((self.height, self.width), corners), bool)


def _corners(written: str) -> tuple[tuple[float, float], ...]:
    """From "x,y x,y …"."""
    pairs = (corner.split(",") for corner in written.split())
    return tuple((float(x), float(y)) for x, y in pairs)


CAT = Photograph(
    _FOLDER / "chelsea.png",
    451,
    300,
    _corners("7,0 88,0 84,25 84,45 78,62 74,85 62,100 2,100 8,55"),
)
ASTRONAUT = Photograph(
    _FOLDER / "astronaut.png",
    512,
    512,
    _corners(
        "32,4 45,2 56,6 59,16 56,28 60,35 68,42 74,55 76,66 "
        "66,72 62,85 62,100 3,100 5,62 8,52 28,40 27,33 34,24"
    ),
)
MOTORCYCLE = Photograph(
    _FOLDER / "motorcycle_left.png",
    741,
    500,
    _corners(
        "17,60 20,48 27,47 20,40 20,33 28,32 36,38 50,36 60,32 "
        "68,34 70,18 74,18 80,36 78,48 88,60 93,72 92,88 84,91 "
        "76,84 72,66 66,66 62,78 44,80 28,79 20,74"
    ),
)
COFFEE = Photograph(
    _FOLDER / "coffee.png",
    600,
    400,
    _corners("30,20 36,8 50,4 64,9 70,22 68,38 62,56 50,62 42,60 42,72 34,76 33,66 38,58 32,40"),
)
COINS = Photograph(_FOLDER / "coins.png", 384, 303, _corners("36,12 44,12 46,17 44,22 36,22 34,17"))


def portrait(folder: Path) -> Photograph:
    """The astronaut cut to a portrait, stored lying on its side as a phone does it."""
    path = folder / "portrait_exif6.jpg"
    upright = Image.open(ASTRONAUT.path).convert("RGB").crop((10, 0, 400, 512))
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = _TURNED
    upright.transpose(Image.Transpose.ROTATE_90).save(path, quality=92, exif=exif)
    moved = tuple(((x * 5.12 - 10) / 3.9, y) for x, y in ASTRONAUT.outline)
    return Photograph(path, 390, 512, moved)
