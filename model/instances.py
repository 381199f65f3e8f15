"""Instances of a phrase: one mask for each thing that it means, from one encoded picture.

The phrase's own mask shows where things of the kind are, but merges things that touch. So its
deepest points become clicks, each for one object, a few at a time: more while they find objects,
and only where these leave the mask uncovered. Of two masks of the same object the better one is
kept, and cells in two objects go to the one with the higher logit. Of a crowd of small objects the
picture as a whole shows too little, so it is searched once more in overlapping tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model import merging
from model.crop import Box, mask_box
from model.inference import CERTAIN
from model.mask_upsampling import LogitGrid, sigmoid
from model.point_decoder import Cell, Patch

T = TypeVar("T")
Cells = NDArray[np.bool_]
Logits = NDArray[np.float32]
Decode = Callable[[Sequence[Cell]], list[Patch | None]]
"""One patch for each click, or None; see `model.point_decoder`."""
# Clicks at a time; twice as many as the last ones found objects.
FEWEST, MOST = 3, 16


@dataclass(frozen=True)
class Limits:
    """What counts as an object of the kind; lengths and areas in cells of the network's mask.

    Chosen on 36 cases of the validation pictures, each a plural phrase about two or more objects
    (132 objects, shipped checkpoint of 2026-11): agreement, confidence and contained from 18
    combinations by F1 of objects found at an IoU of .5; clicks that read the phrase's singular did
    better than those without words. The rest is a *choice*.

    sure: probability from which a cell is in the phrase's mask. deepest: least depth of a click.
    shallow: the same, as a share of the depth of the deepest one. patience: clicks in a row without
    an object after which no more are made, or as many as objects were found. seeds: number of
    clicks for one phrase at most. agreement: least mean probability of the phrase within an object.
    same, contained: IoU, and share of the smaller one, above which two masks are of one object.
    confidence: least confidence of an object. smallest: its least area.
    """

    sure: float = 0.5
    deepest: float = 1.5
    shallow: float = 0.15
    patience: int = 6
    seeds: int = 120
    agreement: float = 0.7
    same: float = 0.5
    contained: float = 0.5
    confidence: float = 0.4
    smallest: int = 4


LIMITS = Limits()
# Where a phrase says that there are several ("left dog"), and the usual limits find fewer.
LOOSE_LIMITS = Limits(sure=0.3, agreement=0.5, confidence=0.2)
# Pieces of a phrase's answer from which there may be a crowd, if some objects or none were found,
# and the largest median length of these objects, as a share of the picture's. Chosen on 62 pictures
# (training/RUNS.md).
CROWD, UNSEEN_CROWD = 8, 16
CROWD_LENGTH = 0.15
# Largest size of negative logits of cells outside an object.
FAINT = 1.0


@dataclass(frozen=True, eq=False)
class Instance:
    """One object: h,w bool ``pixels`` of a box in a picture of width x height.

    confidence: 0 to 1, the IoU to expect.
    """

    width: int
    height: int
    box: Box
    pixels: NDArray[np.bool_]
    confidence: float

    def iou(self, other: Instance) -> float:
        """Intersection over union with another object of the same picture."""
        both = self.common(other)
        return both / (self.area + other.area - both)

    @cached_property
    def area(self) -> int:
        """Its pixels, counted."""
        return int(np.count_nonzero(self.pixels))

    @property
    def centre(self) -> tuple[float, float]:
        """x and y of its deepest pixel, where a click means it most clearly."""
        row, column = _deepest(self.pixels)
        return self.box.left + column + 0.5, self.box.top + row + 0.5

    def within(self, part: Box, width: int, height: int) -> Instance:
        """As an object of the picture of which its own picture is a part."""
        box = self.box.moved(part.left, part.top)
        return Instance(width, height, box, self.pixels, self.confidence)

    def common(self, other: Instance) -> int:
        """Pixels that it shares with another object of the same picture."""
        common = self.box.intersection(other.box)
        if common is None:
            return 0
        return int(np.count_nonzero(self._part(common) & other._part(common)))

    def without(self, other: Instance) -> Instance:
        """It without the pixels that it shares with another object of the same picture."""
        common = self.box.intersection(other.box)
        if common is None:
            return self
        left = replace(self, pixels=self.pixels.copy())
        left._part(common)[...] &= ~other._part(common)
        return left

    def _part(self, box: Box) -> NDArray[np.bool_]:
        """Its pixels in a part of its box, as a view."""
        return self.pixels[box.moved(-self.box.left, -self.box.top).slices]

    def mask(self) -> NDArray[np.bool_]:
        """H,W bool at the picture's size."""
        whole = np.zeros((self.height, self.width), np.bool_)
        whole[self.box.slices] = self.pixels
        return whole


