"""A box for networks that were not trained with boxes: clicks in its place.

Its centre is a positive click, and four negative ones are beyond the middles of its sides. What
the network then finds outside the box is cut off.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from model.crop import Box
from model.inference import CERTAIN
from model.mask_upsampling import LogitGrid
from model.prompt import Click, Prompt

# How far beyond a side its negative click is, in the box's size in that direction.
BEYOND = 0.1
# The mask may reach this far out of the box, in the same measure: boxes are drawn by hand.
SLACK = 0.02


def as_clicks(prompt: Prompt, width: int, height: int) -> Prompt:
    """The prompt with clicks for its box, older than its own clicks, which therefore prevail."""
    if prompt.box is None:
        return prompt
    x1, y1, x2, y2 = prompt.box
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    right, down = max((x2 - x1) * BEYOND, 2.0), max((y2 - y1) * BEYOND, 2.0)
    outside = [(x1 - right, y), (x2 + right, y), (x, y1 - down), (x, y2 + down)]
    whole = Box(0, 0, width, height)
    clicks = [Click(*point, positive=False) for point in outside if whole.holds(*point)]
    # A positive click of one's own says better than the centre where the object is.
    if not prompt.positives:
        clicks.append(Click(x, y))
    return dataclasses.replace(prompt, clicks=(*clicks, *prompt.clicks), box_by_clicks=True)


def cut(grid: LogitGrid, prompt: Prompt) -> LogitGrid:
    """The logits with nothing outside the box and the positive clicks, if clicks stand for it."""
    allowed = prompt.extent()
    if not prompt.box_by_clicks or allowed is None:
        return grid
    across, down = allowed.width * SLACK, allowed.height * SLACK
    rows = _between(
        grid.box.top,
        grid.box.bottom,
        grid.logits.shape[0],
        allowed.top - down,
        allowed.bottom + down,
    )
    columns = _between(
        grid.box.left,
        grid.box.right,
        grid.logits.shape[1],
        allowed.left - across,
        allowed.right + across,
    )
    inside = rows[:, None] & columns
    return LogitGrid(np.where(inside, grid.logits, np.minimum(grid.logits, -CERTAIN)), grid.box)


def _between(start: int, end: int, cells: int, low: float, high: float) -> NDArray[np.bool_]:
    """Which of the cells that divide start..end have their centre between low and high."""
    centres = start + (np.arange(cells) + 0.5) * ((end - start) / cells)
    return (centres >= low) & (centres < high)
