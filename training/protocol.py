"""The protocol by which interactive segmentation is measured, for one object at a time.

First click at the centre of the object, each next one at the deepest point of the largest error,
the picture's border counting as a border; void pixels count neither as error nor in the IoU; no
pixel is clicked twice; at most 20 interactions. A phrase counts as one interaction and comes
first. Whatever answers is asked as the server asks it: with its last mask, at the picture's size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.annotator import correction

Mode = Literal["clicks", "phrase", "phrase+clicks"]
MODES: tuple[Mode, ...] = ("clicks", "phrase", "phrase+clicks")
MOST = 20

Mask = NDArray[np.bool_]
Spot = tuple[float, float, bool]
Answer = Callable[[Sequence[Spot], str, Mask | None], Mask]
"""Clicks (x, y, positive), the phrase and the mask before, to the next mask; all of one picture."""


@dataclass(frozen=True)
class Target:
    """What is to be found: H,W bool masks, and what to call it ("" where it has no name)."""

    mask: Mask
    void: Mask
    phrase: str


@dataclass(frozen=True)
class Course:
    """How it went. ious[k - 1]: after k interactions. milliseconds: of each answer."""

    ious: tuple[float, ...]
    milliseconds: tuple[float, ...]
    clicks: tuple[Spot, ...]

    def iou(self, interactions: int) -> float:
        """IoU after so many interactions; the last one where it ended earlier."""
        return self.ious[min(interactions, len(self.ious)) - 1]

    def needed(self, threshold: float) -> int:
        """Interactions to reach the threshold; the protocol's most where it never did."""
        for count, value in enumerate(self.ious, 1):
            if value >= threshold:
                return count
        return MOST

    def failed(self, threshold: float) -> bool:
        return max(self.ious) < threshold


def overlap(prediction: Mask, target: Mask, void: Mask) -> float:
    """Intersection over union of what counts; 1 where both are empty."""
    either = int(((prediction | target) & ~void).sum())
    both = int((prediction & target & ~void).sum())
    return both / either if either else 1.0


def follow(
    answer: Answer,
    target: Target,
    mode: Mode,
    *,
    goal: float = 0.90,
    at_least: int = 5,
    most: int = MOST,
    jitter: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Course:
    """Interact until the IoU reaches ``goal`` (after ``at_least`` interactions) or ``most``.

    ``jitter`` in (0, 1]: clicks miss the deepest point by so much of the error's depth.
    """
    rng = rng or np.random.default_rng(0)
    phrase = "" if mode == "clicks" else target.phrase
    clicks: list[Spot] = []
    ious: list[float] = []
    milliseconds: list[float] = []
    mask: Mask | None = None
    for interaction in range(1, (1 if mode == "phrase" else most) + 1):
        if mode == "clicks" or interaction > 1:
            before = np.zeros_like(target.mask) if mask is None else mask
            where = np.array([spot[:2] for spot in clicks], np.float32).reshape(-1, 2)
            spot = correction(
                target.mask, before, target.void, rng, jitter=jitter, clicked=where, border=True
            )
            if spot is None:
                break
            clicks.append(spot)
        start = time.perf_counter()
        mask = answer(clicks, phrase, mask)
        milliseconds.append(1000.0 * (time.perf_counter() - start))
        ious.append(overlap(mask, target.mask, target.void))
        if ious[-1] >= goal and interaction >= at_least:
            break
    return Course(tuple(ious), tuple(milliseconds), tuple(clicks))
