"""Where a simulated annotator clicks, given a mask and what is wrong with it.

First clicks are one good or poor click, the paper's random points (three strategies for negative
ones; `ClickRecipe` holds the usual counts), or many at once. Further clicks follow the evaluation
protocol: the deepest point of the largest error, with jitter (`simulation.corrections` does this
for a whole batch). Everything random comes from one generator, so a seed gives the same pixels.
Points are (x, y) at pixel centres (column + 0.5, row + 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.crop import mask_box
from training.data.masks import SAMPLES, DistanceMap, depths_inside
from training.data.sample import SampleObject
from training.data.transforms import View

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


# Distances in pixels of many clicks drawn at once: from the border, and from each other.
CLOSE_MARGIN, CLOSE_STEP = 2.0, 5.0
# Negative ones are at most this far outside, where corrections usually are.
NEAR_BAND = 24.0


def sample_positive(
    mask: Mask, count: int, rng: np.random.Generator, recipe: ClickRecipe = ClickRecipe()
) -> Points:
    """Up to ``count`` points inside, off the border and apart where there is room."""
    depths = depths_inside(mask)
    if depths.deepest == 0:
        return NO_POINTS
    # A thin object has no pixel five from its border; its deeper half is used then.
    allowed = depths.values > min(recipe.margin, depths.deepest * 0.5)
    return _scatter(depths, allowed, count, rng, recipe.step)


def central_click(mask: Mask, rng: np.random.Generator, *, jitter: float = 0.0) -> Points:
    """One point at the deepest place; with ``jitter`` in (0, 1], somewhere nearly as deep."""
    depths = depths_inside(mask)
    cell = _near_deepest(depths.values, rng, jitter)
    return NO_POINTS if cell is None else depths.points(np.array([cell]))


def poor_click(mask: Mask, rng: np.random.Generator) -> Points:
    """One careless point: anywhere inside, or close to the border."""
    depths = depths_inside(mask)
    allowed = depths.values > 0
    if rng.random() < 0.4:
        shallow = allowed & (depths.values <= max(0.25 * depths.deepest, 3.0))
        allowed = shallow if shallow.any() else allowed
    return _scatter(depths, allowed, 1, rng, 0.0)


def many_clicks(
    mask: Mask, free: Mask, count: int, rng: np.random.Generator
) -> list[tuple[float, float, int]]:
    """Up to ``count`` clicks (x, y, sign), as after a long correction: many of them near borders.

    Positive ones are inside, negative ones in a band just outside; the first click is positive.
    ``free`` (H,W) excludes void pixels from the band.
    """
    inside = depths_inside(mask)
    positive = int(rng.integers(1, count + 1))
    margin = min(CLOSE_MARGIN, inside.deepest * 0.5)
    included = _scatter(inside, inside.values > margin, positive, rng, CLOSE_STEP)
    near = ClickRecipe(band=NEAR_BAND, margin=CLOSE_MARGIN + 1.0)
    outside, band = _band(mask, free, near)
    excluded = _scatter(outside, band, count - positive, rng, CLOSE_STEP)
    clicks = [(float(x), float(y), 1) for x, y in included]
    clicks += [(float(x), float(y), -1) for x, y in excluded]
    first, rest = clicks[:1], clicks[1:]
    return first + [rest[place] for place in rng.permutation(len(rest))]


def negative_in_band(
    mask: Mask,
    free: Mask,
    count: int,
    rng: np.random.Generator,
    recipe: ClickRecipe = ClickRecipe(),
) -> Points:
    """Strategy 1: random points in the band around the object. ``free`` excludes void pixels."""
    outside, band = _band(mask, free, recipe)
    return _scatter(outside, band, count, rng, recipe.step)


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
    """Strategy 3: in the band, the first at random, each next one farthest from all before."""
    outside, band = _band(mask, free, recipe)
    candidates = outside.points(np.flatnonzero(band))
    if not len(candidates) or count == 0:
        return NO_POINTS
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
    stride: int = 1,
) -> tuple[float, float, bool] | None:
    """The next click (x, y, positive), deep inside the largest error; None if nothing is wrong.

    target, prediction, void: H,W. The picture's border is not a border of the error. jitter: how
    much shallower than the deepest point the click may be, 0 to 1. stride: measure depth on every
    n-th pixel only; 2 is four times as fast and off by at most a pixel.
    """
    view = (slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    free = ~void[view]
    missing = _depth(target[view] & ~prediction[view] & free)
    excess = _depth(~target[view] & prediction[view] & free)
    positive = bool(missing.max(initial=0.0) >= excess.max(initial=0.0))
    depth = missing if positive else excess
    cell = _near_deepest(depth, rng, jitter)
    if cell is None:
        return None
    row, column = divmod(cell, depth.shape[1])
    x, y = (place * stride + stride // 2 + 0.5 for place in (column, row))
    return float(x), float(y), positive


def _near_deepest(
    depth: NDArray[np.float32], rng: np.random.Generator, jitter: float
) -> int | None:
    """The flat index of the deepest place, or of one nearly as deep; None if all are 0."""
    deepest = float(depth.max(initial=0.0))
    if deepest <= 0:
        return None
    if jitter > 0:
        places = np.flatnonzero((depth >= (1.0 - jitter) * deepest) & (depth > 0))
        return int(places[int(rng.integers(len(places)))])
    return int(depth.argmax())


def _depth(mask: Mask) -> NDArray[np.float32]:
    """H,W: distance to the picture's nearest pixel outside the mask, 0 outside."""
    depth = np.zeros(mask.shape, np.float32)
    box = mask_box(mask)
    if box is not None:
        around = (
            slice(max(box.top - 1, 0), box.bottom + 1),
            slice(max(box.left - 1, 0), box.right + 1),
        )
        inside = mask[around]
        whole = inside.all()
        depth[around] = max(mask.shape) if whole else ndimage.distance_transform_edt(inside)
    return depth


