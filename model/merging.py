"""Which changes of a new answer enter the mask before it, and how the result is cleaned.

After FocalClick's progressive merge (Chen et al. 2022): of all cells that differ from the mask
before, only those connected to a click that asks for a change are taken. Cleaning removes parts
that were not asked for and pinholes. It works on the network's own grid, where a mask has about ten
thousand cells however large the picture is. All of it is a *choice*; the numbers were chosen on
validation pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.crop import Box, mask_box
from model.inference import CERTAIN, Answer, clicked_cells
from model.mask_upsampling import LIMIT, Layer, LogitGrid, MaskLayers
from model.prompt import Click, Prompt

Cells = NDArray[np.bool_]

# Cells that touch at a corner belong to one part, and close a hole.
TOUCHING = np.ones((3, 3), bool)
# A phrase alone may mean several things. Parts smaller than this share of the largest are specks.
SPECK = 0.05
# Parts of a mask that keep a positive click of their own against negative ones.
MOST_ANCHORS = 8
# Holes smaller than this share of the mask are pinholes.
PINHOLE = 0.02
# A mask whose box has more pixels is cleaned in larger blocks, which bounds the time to some 5 ms.
MOST_BLOCKS = 1 << 18


def part_at(mask: Cells, seeds: Cells) -> Cells:
    """The connected parts of a mask that contain a seed."""
    labels, count = ndimage.label(mask, TOUCHING)
    chosen = np.zeros(count + 1, np.bool_)
    chosen[labels[seeds]] = True
    chosen[0] = False
    if chosen[1:].all():
        return mask
    kept: Cells = chosen[labels]
    return kept


def without_specks(mask: Cells) -> Cells:
    """The connected parts that are not specks compared with the largest one."""
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
    # Background that reaches the edge of the grid is not a hole, nor is the mask (label 0).
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        small[edge] = False
    small[labels[negatives]] = False
    small[0] = False
    if not small.any():
        return np.zeros_like(mask)
    holes: Cells = small[labels]
    return holes


Mask = NDArray[np.bool_]

# The logit to which a clicked pixel is raised, and the radius of the surroundings that follow, as a
# share of the object's size.
FOLLOWED = 1.0
REACH = 0.05
# An added or removed part that is this many times as wide elsewhere as at its clicks has flooded,
# and is cut to this many times its width at a click.
FLOODED_IN, FLOODED_OUT = 3.0, 2.3
AROUND = 2.5
# Least size of the logits of cells that keep the mask before against the network.
FAINT = 1.0


def cells_of(clicks: Iterable[Click], grid: LogitGrid) -> Cells:
    """The cells at these clicks, as far as they are in the grid's box."""
    cells = np.zeros(grid.logits.shape, np.bool_)
    for click in clicks:
        if grid.box.holds(click.x, click.y):
            cells[clicked_cells(click, grid.box, cells.shape)] = True
    return cells


def followed(answer: Answer, click: Click, size: float) -> LogitGrid:
    """The logits, raised towards the newest click if the network does not follow it.

    The click's logit is raised to FOLLOWED, its surroundings by less with distance. So pixels that
    are as likely as the clicked one change with it, and those that the network is surer of do not.
    size: of the object in pixels (the root of its area).
    """
    grid = answer.grid
    sign = 1.0 if click.positive else -1.0
    if answer.newest is None or answer.newest * sign >= FOLLOWED:
        return grid
    reach = max(REACH * size, grid.box.width / grid.logits.shape[1])
    near = np.exp(_squared_distance(grid, click) / (-2.0 * reach**2))
    lift = FOLLOWED - max(answer.newest * sign, -LIMIT)
    bent = np.clip(grid.logits * sign, -LIMIT, LIMIT) + lift * near
    logits = np.where(bent > 0, np.maximum(grid.logits * sign, bent), grid.logits * sign) * sign
    return LogitGrid(logits.astype(np.float32), grid.box)


def _squared_distance(grid: LogitGrid, click: Click) -> NDArray[np.float64]:
    """h,w: from each cell's centre to the click, in pixels."""
    box, (height, width) = grid.box, grid.logits.shape
    y = box.top + (np.arange(height)[:, None] + 0.5) * (box.height / height) - click.y
    x = box.left + (np.arange(width) + 0.5) * (box.width / width) - click.x
    distance: NDArray[np.float64] = x**2 + y**2
    return distance


