"""Where a simulated annotator clicks, given a mask and what is wrong with it.

First clicks are one good or poor click, the paper's random points (three strategies for negative
ones), or many at once. Further clicks follow the evaluation protocol. `corrections` finds them for
a whole batch on its device. Depths come from an exact Euclidean distance transform made of minima
of shifted rows only, which suits a GPU and takes half the time of one scipy call per object on a
CPU.

Everything random comes from one generator, so a seed gives the same pixels. Points are (x, y) at
pixel centres (column + 0.5, row + 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from model.crop import mask_box
from training.data.masks import SAMPLES, DistanceMap, Mask, depths_inside, spread
from training.data.sample import SampleObject
from training.data.transforms import View

Points = NDArray[np.float32]
NO_POINTS: Points = np.zeros((0, 2), np.float32)


# The most clicks of each kind, and distances in pixels: of Xu et al. 2016 and its
# reimplementations. Negative clicks are in a band around the object; no click is nearer to the
# border than the margin, or nearer to another click than the step.
MOST_POSITIVE, MOST_IN_BAND, MOST_IN_OTHER, MOST_SPREAD = 5, 10, 5, 10
BAND, MARGIN, STEP = 40.0, 5.0, 10.0
# Distances in pixels of many clicks drawn at once: from the border, and from each other.
CLOSE_MARGIN, CLOSE_STEP = 2.0, 5.0
# Negative ones are at most this far outside, where corrections usually are.
NEAR_BAND = 24.0


def sample_positive(mask: Mask, count: int, rng: np.random.Generator) -> Points:
    """Up to ``count`` points inside, off the border and apart where there is room."""
    depths = depths_inside(mask)
    if depths.deepest == 0:
        return NO_POINTS
    # A thin object has no pixel five from its border; its deeper half is used then.
    allowed = depths.values > min(MARGIN, depths.deepest * 0.5)
    return _scatter(depths, allowed, count, rng, STEP)


def central_click(mask: Mask, rng: np.random.Generator, *, jitter: float) -> Points:
    """One point at the deepest place; with ``jitter`` in (0, 1), somewhere nearly as deep."""
    depths = depths_inside(mask)
    deep_enough = depths.values >= (1.0 - jitter) * depths.deepest
    cells = np.flatnonzero(deep_enough & (depths.values > 0))
    return depths.points(cells[rng.integers(len(cells), size=1)]) if len(cells) else NO_POINTS


def poor_click(mask: Mask, rng: np.random.Generator) -> Points:
    """One careless point: anywhere inside, or close to the border."""
    depths = depths_inside(mask)
    allowed = depths.values > 0
    if rng.random() < 0.4:
        shallow = allowed & (depths.values <= max(0.25 * depths.deepest, 3.0))
        allowed = shallow if shallow.any() else allowed
    return _scatter(depths, allowed, 1, rng, 0.0)


def many_clicks(mask: Mask, free: Mask, count: int, rng: np.random.Generator) -> list[Click]:
    """Up to ``count`` clicks (x, y, sign), as after a long correction: many of them near borders.

    Positive ones are inside, negative ones in a band just outside; the first click is positive.
    ``free`` (H,W) excludes void pixels from the band.
    """
    inside = depths_inside(mask)
    positive = int(rng.integers(1, count + 1))
    margin = min(CLOSE_MARGIN, inside.deepest * 0.5)
    included = _scatter(inside, inside.values > margin, positive, rng, CLOSE_STEP)
    outside, band = _band(mask, free, CLOSE_MARGIN + 1.0, NEAR_BAND)
    excluded = _scatter(outside, band, count - positive, rng, CLOSE_STEP)
    clicks = _signed(included, 1) + _signed(excluded, -1)
    first, rest = clicks[:1], clicks[1:]
    return first + [rest[place] for place in rng.permutation(len(rest))]


def negative_in_band(mask: Mask, free: Mask, count: int, rng: np.random.Generator) -> Points:
    """Strategy 1: random points in the band around the object. ``free`` excludes void pixels."""
    outside, band = _band(mask, free, MARGIN, BAND)
    return _scatter(outside, band, count, rng, STEP)


def negative_in_others(others: Sequence[Mask], count: int, rng: np.random.Generator) -> Points:
    """Strategy 2: up to ``count`` points inside each other object."""
    points = [sample_positive(other, count, rng) for other in others]
    return np.concatenate(points) if points else NO_POINTS


def negative_spread(mask: Mask, free: Mask, count: int, rng: np.random.Generator) -> Points:
    """Strategy 3: in the band, the first at random, each next one farthest from all before."""
    outside, band = _band(mask, free, MARGIN, BAND)
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
        if nearest[farthest] < STEP**2:
            break
        chosen.append(farthest)
    return candidates[chosen]


def _band(mask: Mask, free: Mask, least: float, most: float) -> tuple[DistanceMap, Mask]:
    """Distances outside the object, and which places are between these and free; h,w both."""
    box = mask_box(mask)
    if box is None:
        return depths_inside(mask), np.zeros((0, 0), bool)
    reach = int(most) + 2
    left, top = max(box[0] - reach, 0), max(box[1] - reach, 0)
    size = max(box[2] - box[0], box[3] - box[1])
    stride = 1 if size < SAMPLES else 2
    lattice = (slice(top, box[3] + reach, stride), slice(left, box[2] + reach, stride))
    inside = mask[lattice]
    if inside.all() or not inside.any():
        return depths_inside(np.zeros((0, 0), bool)), np.zeros((0, 0), bool)
    away = ndimage.distance_transform_edt(~inside).astype(np.float32)
    # The lattice skips pixels, so these are a lower and an upper bound at a straight border.
    band = ((away - 1.0) * stride + 1.0 >= least) & (away * stride <= most)
    return DistanceMap(away * stride, top, left, stride), band & free[lattice]


def _scatter(
    depths: DistanceMap, allowed: Mask, count: int, rng: np.random.Generator, step: float
) -> Points:
    """Random points of allowed cells, each at least ``step`` from those before; maybe fewer."""
    cells = np.flatnonzero(allowed)
    if not len(cells) or count <= 0:
        return NO_POINTS
    return spread(depths.points(rng.permutation(cells)[: 40 * count]), step, count)


# Rows between two checks whether more rows can matter; each check waits for the device.
LOOK_EVERY = 4


def corrections(
    target: Tensor,
    prediction: Tensor,
    void: Tensor,
    jitter: Tensor,
    place: Tensor,
    *,
    stride: int = 2,
) -> Tensor:
    """B,3: x, y in pixels and the sign of each next click; sign 0 if nothing is wrong.

    target, prediction, void: B,H,W bool. jitter: B in [0, 1), how much shallower than the deepest
    point a click may be. place: B in [0, 1), which of the points that are deep enough. stride:
    measure depth on every n-th pixel only; 2 is four times as fast and off by at most a pixel.
    """
    view = slice(stride // 2, None, stride)
    target, prediction, void = (mask[:, view, view] for mask in (target, prediction, void))
    wrong = torch.stack([target & ~prediction & ~void, ~target & prediction & ~void])
    depth = depths(wrong.flatten(0, 1)).view(2, len(target), -1)
    deepest = depth.amax(2)
    positive = deepest[0] >= deepest[1]
    depth = torch.where(positive[:, None], depth[0], depth[1])
    most = torch.maximum(deepest[0], deepest[1])
    deep_enough = (depth >= ((1.0 - jitter) * most)[:, None]) & (depth > 0)
    counted = deep_enough.cumsum(1, dtype=torch.int32)
    wanted = (place * counted[:, -1]).to(torch.int32).clamp(max=counted[:, -1] - 1) + 1
    cell = torch.searchsorted(counted, wanted[:, None])[:, 0].clamp(max=depth.shape[1] - 1)
    width = target.shape[2]
    x = (cell % width) * stride + stride // 2 + 0.5
    y = cell.div(width, rounding_mode="floor") * stride + stride // 2 + 0.5
    sign = torch.where(positive, 1.0, -1.0) * (most > 0)
    return torch.stack([x.to(sign.dtype), y.to(sign.dtype), sign], 1)


def depths(mask: Tensor) -> Tensor:
    """B,H,W: exact distance of each pixel to the nearest one outside the mask, 0 outside.

    The picture's border does not count as outside; a mask of the whole picture is H + W deep.
    """
    _, height, width = mask.shape
    far = float(height + width)
    columns = torch.arange(width, dtype=torch.float32, device=mask.device)
    # Along the rows: distance to the last and to the next column outside.
    before = torch.where(mask, -far, columns).cummax(2).values
    after = torch.where(mask, far + width, columns).flip(2).cummin(2).values.flip(2)
    along = torch.minimum(columns - before, after - columns).clamp_(max=far).square_()
    # Across rows: a pixel k rows away adds k squared, until no row that far can matter.
    squared = along.clone()
    for away in range(1, height):
        if away % LOOK_EVERY == 1 and float(squared.max()) <= away * away:
            break
        reached = along + float(away * away)
        torch.minimum(squared[:, away:], reached[:, :-away], out=squared[:, away:])
        torch.minimum(squared[:, :-away], reached[:, away:], out=squared[:, :-away])
    return squared.sqrt_()


Click = tuple[float, float, int]

# The most clicks that a prompt begins with.
MOST_CLICKS = 20
# Objects with fewer pixels in view are neither asked for nor clicked.
FEWEST_PIXELS = 60


def first_clicks(
    target: Mask,
    clickable: Mask,
    void: Mask,
    view: View,
    rng: np.random.Generator,
    *,
    many: float,
    scattered: float,
    poor: float,
) -> list[Click]:
    """Random first clicks (x, y, sign) on a target. All masks: H,W bool.

    clickable: where a single click must be to mean the target. many, scattered: shares of many
    clicks and of the paper's random points; poor: of the single clicks that are left.
    """
    inside = clickable if clickable.any() else target
    chance = rng.random()
    if chance < many:
        count = int(rng.integers(3, MOST_CLICKS + 1))
        return many_clicks(target, ~void, count, rng)
    if chance < many + scattered:
        return _scattered(target, void, view, rng)
    if rng.random() < poor:
        points = poor_click(inside, rng)
    else:
        points = central_click(inside, rng, jitter=float(rng.uniform(0.0, 0.7)))
    return _signed(points, 1)


def clicks_of_people(view: View, about: SampleObject, target: Mask, void: Mask) -> list[Click]:
    """The clicks (x, y, sign) with which a person made this object, in the view's pixels.

    Clicks that contradict the accepted mask are left out, since the annotator then edited it by
    hand. Without a positive click left, the list is empty.
    """
    clicks = []
    for x, y, positive in about.clicks:
        if not view.shows(x, y):
            continue
        place = view.place(x, y)
        row, column = (min(int(place[1 - a]), view.instances.shape[a] - 1) for a in (0, 1))
        if bool(target[row, column]) == positive and not void[row, column]:
            clicks.append((*place, 1 if positive else -1))
    return clicks if any(sign > 0 for _, _, sign in clicks) else []


def _scattered(target: Mask, void: Mask, view: View, rng: np.random.Generator) -> list[Click]:
    """Positive points, and negative ones by one of the paper's three strategies or none."""
    positive = sample_positive(target, int(rng.integers(1, MOST_POSITIVE + 1)), rng)
    strategy = int(rng.integers(4))
    negative = NO_POINTS
    if strategy == 1:
        count = int(rng.integers(1, MOST_IN_BAND + 1))
        negative = negative_in_band(target, ~void, count, rng)
    elif strategy == 2:
        picked = rng.permutation(np.array(others_in_view(view), int))[:6]
        masks = [(view.instances == i) & ~target & ~void for i in picked]
        masks = [mask for mask in masks if mask.sum() >= FEWEST_PIXELS][:3]
        negative = negative_in_others(masks, int(rng.integers(1, MOST_IN_OTHER + 1)), rng)
    elif strategy == 3:
        count = int(rng.integers(1, MOST_SPREAD + 1))
        negative = negative_spread(target, ~void, count, rng)
    return _signed(positive, 1) + _signed(negative, -1)


def _signed(points: Points, sign: int) -> list[Click]:
    return [(float(x), float(y), sign) for x, y in points]


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
