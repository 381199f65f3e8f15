"""Distances inside regions, and their thin parts, at a resolution that is cheap to measure.

A distance transform of a whole mask costs milliseconds, and a batch needs dozens. Prompts only need
a place where a region is about deepest, so large regions are measured on every second, third or
fourth pixel. Sampled pixels are pixels of the mask, so a click on one is always inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.crop import mask_box

Mask = NDArray[np.bool_]

# Regions are measured at about this many samples per side.
SAMPLES = 80
# The coarsest stride; distances are off by less than this many pixels.
LARGEST_STRIDE = 4


@dataclass(frozen=True)
class Depths:
    """Distances on a lattice of pixels. values: h,w float32, in pixels, 0 outside the region.

    Cell (r, c) is the pixel (top + r * stride, left + c * stride). ``values`` are exact at stride
    1, otherwise a lower bound at straight borders.
    """

    values: NDArray[np.float32]
    top: int
    left: int
    stride: int

    @property
    def deepest(self) -> float:
        return float(self.values.max(initial=0.0))

    def points(self, cells: NDArray[np.intp]) -> NDArray[np.float32]:
        """N,2: x, y of the centres of these cells' pixels. cells: N flat indices."""
        rows, columns = np.divmod(cells, max(self.values.shape[1], 1))
        x = self.left + columns * self.stride + 0.5
        y = self.top + rows * self.stride + 0.5
        return np.stack([x, y], 1).astype(np.float32)


def depths_inside(mask: Mask, *, stride: int | None = None) -> Depths:
    """Distance of each pixel of the mask to the nearest one outside the mask or the picture.

    stride: in pixels; None chooses it by the size of the region.
    """
    box = mask_box(mask)
    if box is None:
        return Depths(np.zeros((0, 0), np.float32), 0, 0, 1)
    left, top, right, bottom = box
    if stride is None:
        stride = min(max(max(right - left, bottom - top) // SAMPLES, 1), LARGEST_STRIDE)
    # A region thinner than the stride may fall between the samples; then it is measured in full.
    for step in (stride, 1):
        inside = mask[top:bottom:step, left:right:step]
        if inside.any():
            break
    cells = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    values = np.where(inside, (cells - 1.0) * step + 1.0, 0.0).astype(np.float32)
    return Depths(values, top, left, step)


def thin_parts(mask: Mask, share: float) -> Mask:
    """H,W: the parts of a mask that a disc inside it does not reach: limbs, handles, tips, corners.

    share: the disc's radius as a share of the largest depth. This is the mask without its
    morphological opening, with a border that is coarse by up to `LARGEST_STRIDE` pixels.
    """
    thin = np.zeros_like(mask)
    box = mask_box(mask)
    if box is None:
        return thin
    left, top, right, bottom = box
    depth = depths_inside(mask)
    radius = max(share * depth.deepest, 1.0)
    core = depth.values >= radius
    reach = ndimage.distance_transform_edt(~np.pad(core, 1))[1:-1, 1:-1] * depth.stride
    far = np.kron(reach > radius, np.ones((depth.stride, depth.stride), bool))
    thin[top:bottom, left:right] = far[: bottom - top, : right - left]
    return thin & mask
