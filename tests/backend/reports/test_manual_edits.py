"""Pixels changed by hand, and the page's noise that are none."""

import numpy as np
import pytest

from backend.db.packed_mask import PackedMask
from backend.reports.manual_edits import corrected


def disc(radius: int = 18) -> np.ndarray:
    y, x = np.mgrid[:64, :80]
    return (x - 40) ** 2 + (y - 32) ** 2 < radius**2


def count(accepted: np.ndarray, served: np.ndarray) -> int | None:
    return corrected(PackedMask.pack(accepted), PackedMask.pack(served))


def test_the_same_mask_was_not_changed():
    assert count(disc(), disc()) == 0


@pytest.mark.parametrize("seed", range(5))
def test_single_pixels_along_the_border_are_noise(seed):
    noisy, rng = disc(), np.random.default_rng(seed)
    border = noisy ^ disc(17)
    noisy[border & (rng.random(noisy.shape) < 0.3)] = False
    assert (noisy ^ disc()).any()
    assert count(noisy, disc()) == 0


def test_a_stroke_counts_with_all_its_pixels():
    stroked = disc()
    stroked[2:8, 5:30] = True
    assert count(stroked, disc()) == 6 * 25


def test_a_stroke_at_the_pictures_edge_counts_too():
    stroked = disc()
    stroked[:3, :10] = True
    assert count(stroked, disc()) == 30


def test_what_was_erased_counts_like_what_was_added():
    erased = disc()
    erased[28:36, 36:44] = False
    assert count(erased, disc()) == 64


def test_noise_beside_a_stroke_is_left_out():
    changed = disc()
    changed[2:8, 5:30] = True
    changed[60, 70] = True
    assert count(changed, disc()) == 150


def test_masks_of_two_pictures_cannot_be_compared():
    assert count(disc(), np.ones((10, 10), bool)) is None
