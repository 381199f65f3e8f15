"""With which clicks a prompt begins: one good or poor click, the paper's random points, or many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.sample import SampleObject
from training.data.transforms import View
from training.prompts import annotator

Click = tuple[float, float, int]
Mask = NDArray[np.bool_]

# The most clicks that a prompt begins with.
MOST_CLICKS = 20
# Random points fall into other objects of which at least this many pixels are in view.
FEWEST_PIXELS = 60


@dataclass(frozen=True)
class FirstClickShares:
    """How often the first clicks are poor, the paper's random points, or many; else one good one.

    Used by `first_clicks`; the shares of many and scattered are taken first.
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

    clickable: where one click falls that has to mean the target.
    """
    inside = clickable if clickable.any() else target
    chance = rng.random()
    if chance < shares.many:
        count = int(rng.integers(3, MOST_CLICKS + 1))
        return annotator.many_clicks(target, ~void, count, rng)
    if chance < shares.many + shares.scattered:
        return _scattered(target, void, view, rng)
    if rng.random() < shares.poor:
        points = annotator.poor_click(inside, rng)
    else:
        points = annotator.central_click(inside, rng, jitter=float(rng.uniform(0.0, 0.7)))
    return [(float(x), float(y), 1) for x, y in points]


def clicks_of_people(view: View, about: SampleObject, target: Mask, void: Mask) -> list[Click]:
    """The clicks (x, y, sign) by which somebody made this object, as they lie in the view.

    Clicks that contradict the mask which was accepted in the end are left out (the annotator who
    drew the rest by hand meant something else by them), and so are all where no positive one is
    left.
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
    """Positive points and one of the paper's three strategies for negative ones, or none."""
    ways = annotator.ClickRecipe()
    count = int(rng.integers(1, ways.most_positive + 1))
    positive = annotator.sample_positive(target, count, rng, ways)
    strategy = int(rng.integers(4))
    negative = annotator.NO_POINTS
    if strategy == 1:
        count = int(rng.integers(1, ways.most_band + 1))
        negative = annotator.negative_in_band(target, ~void, count, rng, ways)
    elif strategy == 2:
        picked = rng.permutation(np.array(others_in_view(view), int))[:6]
        masks = [(view.instances == i) & ~target & ~void for i in picked]
        masks = [mask for mask in masks if mask.sum() >= FEWEST_PIXELS][:3]
        count = int(rng.integers(1, ways.most_other + 1))
        negative = annotator.negative_in_others(masks, count, rng, ways)
    elif strategy == 3:
        count = int(rng.integers(1, ways.most_spread + 1))
        negative = annotator.negative_spread(target, ~void, count, rng, ways)
    return [
        *((float(x), float(y), 1) for x, y in positive),
        *((float(x), float(y), -1) for x, y in negative),
    ]


def others_in_view(view: View) -> list[int]:
    """The ids of all objects of which enough is in view to be asked for or clicked."""
    return [i for i in range(1, len(view.areas) - 1) if view.areas[i + 1] >= FEWEST_PIXELS]