@dataclass(frozen=True, eq=False)
class Candidate:
    """One object on the network's grid.

    inside: h,w bool, the cells of its patch that belong to it. agreement: the mean probability of
    the phrase in them.
    """

    patch: Patch
    inside: Cells
    confidence: float
    agreement: float

    @property
    def centre(self) -> Cell:
        """Its deepest cell, where a click means it most clearly."""
        row, column = _deepest(self.inside)
        return row + self.patch.corner[0], column + self.patch.corner[1]

    @property
    def worth(self) -> float:
        """Which of two masks of one object is kept."""
        return self.confidence * self.agreement


def find(
    answer: Logits,
    decode: Decode,
    confidence: Callable[[float], float],
    limits: Limits = LIMITS,
) -> list[Candidate]:
    """The objects of a phrase, the best first; no cell is in two of them.

    answer: h,w logits of the phrase over the picture. confidence: of a patch's score, 0 to 1.
    """
    probability = sigmoid(answer)
    region = probability > limits.sure
    candidates: list[Candidate] = []
    asked: set[Cell] = set()
    deepest = max(limits.deepest, limits.shallow * float(_depths(region).max()))
    waiting = seeds(region, deepest)
    count, idle = FEWEST, 0
    while waiting and idle < max(limits.patience, len(candidates)) and len(asked) < limits.seeds:
        count = min(count, limits.seeds - len(asked))
        cells, waiting = waiting[:count], waiting[count:]
        asked.update(cells)
        found = []
        for cell, patch in zip(cells, decode(cells), strict=True):
            if patch is not None:
                inside = _cleaned(patch, cell)
                agreement = float(probability[patch.slices][inside].mean())
                found.append(Candidate(patch, inside, confidence(patch.score), agreement))
        candidates = settled([*candidates, *found], answer.shape, limits)
        new = sum(one in candidates for one in found)
        count = min(max(2 * new, FEWEST), MOST)
        if not new:
            idle += len(cells)
            continue
        idle = 0
        left = region & ~np.logical_or.reduce(_on_grid(candidates, answer.shape), axis=0)
        waiting = [cell for cell in seeds(left, deepest) if cell not in asked]
    return apart(candidates, answer.shape)


def seeds(region: Cells, deepest: float) -> list[Cell]:
    """Deepest points of a region, the deepest first; each is outside the circles of earlier ones.

    The circle of a point reaches to the region's nearest edge, so a long or lobed region has a
    point in each lobe.
    """
    depth = _depths(region)
    peaks = (depth >= deepest) & (depth == ndimage.maximum_filter(depth, 3))
    rows, columns = np.nonzero(peaks)
    depths = depth[rows, columns]
    chosen: list[Cell] = []
    free = np.ones(len(rows), np.bool_)
    for place in np.argsort(-depths, kind="stable"):
        if free[place]:
            row, column = int(rows[place]), int(columns[place])
            chosen.append((row, column))
            free &= (rows - row) ** 2 + (columns - column) ** 2 > depths[place] ** 2
    return chosen


def settled(
    candidates: Sequence[Candidate], shape: tuple[int, ...], limits: Limits = LIMITS
) -> list[Candidate]:
    """One candidate for each object, the best first, none below the limits."""
    enough = [
        candidate
        for candidate in candidates
        if candidate.confidence >= limits.confidence
        and candidate.agreement >= limits.agreement
        and np.count_nonzero(candidate.inside) >= limits.smallest
    ]
    if not enough:
        return []
    enough.sort(key=lambda candidate: -candidate.worth)
    cells = _on_grid(enough, shape).reshape(len(enough), -1).astype(np.float32)
    areas = cells.sum(1)
    both = cells @ cells.T
    iou = both / np.maximum(areas[:, None] + areas - both, 1.0)
    # share[i, j]: how much of i is in j.
    share = both / np.maximum(areas[:, None], 1.0)
    kept: list[int] = []
    for place in range(len(enough)):
        doubles = (
            iou[place, other] > limits.same
            or max(share[place, other], share[other, place]) > limits.contained
            for other in kept
        )
        if not any(doubles):
            kept.append(place)
    return [enough[place] for place in kept]


def apart(candidates: Sequence[Candidate], shape: tuple[int, ...]) -> list[Candidate]:
    """The same objects; a cell in two of them stays with the higher logit.

    An object that keeps no cell is left out.
    """
    highest = np.full(shape, -np.inf, np.float32)
    for candidate in candidates:
        part = highest[candidate.patch.slices]
        np.maximum(part, np.where(candidate.inside, candidate.patch.logits, -np.inf), out=part)
    left = [
        replace(
            candidate,
            inside=candidate.inside & (candidate.patch.logits >= highest[candidate.patch.slices]),
        )
        for candidate in candidates
    ]
    return [candidate for candidate in left if candidate.inside.any()]


