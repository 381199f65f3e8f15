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

Mode = Literal["clicks", "clicks+phrase", "phrase", "phrase+clicks"]
"""Clicks alone, clicks together with a phrase, a phrase alone, a phrase followed by clicks."""
MODES: tuple[Mode, ...] = ("clicks", "clicks+phrase", "phrase", "phrase+clicks")
CLICKS_FIRST: tuple[Mode, ...] = ("clicks", "clicks+phrase")
MOST = 20

Mask = NDArray[np.bool_]
ClickPoint = tuple[float, float, bool]
Answer = Callable[[Sequence[ClickPoint], str, Mask | None], Mask]
"""From clicks (x, y, positive), phrase and last mask (H,W or None) to the next mask."""

# Pixels that touch at a corner belong to one region. Only then is the distance to a region's border
# the distance to the nearest correct pixel: between regions that do not touch is a correct pixel.
TOUCHING = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Target:
    """The object to segment: H,W bool mask and void, and its phrase ("" without a name)."""

    mask: Mask
    void: Mask
    phrase: str


@dataclass(frozen=True)
class Trajectory:
    """The course of one object. ious[k - 1]: after k interactions. milliseconds: per answer.

    obeyed: for each click, whether its pixel had the click's sign in the answer that followed.
    """

    ious: tuple[float, ...]
    milliseconds: tuple[float, ...]
    clicks: tuple[ClickPoint, ...]
    obeyed: tuple[bool, ...] = ()

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
    prediction: Mask,
    clicked: Sequence[ClickPoint] = (),
    *,
    jitter: float = 0.0,
    rng: np.random.Generator | None = None,
) -> ClickPoint | None:
    """The protocol's next click, at a pixel's centre; None if nothing is left to click.

    jitter: in (0, 1], anywhere in the same region at 1 - jitter of its largest depth or deeper.
    """
    counts = ~target.void
    missing = _deepest_region(target.mask & ~prediction & counts, clicked)
    excess = _deepest_region(~target.mask & prediction & counts, clicked)
    if missing is None and excess is None:
        return None
    positive = excess is None or (missing is not None and missing.deepest > excess.deepest)
    region = missing if positive else excess
    assert region is not None
    place = region.first
    if jitter > 0:
        places = np.flatnonzero(region.depth >= (1.0 - jitter) * region.deepest)
        places = places[region.depth.ravel()[places] > 0]
        place = int((rng or np.random.default_rng(0)).choice(places))
    row, column = divmod(place, region.depth.shape[1])
    return region.left + column + 0.5, region.top + row + 0.5, positive


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
    watch: Callable[[Mask], None] | None = None,
    start: Mask | None = None,
) -> Trajectory:
    """Interact until the IoU reaches ``goal``; at least ``at_least`` and at most ``most`` times.

    The target needs a pixel that is not void. watch: called with every answer. start: an existing
    mask that is refined; by default the canvas is empty.
    """
    rng = rng or np.random.default_rng(0)
    phrase = "" if mode == "clicks" else target.phrase
    clicks: list[ClickPoint] = []
    ious: list[float] = []
    milliseconds: list[float] = []
    obeyed: list[bool] = []
    mask: Mask | None = start
    for interaction in range(1, (1 if mode == "phrase" else most) + 1):
        if mode in CLICKS_FIRST or interaction > 1:
            before = np.zeros_like(target.mask) if mask is None else mask
            spot = next_click(target, before, clicks, jitter=jitter, rng=rng)
            if spot is None:
                break
            clicks.append(spot)
        began = time.perf_counter()
        mask = answer(clicks, phrase, mask)
        milliseconds.append(1000.0 * (time.perf_counter() - began))
        ious.append(overlap(mask, target.mask, target.void))
        if clicks:
            x, y, positive = clicks[-1]
            obeyed.append(bool(mask[int(y), int(x)]) == positive)
        if watch:
            watch(mask)
        if ious[-1] >= goal and interaction >= at_least:
            break
    return Trajectory(tuple(ious), tuple(milliseconds), tuple(clicks), tuple(obeyed))


@dataclass(frozen=True, eq=False)
class _Region:
    """A connected region of errors. depth: of its box, 0 outside it and at clicked pixels."""

    depth: NDArray[np.float64]
    top: int
    left: int
    deepest: float
    first: int  # flat index in ``depth`` of its topmost, leftmost deepest pixel

    @property
    def order(self) -> tuple[int, int]:
        """Row and column in the picture, which break ties."""
        row, column = divmod(self.first, self.depth.shape[1])
        return self.top + row, self.left + column


def _deepest_region(error: Mask, clicked: Sequence[ClickPoint]) -> _Region | None:
    """The region with the deepest pixel that was not clicked yet.

    Distances are measured region by region, starting with those that may be deepest. Most specks
    are never measured, so the protocol is cheap compared with the network.
    """
    labels, count = ndimage.label(error, TOUCHING)
    boxes = ndimage.find_objects(labels)
    # No pixel is deeper than half of its box's shorter side.
    reach = [(min(b[0].stop - b[0].start, b[1].stop - b[1].start) + 1) / 2 for b in boxes]
    corners = [(box[0].start, box[1].start) for box in boxes]
    best: _Region | None = None
    for number in sorted(range(count), key=lambda i: (-reach[i], corners[i])):
        # At best, a remaining region is as deep and starts at its box's corner.
        if best is not None and (-reach[number], corners[number]) > (-best.deepest, best.order):
            if reach[number] < best.deepest:
                break
            continue
        box = boxes[number]
        depth = ndimage.distance_transform_edt(np.pad(labels[box] == number + 1, 1))[1:-1, 1:-1]
        top, left = corners[number]
        for x, y, _ in clicked:
            row, column = int(y) - top, int(x) - left
            if 0 <= row < depth.shape[0] and 0 <= column < depth.shape[1]:
                depth[row, column] = 0.0
        first = int(depth.argmax())
        region = _Region(depth, top, left, float(depth.ravel()[first]), first)
        if region.deepest > 0 and (
            best is None or (-region.deepest, region.order) < (-best.deepest, best.order)
        ):
            best = region
    return best
