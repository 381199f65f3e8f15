"""The protocol of interactive segmentation, for one object at a time.

The first click is at the object's centre, each next one at the deepest point of all errors; the
picture's border counts as a border. Void pixels count neither as errors nor in the IoU. No pixel is
clicked twice. There are at most 20 interactions. A typed phrase is one and comes first; a phrase
that comes with the clicks, as a label's name does, costs nothing. A method is asked as the server
asks it: with its last mask, at the picture's size.

Ties are broken as in the field's code (``isegm/inference/clicker.py`` of
https://github.com/SamsungLabs/ritm_interactive_segmentation, shared by f-BRS, FocalClick and
SimpleClick): of equally deep points the topmost, then the leftmost; if a missing and an excess
region are equally deep, a negative click.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.crop import mask_box

Mode = Literal["clicks", "clicks+phrase", "phrase", "phrase+clicks"]
"""Clicks alone, clicks together with a phrase, a phrase alone, a phrase followed by clicks."""
MODES: tuple[Mode, ...] = ("clicks", "clicks+phrase", "phrase", "phrase+clicks")
CLICKS_FIRST: tuple[Mode, ...] = ("clicks", "clicks+phrase")
MOST = 20
GOAL = 0.85
"""IoU from which an annotator accepts a mask."""

Mask = NDArray[np.bool_]
ClickPoint = tuple[float, float, bool]
Answer = Callable[[Sequence[ClickPoint], str, Mask | None], Mask]
"""From clicks (x, y, positive), phrase and last mask (H,W or None) to the next mask."""

# Pixels that touch at a corner belong to one region.
TOUCHING = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Target:
    """The object to segment: H,W bool mask and void, and its phrase ("" without a name)."""

    mask: Mask
    void: Mask
    phrase: str

    @property
    def pixels(self) -> int:
        """How many pixels it has outside void."""
        return int(np.count_nonzero(self.mask & ~self.void))


@dataclass(frozen=True)
class Trajectory:
    """The course of one object. ious[k - 1]: after k interactions. milliseconds: per answer."""

    ious: tuple[float, ...]
    milliseconds: tuple[float, ...]
    clicks: tuple[ClickPoint, ...]

    def iou(self, interactions: int) -> float:
        """IoU after this many interactions; the last one if it ended earlier."""
        return self.ious[min(interactions, len(self.ious)) - 1]

    def needed(self, threshold: float) -> int:
        """Interactions to reach the IoU threshold; MOST if it was never reached."""
        for count, value in enumerate(self.ious, 1):
            if value >= threshold:
                return count
        return MOST

    def failed(self, threshold: float) -> bool:
        return max(self.ious) < threshold


def overlap(prediction: Mask, target: Mask, void: Mask | None = None) -> float:
    """IoU of H,W masks outside void; 1 if both are empty."""
    if void is not None:
        prediction, target = prediction & ~void, target & ~void
    either = int(np.count_nonzero(prediction | target))
    both = int(np.count_nonzero(prediction & target))
    return both / either if either else 1.0


def next_click(
    target: Target,
    prediction: Mask | None = None,
    clicked: Sequence[ClickPoint] = (),
    *,
    jitter: float = 0.0,
    rng: np.random.Generator | None = None,
) -> ClickPoint | None:
    """The protocol's next click, at a pixel's centre; None if nothing is left to click.

    prediction: the answer before, if any. jitter: in (0, 1], anywhere in the same region at
    1 - jitter of its largest depth or deeper.
    """
    if prediction is None:
        prediction = np.zeros_like(target.mask)
    missing = _errors(target.mask & ~prediction & ~target.void, clicked)
    excess = _errors(~target.mask & prediction & ~target.void, clicked)
    positive = missing.deepest > excess.deepest
    errors = missing if positive else excess
    if not errors.deepest:
        return None
    place = int(errors.depth.argmax())
    if jitter > 0:
        regions, _ = ndimage.label(errors.wrong, TOUCHING)
        deep = errors.depth >= (1.0 - jitter) * errors.deepest
        places = np.flatnonzero(deep & (regions == regions.ravel()[place]) & (errors.depth > 0))
        place = int((rng or np.random.default_rng(0)).choice(places))
    row, column = divmod(place, errors.depth.shape[1])
    return errors.left + column + 0.5, errors.top + row + 0.5, positive


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
    start: Mask | None = None,
) -> Trajectory:
    """Interact until the IoU reaches ``goal``; at least ``at_least`` and at most ``most`` times.

    The target needs a pixel that is not void. start: an existing mask that is refined; by default
    the canvas is empty.
    """
    rng = rng or np.random.default_rng(0)
    phrase = "" if mode == "clicks" else target.phrase
    clicks: list[ClickPoint] = []
    ious: list[float] = []
    milliseconds: list[float] = []
    mask: Mask | None = start
    for interaction in range(1, (1 if mode == "phrase" else most) + 1):
        if mode in CLICKS_FIRST or interaction > 1:
            spot = next_click(target, mask, clicks, jitter=jitter, rng=rng)
            if spot is None:
                break
            clicks.append(spot)
        began = time.perf_counter()
        mask = answer(clicks, phrase, mask)
        milliseconds.append(1000.0 * (time.perf_counter() - began))
        ious.append(overlap(mask, target.mask, target.void))
        if ious[-1] >= goal and interaction >= at_least:
            break
    return Trajectory(tuple(ious), tuple(milliseconds), tuple(clicks))


@dataclass(frozen=True, eq=False)
class _Errors:
    """The box of all wrong pixels of one kind. depth: their distance to the nearest other pixel or
    the picture's border; 0 outside and at clicked pixels."""

    wrong: Mask
    depth: NDArray[np.float64]
    top: int
    left: int

    @property
    def deepest(self) -> float:
        return float(self.depth.max())


def _errors(wrong: Mask, clicked: Sequence[ClickPoint]) -> _Errors:
    left, top, right, bottom = mask_box(wrong) or (0, 0, 1, 1)
    part = wrong[top:bottom, left:right]
    depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    for x, y, _ in clicked:
        row, column = int(y) - top, int(x) - left
        if 0 <= row < depth.shape[0] and 0 <= column < depth.shape[1]:
            depth[row, column] = 0.0
    return _Errors(part, depth, top, left)
