"""Masks as items of a ``result``, as the page writes them; ``annotations`` reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.label_studio import rle
from backend.label_studio.controls import BrushControl, Label
from backend.label_studio.outlines import PART, mask_of, outline_of


@dataclass(frozen=True)
class Drawn:
    """A mask as regions of the page. ``mask`` (H,W) is what they show: an outline has no holes and
    is not exact. ``holes``: how many it covers."""

    items: list[dict[str, Any]]
    mask: NDArray[np.bool_]
    holes: int = 0


def drawn_mask(
    region_id: str,
    mask: NDArray[np.bool_],
    *,
    brush: BrushControl,
    to_name: str,
    label: Label | None,
    score: float,
    tolerance: float,
) -> Drawn:
    """A mask, H,W, that is not empty, as the items that the page would write for it: one brush
    region, or one polygon for each part, the first under the object's own id.

    Args:
        region_id: the id of a region on the page replaces that region.
        tolerance: of an outline, in pixels.
    """
    height, width = mask.shape

    def items(identity: str, geometry: Mapping[str, Any]) -> list[dict[str, Any]]:
        return _items(identity, geometry, brush, to_name, label, (width, height), score)

    if not brush.outline:
        return Drawn(items(region_id, {"format": "rle", "rle": rle.encode(mask)}), mask)
    outline = outline_of(mask, tolerance)
    polygons = [
        item
        for number, points in enumerate(outline.parts, 1)
        for item in items(
            region_id if number == 1 else f"{region_id}{PART}{number}",
            {"points": points, "closed": True},
        )
    ]
    return Drawn(polygons, mask_of(outline.parts, width, height), outline.holes)


def _items(
    region_id: str,
    geometry: Mapping[str, Any],
    brush: BrushControl,
    to_name: str,
    label: Label | None,
    size: tuple[int, int],
    score: float,
) -> list[dict[str, Any]]:
    """One item, or two where the label has a control of its own."""
    written = [] if label is None else [label.written]
    if not (written and brush.labels_control):
        labels = {brush.type: written} if written else {}
        tools = [(brush.name, brush.type, labels)]
    else:
        tools = [
            (brush.name, brush.type, {}),
            (brush.labels_control, "labels", {"labels": written}),
        ]
    return [
        {
            "id": region_id,
            "from_name": name,
            "to_name": to_name,
            "type": kind,
            "original_width": size[0],
            "original_height": size[1],
            "image_rotation": 0,
            "value": {**geometry, **labels},
            "score": round(score, 4),
        }
        for name, kind, labels in tools
    ]
