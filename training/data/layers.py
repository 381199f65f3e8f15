"""Overlapping masks in one map: pictures of COCO hold a person on a horse, each whole.

Training and the simulated annotator see one id a pixel, since a click has to mean one thing. Drawn
from large to small, the small object stays clickable: it would vanish under the large one, while
the large one has room left. What is covered keeps its whole mask beside the map.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def layered(
    masks: Mapping[int, Mask], shape: tuple[int, int], beneath: Collection[int] = ()
) -> tuple[NDArray[np.int16], dict[int, Mask]]:
    """The H,W id map of these H,W masks, and the masks of those that are covered in it.

    beneath: ids that lie under all others, whatever their size (regions of several objects).
    """
    areas = {number: int(mask.sum()) for number, mask in masks.items()}
    order = sorted(masks, key=lambda number: (number not in beneath, -areas[number], number))
    instances = np.zeros(shape, np.int16)
    for number in order:
        instances[masks[number]] = number
    shown = np.bincount(instances.ravel(), minlength=max(masks, default=0) + 1)
    return instances, {n: mask for n, mask in masks.items() if shown[n] < areas[n]}
