"""Regions of Label Studio's page, and their masks by its own decoder."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from label_studio_sdk.converter import brush as reference
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """A mask on the page: accepted, or still a suggestion."""

    id: str
    label: str
    mask: Mask
    suggested: bool
    raw: dict[str, Any]


def decode(item: dict[str, Any]) -> Mask:
    """A brush region's mask, by Label Studio's own decoder."""
    shape = (item["original_height"], item["original_width"], 4)
    pixels = np.asarray(reference.decode_rle(item["value"]["rle"]), np.uint8).reshape(shape)
    mask: Mask = pixels[..., 3] > 127
    return mask


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 1.0


def at(mask: Mask, x: float, y: float) -> bool:
    """Whether the mask holds the pixel at this place, in percents."""
    height, width = mask.shape
    return bool(mask[int(y / 100 * height), int(x / 100 * width)])


def is_mask(item: dict[str, Any]) -> bool:
    return item["type"] == "brushlabels" and bool(item["value"].get("rle"))


def region_of(item: dict[str, Any], *, suggested: bool) -> Region:
    return Region(item["id"], item["value"]["brushlabels"][0], decode(item), suggested, item)
