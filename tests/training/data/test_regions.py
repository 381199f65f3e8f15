"""Depths are distances to the outside; what is thin is what a disc does not reach."""

import numpy as np
import pytest
from scipy import ndimage

from training.data.regions import depths_inside, thin_parts


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_depths_on_a_lattice_are_those_of_its_pixels(stride: int) -> None:
    # given
    mask = np.zeros((130, 150), bool)
    mask[10:110, 20:140] = True
    exact = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    # when
    depths = depths_inside(mask, stride=stride)
    # then
    cells = np.flatnonzero(depths.values)
    points = depths.points(cells)
    there = exact[points[:, 1].astype(int), points[:, 0].astype(int)]
    measured = depths.values.ravel()[cells]
    assert (there > 0).all()
    assert np.abs(measured - there).max() < stride


def test_a_region_thinner_than_the_lattice_is_measured_all_the_same() -> None:
    mask = np.zeros((200, 200), bool)
    mask[3, 1:199:7] = True
    assert depths_inside(mask).deepest > 0


def test_the_arm_is_thin_and_the_body_is_not() -> None:
    rows, columns = np.mgrid[:160, :200]
    mask = (columns - 70) ** 2 + (rows - 80) ** 2 < 40**2
    mask[76:84, 105:180] = True
    thin = thin_parts(mask, 0.5)
    assert thin[80, 130:178].all()
    assert not thin[80, 40:100].any()
    assert not (thin & ~mask).any()
