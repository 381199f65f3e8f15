"""In which order to label pictures that are worth it, so that none repeats the one before.

The most valuable pictures are often neighbours: frames of one film, shots of one scene. Labeling
the second of them teaches little that the first did not. So the order is found greedily (maximal
marginal relevance): the next picture is the one with the most value left after what it shares with
those chosen before is taken off, and one that nearly repeats the last waits while there is another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# How much of its value a picture loses that repeats one chosen before entirely.
WEIGHT = 0.5
# The same where a whole kind of pictures is worth it, and only its near-duplicates are not.
MILD = 0.25
# Nearer than so, two pictures count as the same scene.
SAME_SCENE = 0.85
# So many pictures are compared with all chosen before; beyond, time would grow with the square.
FRONT = 3000


def order(
    scores: ArrayLike,
    descriptors: NDArray[np.floating],
    *,
    weight: float = WEIGHT,
    same: float = SAME_SCENE,
    front: int = FRONT,
) -> list[int]:
    """The places of N pictures in the order in which to label them.

    scores: N, the higher the more valuable; only their ranks count. descriptors: N,D as
    `Predictor.descriptor` gives them. weight: 0 for the scores alone, 1 for as much difference as
    can be. The first ``front`` are found so; those behind follow by score. Ties are settled by
    place, so the same arguments give the same order.
    """
    values = np.asarray(scores, float)
    if not len(values):
        return []
    by_score = np.argsort(-values, kind="stable")
    chosen = _greedy(by_score[:front], values, _centred(descriptors), weight, same)
    return chosen + [int(place) for place in by_score[front:]]


def similarities(descriptors: NDArray[np.floating]) -> NDArray[np.float64]:
    """N,N: how alike pictures are among each other, -1 to 1."""
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
    # Ranks, so that neither a few giant scores nor their scale decide.
    worth = 1.0 - np.argsort(np.argsort(-values[left], kind="stable"), kind="stable") / len(left)
    repeated = np.zeros(len(left))
    last = np.full(len(left), -1.0)
    open_ = np.ones(len(left), bool)
    found = []
    for _ in range(len(left)):
        gain = (1.0 - weight) * worth - weight * np.maximum(repeated, 0.0)
        waits = open_ & (last >= same)
        candidates = open_ & ~waits if (open_ & ~waits).any() else open_
        pick = int(np.flatnonzero(candidates)[gain[candidates].argmax()])
        found.append(int(left[pick]))
        open_[pick] = False
        last = near @ near[pick]
        repeated = np.maximum(repeated, last)
    return found


def _centred(descriptors: NDArray[np.floating]) -> NDArray[np.float64]:
    """What tells pictures of this very set apart: all that they share is taken off."""
    table = np.asarray(descriptors, float)
    table = table - table.mean(0, keepdims=True) if len(table) > 2 else table
    unit: NDArray[np.float64] = table / np.maximum(
        np.linalg.norm(table, axis=1, keepdims=True), 1e-9
    )
    return unit
