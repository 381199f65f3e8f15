"""Real photographs that come inside scikit-image's package: nothing is downloaded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from skimage.io import imread


@dataclass(frozen=True)
class Photograph:
    """One picture of ``skimage.data`` and the class of its main object."""

    name: str
    file: str
    label: str

    def content(self) -> bytes:
        """The file as it is, for an upload."""
        return self._path.read_bytes()

    def pixels(self) -> NDArray[np.uint8]:
        """H x W x 3."""
        return np.asarray(imread(self._path))[..., :3]

    @property
    def _path(self) -> Path:
        return Path(skimage.__file__).parent / "data" / self.file


ASTRONAUT = Photograph("astronaut", "astronaut.png", "Person")
CAT = Photograph("cat", "chelsea.png", "Cat")
MOTORCYCLE = Photograph("motorcycle", "motorcycle_left.png", "Motorcycle")
COFFEE = Photograph("coffee", "coffee.png", "Cup")

PHOTOGRAPHS = (ASTRONAUT, CAT, MOTORCYCLE, COFFEE)
