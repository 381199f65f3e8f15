"""The simulated annotator: where a person would click, given a mask and what is wrong with it.

First clicks follow the paper's three negative strategies and its counts (`ClickRecipe` holds the
defaults of that line of work); further clicks follow the protocol of evaluation, the deepest point
of the largest error, with the hand's jitter (for a whole batch at once: `corrections.py`). All
places come out of one random generator, so the same seed clicks the same pixels. Points are (x, y)
at pixel centres (column + 0.5, row + 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Points = NDArray[np.float32]
NO_POINTS: Points = np.zeros((0, 2), np.float32)


@dataclass(frozen=True)
class ClickRecipe:
    """Counts and distances in pixels. Defaults: Xu et al. 2016 and its reimplementations."""

    most_positive: int = 5
    most_band: int = 10
    most_other: int = 5
    most_spread: int = 10
    band: float = 40.0
    margin: float = 5.0
    step: float = 10.0


# A simulated annotator sometimes lets an answer pass without a click.
SKIPPED_ROUND = 0.15
# How often the answer learned from is made without the previous mask.
FORGOTTEN_MASK = 0.12
# How often a previous mask keeps its probabilities; the predictor shows the network 0 and 1.
SOFT_MASK = 0.25
# How often a phrase without clicks is answered a second time, with its first answer shown.
SECOND_LOOK = 0.3
# The least exact hand clicks anywhere that is at least so much less deep than the deepest point.
CLUMSIEST = 0.6


@dataclass(frozen=True)
class Hand:
    """One annotator's way with one prompt, drawn before anything is answered.

    So what happens to a prompt does not depend on the others in its batch. skips: in which rounds
    nothing is clicked. places: of each round, which of the points in question, 0 to 1.
    """

    jitter: float
    looks_again: bool
    soft: bool
    forgets: bool
    skips: tuple[bool, ...]
    places: tuple[float, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, rounds: int) -> Hand:
        """A random hand for at most so many rounds of corrections."""
        again, soft, forgets = rng.random(3) < (SECOND_LOOK, SOFT_MASK, FORGOTTEN_MASK)
        return cls(
            float(rng.uniform(0.0, CLUMSIEST)),
            bool(again),
            bool(soft),
            bool(forgets),
            tuple((rng.random(rounds) < SKIPPED_ROUND).tolist()),
            tuple(rng.random(rounds).tolist()),
        )


def sample_positive(
    mask: Mask, count: int, rng: np.random.Generator, recipe: ClickRecipe = ClickRecipe()
) -> Points:
    """Up to ``count`` points inside, off the border and apart where there is room."""
    depth = _depth(mask)
    deepest = float(depth.max(initial=0.0))
    if deepest == 0:
        return NO_POINTS
    # A thin object has no pixel five from its border: then the deeper half of it will do.
    return _scatter(depth > min(recipe.margin, deepest * 0.5), count, rng, recipe.step)


def central_click(mask: Mask, rng: np.random.Generator, *, jitter: float = 0.0) -> Points:
    """One point at the deepest place; with ``jitter`` in (0, 1], somewhere nearly as deep."""
    depth = _depth(mask)
    return _near_deepest(depth, rng, jitter)


def negative_in_band(
    mask: Mask,
    free: Mask,
    count: int,
    rng: np.random.Generator,
    recipe: ClickRecipe = ClickRecipe(),
) -> Points:
    """Strategy 1: random points in the band around the object. ``free`` excludes void pixels."""
    return _scatter(_band(mask, recipe) & free, count, rng, recipe.step)


def negative_in_others(
    others: Sequence[Mask],
    count: int,
    rng: np.random.Generator,
    recipe: ClickRecipe = ClickRecipe(),
) -> Points:
    """Strategy 2: up to ``count`` points inside each other object."""
    points = [sample_positive(other, count, rng, recipe) for other in others]
    return np.concatenate(points) if points else NO_POINTS


def negative_spread(
    mask: Mask,
    free: Mask,
    count: int,
    rng: np.random.Generator,
    recipe: ClickRecipe = ClickRecipe(),
) -> Points:
    """Strategy 3: along the band, the first at random, each next the farthest from all before."""
    rows, columns = np.nonzero(_band(mask, recipe) & free)
    if not len(rows) or count == 0:
        return NO_POINTS
    candidates = np.stack([columns, rows], 1).astype(np.float32) + 0.5
    if len(candidates) > 2000:
        candidates = candidates[rng.choice(len(candidates), 2000, replace=False)]
    chosen = [int(rng.integers(len(candidates)))]
    nearest = np.full(len(candidates), np.inf, np.float32)
    while len(chosen) < count:
        away = ((candidates - candidates[chosen[-1]]) ** 2).sum(1)
        nearest = np.minimum(nearest, away)
        farthest = int(nearest.argmax())
        if nearest[farthest] < recipe.step**2:
            break
        chosen.append(farthest)
    return candidates[chosen]


def correction(
    target: Mask,
    prediction: Mask,
    void: Mask,
    rng: np.random.Generator,
    *,
    jitter: float = 0.0,
    clicked: Points = NO_POINTS,
    border: bool = False,
    stride: int = 1,
) -> tuple[float, float, bool] | None:
    """The next click: (x, y, positive) deep inside the largest error; None where nothing is wrong.

    ``border`` counts the picture's border as a border of the error (the protocol of evaluation).
    ``stride`` measures depth on every n-th pixel only: four times as quick at 2, off by a pixel.
    Pixels already ``clicked`` are not clicked again.
    """
    view = (slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    free = ~void[view]
    missing = target[view] & ~prediction[view] & free
    excess = ~target[view] & prediction[view] & free
    depths = [_depth(missing, border=border), _depth(excess, border=border)]
    for x, y in clicked:
        row, column = int(y) // stride, int(x) // stride
        for depth in depths:
            if row < depth.shape[0] and column < depth.shape[1]:
                depth[row, column] = 0.0
    positive = depths[0].max(initial=0.0) >= depths[1].max(initial=0.0)
    point = _near_deepest(depths[0 if positive else 1], rng, jitter)
    if not len(point):
        return None
    x, y = (point[0] - 0.5) * stride + stride // 2 + 0.5
    return float(x), float(y), bool(positive)


def _near_deepest(depth: NDArray[np.float32], rng: np.random.Generator, jitter: float) -> Points:
    deepest = float(depth.max(initial=0.0))
    if deepest <= 0:
        return NO_POINTS
    if jitter > 0:
        places = np.flatnonzero(depth >= (1.0 - jitter) * deepest)
        place = int(places[int(rng.integers(len(places)))])
    else:
        place = int(depth.argmax())
    row, column = divmod(place, depth.shape[1])
    return np.array([[column + 0.5, row + 0.5]], np.float32)


def _depth(mask: Mask, *, border: bool = True) -> NDArray[np.float32]:
    """Distance to the nearest pixel outside the mask, 0 outside; looks at the mask's box only."""
    depth = np.zeros(mask.shape, np.float32)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return depth
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inside = mask[box]
    # Around the box lies "outside" (the next pixel is none of the mask's), except at the
    # picture's border when that is not to count: there the edge is repeated.
    sides = (
        (rows[0] > 0, rows[-1] < mask.shape[0] - 1),
        (columns[0] > 0, columns[-1] < mask.shape[1] - 1),
    )
    widths = [(int(border or low), int(border or high)) for low, high in sides]
    padded = np.pad(inside, widths)
    if padded.all():
        depth[box] = float(max(mask.shape))
        return depth
    measured = ndimage.distance_transform_edt(padded)
    core = tuple(slice(low, measured.shape[axis] - high) for axis, (low, high) in enumerate(widths))
    depth[box] = measured[core]
    return depth


