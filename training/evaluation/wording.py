"""What terminal and page both say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MEASURES = {
    "noc85": "NoC@85",
    "noc90": "NoC@90",
    "iou1": "IoU@1",
    "iou2": "IoU@2",
    "iou3": "IoU@3",
    "iou5": "IoU@5",
    "iou10": "IoU@10",
}
"""Short names of what is compared."""


def remarks(figures: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of the tables must know beside them."""
    settings, left_out = figures["settings"], figures["left_out"]
    if not figures["complete"]:
        yield "Stopped before the end: these are the figures of what was asked till then."
    if settings["at_least"] < 10:
        yield (
            f"An object found after {settings['at_least']} interactions got no more, so IoU@10 is "
            "a lower bound (--at-least 10)."
        )
    if left_out["specks"]:
        yield f"{left_out['specks']} questions about specks under 50 pixels were left out."
    if left_out["unreadable"]:
        yield (
            f"{len(left_out['unreadable'])} pictures could not be read, the first: "
            + (left_out["unreadable"][0])
        )
