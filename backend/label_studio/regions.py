"""A mask as a region of Label Studio, with the size of the picture as it stands upright."""

from collections.abc import Sequence
from typing import Any

from backend.label_studio.config import BrushControl, Label


def brush_region(
    region_id: str,
    *,
    brush: BrushControl,
    to_name: str,
    label: Label | None,
    rle: Sequence[int],
    size: tuple[int, int],
    score: float,
) -> dict[str, Any]:
    """The region; an id that the page knows replaces the region of that id."""
    width, height = size
    value: dict[str, Any] = {"format": "rle", "rle": rle}
    if label is not None:
        value["brushlabels"] = [label.written]
    return {
        "id": region_id,
        "from_name": brush.name,
        "to_name": to_name,
        "type": brush.type,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
        "score": round(score, 4),
    }