def changed_cells(grid: LogitGrid, before: Cells, clicks: Iterable[Click]) -> Cells:
    """Connected cells that positive clicks add to the mask before and negative ones remove.

    The clicks' own cells are always included.
    """
    chosen = list(clicks)
    inside = grid.logits > 0
    changed = np.zeros_like(before)
    for positive in (True, False):
        same = [click for click in chosen if click.positive == positive]
        asked = cells_of(same, grid)
        differs = inside & ~before if positive else before & ~inside
        changed |= within_reach(part_at(differs | asked, asked), same, grid)
    return changed


def within_reach(change: Cells, clicks: Sequence[Click], grid: LogitGrid) -> Cells:
    """Of a change the part around its clicks, if it is much wider elsewhere than at them.

    People click in the middle of what is wrong. A change that is far wider elsewhere has flooded
    through a gap in a border: a click beside an object would remove half of it.
    """
    shown = [click for click in clicks if grid.box.holds(click.x, click.y)]
    extent = mask_box(change)
    if not shown or extent is None:
        return change
    height, width = change.shape
    depth = np.zeros(change.shape)  # distance to the nearest cell that does not change, in pixels
    depth[extent.slices] = ndimage.distance_transform_edt(
        np.pad(change[extent.slices], 1), (grid.box.height / height, grid.box.width / width)
    )[1:-1, 1:-1]
    radii = [float(depth[clicked_cells(click, grid.box, change.shape)].max()) for click in shown]
    if depth.max() <= (FLOODED_IN if shown[0].positive else FLOODED_OUT) * max(radii):
        return change
    clicked = cells_of(shown, grid)
    near = clicked.copy()
    for click, radius in zip(shown, radii, strict=True):
        near |= _squared_distance(grid, click) <= (AROUND * radius) ** 2
    return part_at(change & near, clicked)


def widened(cells: Cells) -> Cells:
    """The cells and their neighbours, so that the border comes from the new answer."""
    wider: Cells = ndimage.binary_dilation(cells, TOUCHING)
    return wider


def deepest(mask: Mask, clicks: Iterable[Click]) -> Click | None:
    """A positive click where the mask (H,W) is deepest, away from these clicks; None if it has no
    other pixel."""
    box = mask_box(mask)
    if box is None:
        return None
    inside = mask[box.slices].copy()
    for click in clicks:
        if box.holds(click.x, click.y):
            inside[int(click.y) - box.top, int(click.x) - box.left] = False
    depths = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    row, column = divmod(int(depths.argmax()), box.width)
    if not inside[row, column]:
        return None
    return Click(box.left + column + 0.5, box.top + row + 0.5)


def anchors(mask: Mask, clicks: Sequence[Click]) -> list[Click]:
    """A positive click in each part of the mask (H,W) that is no speck and has no click in it, the
    largest part first and at most MOST_ANCHORS; in the largest part if there is no other. See
    `deepest`."""
    labels, _ = ndimage.label(mask, TOUCHING)
    sizes = np.bincount(labels.ravel())[1:]
    clicked = {labels[int(click.y), int(click.x)] for click in clicks}
    large = [part + 1 for part in np.argsort(-sizes) if sizes[part] >= SPECK * sizes.max()]
    parts = [part for part in large if part not in clicked] or large[:1]
    found = [deepest(labels == part, clicks) for part in parts[:MOST_ANCHORS]]
    return [click for click in found if click is not None]


def disobeyed(clicks: Iterable[Click], previous: Mask) -> list[Click]:
    """The clicks whose pixel in the mask before (H,W) contradicts them."""
    return [c for c in clicks if bool(previous[int(c.y), int(c.x)]) != c.positive]


def merged(answer: Answer, prompt: Prompt, asked: Sequence[Click], size: float) -> Layer:
    """The change of an answer to the mask before, cleaned. The layer covers it and its neighbours.

    asked: the clicks that the mask before contradicts. size: of the object in pixels.
    """
    assert answer.before is not None
    newest = prompt.clicks[-1]
    grid = followed(answer, newest, size) if newest in asked else answer.grid
    changed = changed_cells(grid, answer.before, asked)
    # Next to the changed cells the mask before is kept as logits, so that borders join.
    kept = np.where(answer.before, np.maximum(grid.logits, FAINT), np.minimum(grid.logits, -FAINT))
    own = changed | cells_of(prompt.clicks, grid)
    composed = LogitGrid(np.where(own, grid.logits, kept), grid.box)
    grid = cleaned(composed, prompt, answer.before)
    filled = (grid.logits > 0) & ~answer.before
    return Layer(grid.smoothed(), widened(changed | filled))