def _band(mask: Mask, free: Mask, recipe: ClickRecipe) -> tuple[DistanceMap, Mask]:
    """Distances outside the object, and which places are in the band and free; h,w both."""
    box = mask_box(mask)
    if box is None:
        return depths_inside(mask), np.zeros((0, 0), bool)
    reach = int(recipe.band) + 2
    left, top = max(box[0] - reach, 0), max(box[1] - reach, 0)
    size = max(box[2] - box[0], box[3] - box[1])
    stride = 1 if size < SAMPLES else 2
    lattice = (
        slice(top, box[3] + reach, stride),
        slice(left, box[2] + reach, stride),
    )
    inside = mask[lattice]
    if inside.all() or not inside.any():
        return depths_inside(np.zeros((0, 0), bool)), np.zeros((0, 0), bool)
    away = ndimage.distance_transform_edt(~inside).astype(np.float32)
    # The lattice skips pixels, so these are a lower and an upper bound at a straight border.
    band = ((away - 1.0) * stride + 1.0 >= recipe.margin) & (away * stride <= recipe.band)
    return DistanceMap(away * stride, top, left, stride), band & free[lattice]


def _scatter(
    depths: DistanceMap, allowed: Mask, count: int, rng: np.random.Generator, step: float
) -> Points:
    """Random points of allowed cells, each at least ``step`` from those before; maybe fewer."""
    cells = np.flatnonzero(allowed)
    if not len(cells) or count <= 0:
        return NO_POINTS
    candidates = depths.points(rng.permutation(cells)[: 40 * count])
    if count == 1:
        return candidates[:1]
    chosen = np.empty((count, 2), np.float32)
    number = 0
    for point in candidates:
        if number == 0 or ((chosen[:number] - point) ** 2).sum(1).min() >= step * step:
            chosen[number] = point
            number += 1
            if number == count:
                break
    return chosen[:number]


Click = tuple[float, float, int]

# The most clicks that a prompt begins with.
MOST_CLICKS = 20
# Objects with fewer pixels in view are neither asked for nor clicked.
FEWEST_PIXELS = 60


@dataclass(frozen=True)
class FirstClickShares:
    """Shares of first clicks that are many, the paper's random points, or poor; the rest is one
    good click. "poor" is a share of what the other two leave.
    """

    many: float
    scattered: float
    poor: float


def first_clicks(
    target: Mask,
    clickable: Mask,
    void: Mask,
    view: View,
    shares: FirstClickShares,
    rng: np.random.Generator,
) -> list[Click]:
    """Random first clicks (x, y, sign) on a target. All masks: H,W bool.

    clickable: where a single click must be to mean the target.
    """
    inside = clickable if clickable.any() else target
    chance = rng.random()
    if chance < shares.many:
        count = int(rng.integers(3, MOST_CLICKS + 1))
        return many_clicks(target, ~void, count, rng)
    if chance < shares.many + shares.scattered:
        return _scattered(target, void, view, rng)
    if rng.random() < shares.poor:
        points = poor_click(inside, rng)
    else:
        points = central_click(inside, rng, jitter=float(rng.uniform(0.0, 0.7)))
    return [(float(x), float(y), 1) for x, y in points]


