"""The order in which to label pictures, by value and diversity.

The most valuable pictures are often neighbours: frames of one film, shots of one scene. The second
one teaches little that the first did not. So the order is greedy (maximal marginal relevance): the
next picture has the most value after subtracting its similarity to earlier ones, and a
near-duplicate of the last one waits as long as there is another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Share of its value that a picture loses if it repeats an earlier one entirely.
WEIGHT = 0.5
# The same if a whole kind of pictures is valuable except near-duplicates.
MILD = 0.25
# From this similarity on, two pictures show the same scene.
SAME_SCENE = 0.85
# Pictures that are compared with all earlier ones; the time grows with their square.
FRONT = 3000


def order(
    scores: ArrayLike,
    descriptors: NDArray[np.floating],
    *,
    weight: float = WEIGHT,
    same: float = SAME_SCENE,
    front: int = FRONT,
) -> list[int]:
    """The indices of N pictures in the order in which to label them.

    scores: N, higher is more valuable; only ranks count. descriptors: N,D from
    `Predictor.descriptor`. weight: 0 for scores only, 1 for diversity only. same: similarity of a
    near-duplicate. front: pictures that are ordered so; the others follow by score. Ties are broken
    by index, so the same arguments give the same order.
    """
    values = np.asarray(scores, float)
    if not len(values):
        return []
    by_score = np.argsort(-values, kind="stable")
    chosen = _greedy(by_score[:front], values, _centred(descriptors), weight, same)
    return chosen + [int(place) for place in by_score[front:]]


def similarities(descriptors: NDArray[np.floating]) -> NDArray[np.float64]:
    """N,N: similarities of pictures, -1 to 1."""
    unit = _centred(descriptors)
    products: NDArray[np.float64] = unit @ unit.T
    return products


def _greedy(
    places: Sequence[int] | NDArray[np.intp],
    values: NDArray[np.float64],
    unit: NDArray[np.float64],
    weight: float,
    same: float,
) -> list[int]:
    left = np.asarray(places)
    near = unit[left]
    # Ranks, so that neither single large scores nor the scale decide.
    worth = 1.0 - np.argsort(np.argsort(-values[left], kind="stable"), kind="stable") / len(left)
    repeated = np.zeros(len(left))
    last = np.full(len(left), -1.0)
    open_ = np.ones(len(left), bool)
    picked = []
    for _ in range(len(left)):
        gain = (1.0 - weight) * worth - weight * np.maximum(repeated, 0.0)
        waits = open_ & (last >= same)
        candidates = open_ & ~waits if (open_ & ~waits).any() else open_
        pick = int(np.flatnonzero(candidates)[gain[candidates].argmax()])
        picked.append(int(left[pick]))
        open_[pick] = False
        last = near @ near[pick]
        repeated = np.maximum(repeated, last)
    return picked


def _centred(descriptors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Unit descriptors without what all pictures of this set share."""
    table = np.asarray(descriptors, float)
    table = table - table.mean(0, keepdims=True) if len(table) > 2 else table
    unit: NDArray[np.float64] = table / np.maximum(
        np.linalg.norm(table, axis=1, keepdims=True), 1e-9
    )
    return unit