def cleaned(grid: LogitGrid, prompt: Prompt, before: Cells | None = None) -> LogitGrid:
    """The logits without parts that were not asked for and without pinholes.

    A part needs a positive click or must overlap the mask before. If there is neither, only specks
    are removed, since a phrase may mean several things. Holes of the mask before stay.
    """
    inside = grid.logits > 0
    kept = wanted_parts(inside, cells_of(prompt.positives, grid), before)
    negatives = [click for click in prompt.clicks if not click.positive]
    logits = grid.logits.copy()
    logits[inside & ~kept] = -CERTAIN
    logits[new_pinholes(kept, cells_of(negatives, grid), before)] = CERTAIN
    return LogitGrid(logits, grid.box)


def wanted_parts(inside: Cells, clicked: Cells, before: Cells | None) -> Cells:
    """The parts that `cleaned` leaves."""
    wanted = inside & (clicked if before is None else clicked | before)
    return part_at(inside, wanted) if wanted.any() else without_specks(inside)


def new_pinholes(mask: Cells, negatives: Cells, before: Cells | None) -> Cells:
    """The holes that `cleaned` fills."""
    holes = pinholes(mask, negatives)
    if before is None or not holes.any():
        return holes
    return holes & ~pinholes(before, negatives)


def cleaned_layers(layers: MaskLayers, prompt: Prompt, before: Mask | None = None) -> MaskLayers:
    """As ``cleaned``, in the picture's pixels, or in blocks of them for a large mask.

    A part that is joined by a thin neck of cells can come apart between pixels or in a smoothed
    border, and a closer look can leave a rest of the first one beside it. Of two opposite clicks in
    one cell only one is obeyed there; here both are.
    """
    newest = {(int(click.x), int(click.y)): click for click in prompt.clicks}
    for click in disobeyed(newest.values(), layers.pixels):
        pixel = Box(int(click.x), int(click.y), int(click.x) + 1, int(click.y) + 1)
        layers = _with(layers, pixel, np.ones((1, 1), np.bool_), inside=click.positive)
    mask = layers.pixels
    box = mask_box(mask)
    if box is None:
        return layers
    side = math.ceil(math.sqrt(box.width * box.height / MOST_BLOCKS))
    inside = _blocks(mask[box.slices], side)
    earlier = None if before is None else _blocks(before[box.slices], side)
    clicked, closed = np.zeros_like(inside), np.zeros_like(inside)
    for click in prompt.clicks:
        if box.holds(click.x, click.y):
            place = (int(click.y) - box.top) // side, (int(click.x) - box.left) // side
            (clicked if click.positive else closed)[place] = True
    kept = wanted_parts(inside, clicked, earlier)
    height, width = inside.shape
    blocks = Box(box.left, box.top, box.left + width * side, box.top + height * side)
    layers = _with(layers, blocks, inside & ~kept, inside=False)
    if side > 1:  # the rim of a hole would stay
        return layers
    return _with(layers, blocks, new_pinholes(kept, closed, earlier), inside=True)


def _with(layers: MaskLayers, box: Box, cells: Cells, *, inside: bool) -> MaskLayers:
    """With these cells of a box in the mask, or out of it."""
    if not cells.any():
        return layers
    logits = np.full((1, 1), CERTAIN if inside else -CERTAIN, np.float32)
    return replace(layers, layers=(*layers.layers, Layer(LogitGrid(logits, box), cells)))


def _blocks(mask: Mask, side: int) -> Cells:
    """Whether each block of side x side pixels has a pixel of the mask.

    Blocks of two parts that do not touch have no pixel in common.
    """
    if side == 1:
        return mask
    height, width = mask.shape
    # Slices, one after the other: five times as fast as a reduction.
    rows = np.zeros((-(-height // side), width), np.bool_)
    blocks = np.zeros((len(rows), -(-width // side)), np.bool_)
    for start in range(side):
        part = mask[start::side]
        rows[: len(part)] |= part
    for start in range(side):
        part = rows[:, start::side]
        blocks[:, : part.shape[1]] |= part
    return blocks
