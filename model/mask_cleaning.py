"""Masks in one piece: no parts that were not asked for, no pinholes.

Works on the network's own grid, where a mask has some ten thousand cells however large the picture
is. All of it is a *choice*; the numbers were chosen on the validation pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Cells = NDArray[np.bool_]

# Cells that touch at a corner belong to one part; a hole is closed by cells that touch at one.
TOUCHING = np.ones((3, 3), bool)
# A phrase alone may mean several things. Parts smaller than this share of the largest are specks.
SPECK = 0.05
# Holes smaller than this share of the mask are pinholes.
PINHOLE = 0.02


def part_at(mask: Cells, seeds: Cells) -> Cells:
    """The connected parts of a mask that contain a seed."""
    labels, count = ndimage.label(mask, TOUCHING)
    chosen = np.zeros(count + 1, np.bool_)
    chosen[labels[seeds]] = True
    chosen[0] = False
    kept: Cells = chosen[labels]
    return kept


def without_specks(mask: Cells) -> Cells:
    """The connected parts that are no specks beside the largest one."""
    labels, count = ndimage.label(mask, TOUCHING)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept: Cells = (sizes >= max(SPECK * sizes.max(), 1))[labels]
    return kept


def pinholes(mask: Cells, negatives: Cells) -> Cells:
    """Small holes without a negative click in them."""
    labels, count = ndimage.label(~mask)
    if count < 2:
        return np.zeros_like(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    small = sizes < PINHOLE * np.count_nonzero(mask)
    # What reaches the edge of the grid is no hole, and neither is the mask (label 0).
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        small[edge] = False
    small[labels[negatives]] = False
    small[0] = False
    holes: Cells = small[labels]
    return holes