def at_picture_size(
    candidates: Sequence[Candidate], shape: tuple[int, ...], width: int, height: int
) -> list[Instance]:
    """The objects' pixels, each in one part; of two neighbours the better one owns their border."""
    owner = np.zeros((height, width), np.int16)
    whole = Box(0, 0, width, height)
    for number in range(len(candidates), 0, -1):
        candidate = candidates[number - 1]
        logits = np.full(shape, -CERTAIN, np.float32)
        logits[candidate.patch.slices] = np.where(
            candidate.inside, candidate.patch.logits, np.minimum(candidate.patch.logits, -FAINT)
        )
        rows, columns = candidate.patch.slices
        box = Box(
            math.floor(columns.start * width / shape[1]),
            math.floor(rows.start * height / shape[0]),
            math.ceil(columns.stop * width / shape[1]),
            math.ceil(rows.stop * height / shape[0]),
        )
        grid = LogitGrid(logits, whole).smoothed(candidate.patch.slices)
        owner[box.slices][grid.positive(box)] = number
    instances = []
    for number, box in enumerate(ndimage.find_objects(owner, len(candidates)), 1):
        if box is not None:
            pixels = _largest_part(owner[box] == number)
            # What it surrounds of another object is no hole.
            pixels |= merging.pinholes(pixels, np.zeros_like(pixels)) & (owner[box] == 0)
            held = mask_box(pixels)
            assert held is not None  # a part at least
            rows, columns = box
            place = held.moved(columns.start, rows.start)
            confident = candidates[number - 1].confidence
            instances.append(Instance(width, height, place, pixels[held.slices], confident))
    return instances


def crowded(answer: Logits, objects: Sequence[Instance], part: Box) -> bool:
    """Whether a part of a picture shows so many small objects that it is searched in tiles.

    answer: the phrase's logits over the part. objects: those found in it. Of a crowd many are not
    found, so the separate pieces of the answer are counted.
    """
    pieces = int(ndimage.label(answer > 0)[1])
    if not objects:
        return pieces >= UNSEEN_CROWD
    lengths = [max(instance.box.width, instance.box.height) for instance in objects]
    small = float(np.median(lengths)) <= CROWD_LENGTH * max(part.width, part.height)
    return small and pieces >= CROWD


def distinct(objects: Sequence[Instance], limits: Limits = LIMITS) -> list[Instance]:
    """The objects without those that earlier ones contain; no pixel is in two of them."""
    kept: list[Instance] = []
    for instance in objects:
        shared = [(other, instance.common(other)) for other in kept]
        if any(
            common > limits.contained * min(instance.area, other.area) for other, common in shared
        ):
            continue
        for other, common in shared:
            if common:
                instance = instance.without(other)
        kept.append(instance)
    return kept


def each_once(
    found: Iterable[T], confidence: Callable[[T], float], iou: Callable[[T, T], float]
) -> list[T]:
    """What was found by several names or versions, each object once: the most confident of those
    that agree. The most confident object comes first."""
    kept: list[T] = []
    for one in sorted(found, key=confidence, reverse=True):
        if all(iou(one, other) <= LIMITS.same for other in kept):
            kept.append(one)
    return kept


def _largest_part(mask: Cells) -> Cells:
    """The largest connected part of a mask that has one."""
    labels, _ = ndimage.label(mask, merging.TOUCHING)
    sizes = np.bincount(labels.ravel())
    part: Cells = labels == 1 + sizes[1:].argmax()
    return part


def _depths(cells: Cells) -> NDArray[np.float64]:
    """h,w: the distance of each cell to the nearest one outside, which the grid's border is."""
    depths: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(cells, 1))[1:-1, 1:-1]
    return depths


def _deepest(cells: Cells) -> Cell:
    """The cell that is farthest from any outside."""
    row, column = divmod(int(_depths(cells).argmax()), cells.shape[1])
    return row, column


def _cleaned(patch: Patch, cell: Cell) -> Cells:
    """The part of a patch's mask that was clicked, without pinholes."""
    clicked = np.zeros(patch.logits.shape, np.bool_)
    clicked[cell[0] - patch.corner[0], cell[1] - patch.corner[1]] = True
    inside = merging.part_at(patch.logits > 0, clicked)
    return inside | merging.pinholes(inside, np.zeros_like(inside))


def _on_grid(candidates: Sequence[Candidate], shape: tuple[int, ...]) -> Cells:
    """N,h,w bool over the whole picture."""
    cells = np.zeros((len(candidates), *shape), np.bool_)
    for place, candidate in zip(cells, candidates, strict=True):
        place[candidate.patch.slices] = candidate.inside
    return cells