def clicks_of_people(view: View, about: SampleObject, target: Mask, void: Mask) -> list[Click]:
    """The clicks (x, y, sign) with which a person made this object, in the view's pixels.

    Clicks that contradict the accepted mask are left out, since the annotator then edited it by
    hand. Without a positive click left, the list is empty.
    """
    clicks = []
    for x, y, positive in about.clicks:
        place = view.place(x, y)
        if place is None:
            continue
        row, column = (min(int(place[1 - a]), view.instances.shape[a] - 1) for a in (0, 1))
        if bool(target[row, column]) == positive and not void[row, column]:
            clicks.append((*place, 1 if positive else -1))
    return clicks if any(sign > 0 for _, _, sign in clicks) else []


def _scattered(target: Mask, void: Mask, view: View, rng: np.random.Generator) -> list[Click]:
    """Positive points, and negative ones by one of the paper's three strategies or none."""
    ways = ClickRecipe()
    count = int(rng.integers(1, ways.most_positive + 1))
    positive = sample_positive(target, count, rng, ways)
    strategy = int(rng.integers(4))
    negative = NO_POINTS
    if strategy == 1:
        count = int(rng.integers(1, ways.most_band + 1))
        negative = negative_in_band(target, ~void, count, rng, ways)
    elif strategy == 2:
        picked = rng.permutation(np.array(others_in_view(view), int))[:6]
        masks = [(view.instances == i) & ~target & ~void for i in picked]
        masks = [mask for mask in masks if mask.sum() >= FEWEST_PIXELS][:3]
        count = int(rng.integers(1, ways.most_other + 1))
        negative = negative_in_others(masks, count, rng, ways)
    elif strategy == 3:
        count = int(rng.integers(1, ways.most_spread + 1))
        negative = negative_spread(target, ~void, count, rng, ways)
    return [
        *((float(x), float(y), 1) for x, y in positive),
        *((float(x), float(y), -1) for x, y in negative),
    ]


def others_in_view(view: View) -> list[int]:
    """The ids of the objects with FEWEST_PIXELS or more in view."""
    return [i for i in range(1, len(view.areas) - 1) if view.areas[i + 1] >= FEWEST_PIXELS]


# How often a simulated annotator does not click in a round.
SKIPPED_ROUND = 0.15
# How often the answer that enters the loss is made without the previous mask.
FORGOTTEN_MASK = 0.12
# How often a previous mask keeps its probabilities; the predictor passes 0 and 1.
SOFT_MASK = 0.25
# How often a phrase without clicks is answered again, with its first answer as previous mask.
SECOND_LOOK = 0.3
# The least exact annotator clicks anywhere up to this share shallower than the deepest point.
LARGEST_JITTER = 0.6


@dataclass(frozen=True)
class ClickNoise:
    """The noise of one prompt, drawn in advance and so independent of the rest of its batch.

    jitter: how much shallower than the deepest point a click may be, 0 to 1. looks_again: a phrase
    without clicks is answered twice. soft: previous masks keep their probabilities. forgets: the
    last answer is made without the previous mask. skips: the rounds without a click. places: for
    each round, which of the possible points, 0 to 1.
    """

    jitter: float
    looks_again: bool
    soft: bool
    forgets: bool
    skips: tuple[bool, ...]
    places: tuple[float, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, rounds: int) -> ClickNoise:
        """Random noise for up to ``rounds`` rounds of corrections and a first click."""
        again, soft, forgets = rng.random(3) < (SECOND_LOOK, SOFT_MASK, FORGOTTEN_MASK)
        count = rounds + 1
        return cls(
            float(rng.uniform(0.0, LARGEST_JITTER)),
            bool(again),
            bool(soft),
            bool(forgets),
            tuple((rng.random(count) < SKIPPED_ROUND).tolist()),
            tuple(rng.random(count).tolist()),
        )


EXACT = ClickNoise(0.0, False, False, False, (), ())
"""No noise and no rounds."""
