"""Builders of pictures and masks for small copies of the data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Picture = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def write_picture() -> Callable[..., NDArray[np.uint8]]:
    """Write a colourful picture of this size to a path; returns it as arrays."""

    def write(path: Path, width: int = 60, height: int = 40, seed: int = 0) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 255, (5, 6, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        return np.asarray(Image.open(path).convert("RGB"))

    return write


@pytest.fixture
def box() -> Callable[..., NDArray[np.bool_]]:
    """A mask that is one rectangle: left, top, right, bottom (the last two not in it)."""

    def make(
        left: int, top: int, right: int, bottom: int, width: int = 60, height: int = 40
    ) -> NDArray[np.bool_]:
        mask = np.zeros((height, width), bool)
        mask[top:bottom, left:right] = True
        return mask

    return make