def _band(mask: Mask, recipe: ClickRecipe) -> Mask:
    """Outside the object, at least ``margin`` and at most ``band`` pixels from it."""
    if not mask.any():
        return np.zeros_like(mask)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    reach = int(recipe.band) + 2
    box = (
        slice(max(rows[0] - reach, 0), rows[-1] + reach),
        slice(max(columns[0] - reach, 0), columns[-1] + reach),
    )
    band = np.zeros_like(mask)
    if mask[box].all():
        return band
    distance = ndimage.distance_transform_edt(~mask[box])
    band[box] = (distance >= recipe.margin) & (distance <= recipe.band)
    return band


def _scatter(allowed: Mask, count: int, rng: np.random.Generator, step: float) -> Points:
    """Random allowed pixels, each at least ``step`` from those before; fewer where none is left."""
    rows, columns = np.nonzero(allowed)
    if not len(rows) or count <= 0:
        return NO_POINTS
    order = rng.permutation(len(rows))[: 40 * count]
    candidates = np.stack([columns[order], rows[order]], 1).astype(np.float32) + 0.5
    chosen: list[NDArray[np.float32]] = []
    for point in candidates:
        if all(((point - other) ** 2).sum() >= step * step for other in chosen):
            chosen.append(point)
            if len(chosen) == count:
                break
    return np.stack(chosen)
