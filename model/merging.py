"""What of a new answer is taken over into the mask before it.

After FocalClick's progressive merge (Chen et al. 2022): of all cells that differ from the mask
before, only those that are connected to a click that asks for a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model import mask_cleaning
from model.inference import CERTAIN, Answer, clicked_cells
from model.mask_upsampling import LIMIT, Layer, LogitGrid
from model.prompt import Click, Prompt

Mask = NDArray[np.bool_]
Cells = NDArray[np.bool_]

# To this logit the clicked pixel is lifted, and surroundings of this part of the object's size.
FOLLOWED = 1.0
REACH = 0.05
# Logits of cells that keep what they were, where the network says otherwise.
FAINT = 1.0


def cells_of(clicks: Iterable[Click], grid: LogitGrid) -> Cells:
    """The cells at these clicks, as far as they are in the grid's box."""
    cells = np.zeros(grid.logits.shape, np.bool_)
    for click in clicks:
        if grid.box.holds(click.x, click.y):
            cells[clicked_cells(click, grid.box, cells.shape)] = True
    return cells


def followed(answer: Answer, click: Click, size: float) -> LogitGrid:
    """The logits, bent towards the newest click where the network does not follow it.

    Its logit is lifted to FOLLOWED, and its surroundings by less, the farther they are. So what the
    network finds as likely as the clicked pixel comes along, and what it is surer of does not.
    size: of the object, in pixels (the root of its area).
    """
    grid = answer.grid
    sign = 1.0 if click.positive else -1.0
    if answer.newest is None or answer.newest * sign >= FOLLOWED:
        return grid
    box, (height, width) = grid.box, grid.logits.shape
    reach = max(REACH * size, box.width / width)
    y = box.top + (np.arange(height)[:, None] + 0.5) * (box.height / height) - click.y
    x = box.left + (np.arange(width) + 0.5) * (box.width / width) - click.x
    near = np.exp((x**2 + y**2) / (-2.0 * reach**2))
    lift = FOLLOWED - max(answer.newest * sign, -LIMIT)
    bent = np.clip(grid.logits * sign, -LIMIT, LIMIT) + lift * near
    logits = np.where(bent > 0, np.maximum(grid.logits * sign, bent), grid.logits * sign) * sign
    return LogitGrid(logits.astype(np.float32), box)


def changed_cells(grid: LogitGrid, before: Cells, clicks: Iterable[Click]) -> Cells:
    """Connected cells that positive clicks add to the mask before, and negative ones remove.

    The clicks' own cells always count.
    """
    chosen = list(clicks)
    inside = grid.logits > 0
    changed = np.zeros_like(before)
    for positive in (True, False):
        asked = cells_of([click for click in chosen if click.positive == positive], grid)
        differs = inside & ~before if positive else before & ~inside
        changed |= mask_cleaning.part_at(differs | asked, asked)
    return changed


def widened(cells: Cells) -> Cells:
    """The cells and their neighbours, so that the border between them is the new answer's."""
    wider: Cells = ndimage.binary_dilation(cells, mask_cleaning.TOUCHING)
    return wider


def disobeyed(clicks: Iterable[Click], previous: Mask) -> list[Click]:
    """The clicks whose pixel is not as they ask in the mask before, H,W."""
    return [c for c in clicks if bool(previous[int(c.y), int(c.x)]) != c.positive]


def merged(answer: Answer, prompt: Prompt, asked: Sequence[Click], size: float) -> Layer:
    """What an answer changes of the mask before, cleaned. The layer holds there and next to it.

    asked: the clicks that the mask before disobeys. size: of the object, in pixels.
    """
    assert answer.before is not None
    newest = prompt.clicks[-1]
    grid = followed(answer, newest, size) if newest in asked else answer.grid
    changed = changed_cells(grid, answer.before, asked)
    # Next to the changed cells the mask before holds too, as logits, so that borders join.
    kept = np.where(answer.before, np.maximum(grid.logits, FAINT), np.minimum(grid.logits, -FAINT))
    own = changed | cells_of(prompt.clicks, grid)
    composed = LogitGrid(np.where(own, grid.logits, kept), grid.box)
    grid = cleaned(composed, prompt, answer.before)
    filled = (grid.logits > 0) & ~answer.before
    return Layer(grid.smoothed(), widened(changed | filled))


def cleaned(grid: LogitGrid, prompt: Prompt, before: Cells | None = None) -> LogitGrid:
    """The logits without parts that were not asked for and without pinholes.

    A part needs a positive click or a share of the mask before. Where there is neither, only
    specks go, since a phrase may mean several things. Holes of the mask before stay.
    """
    inside = grid.logits > 0
    wanted = cells_of(prompt.positives, grid)
    if before is not None:
        wanted |= before
    wanted &= inside
    if wanted.any():
        kept = mask_cleaning.part_at(inside, wanted)
    else:
        kept = mask_cleaning.without_specks(inside)
    closed = cells_of([click for click in prompt.clicks if not click.positive], grid)
    holes = mask_cleaning.pinholes(kept, closed)
    if before is not None:
        holes &= ~mask_cleaning.pinholes(before, closed)
    logits = grid.logits.copy()
    logits[inside & ~kept] = -CERTAIN
    logits[holes] = CERTAIN
    return LogitGrid(logits, grid.box)
