"""Interactions per accepted object: what a picture costs an annotator who starts from suggestions.

The picture comes with the regions of the pre-annotation. The simulated annotator

- keeps a region that matches an object at an IoU of 85 % or more: no interaction;
- refines one that matches from 50 % on, by the protocol's clicks (`protocol.follow`);
- clicks an object that no region matches from an empty canvas;
- deletes a region that matches nothing: one interaction;
- gives a kept or refined region the object's label where it has another: one interaction. *choice*

Regions and objects are matched one to one, by IoU. NoC, which counts clicks on an empty canvas, is
the special case without suggestions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from model.crop import mask_box
from training.data import Dataset, Sample, SampleObject
from training.errors import DataError
from training.evaluation.cases import FEWEST_PIXELS, key_of
from training.evaluation.measurement import Region, Served
from training.evaluation.protocol import GOAL, MOST, Mask, Target, follow, overlap
from training.evaluation.statistics import estimate

REFINABLE = 0.5
"""IoU from which a region is refined instead of deleted."""

# The right label decides between two regions that match an object almost equally well.
_LABEL_BONUS = 0.01


@dataclass(frozen=True)
class PictureCost:
    """One picture. objects: interactions of each annotated object, by its id; present: number of
    all objects. regions: suggested ones; deletions: of them, those that match no object.
    """

    index: int
    key: str
    objects: Mapping[int, int]
    present: int
    regions: int
    deletions: int

    @property
    def per_object(self) -> tuple[float, ...]:
        """Interactions of each annotated object, with its share of the picture's deletions."""
        share = self.deletions / self.present
        return tuple(count + share for count in self.objects.values())


def summary(costs: Sequence[PictureCost]) -> dict[str, Any]:
    """Interactions per accepted object, and the share of objects that took none, as in reports.

    Means with 95 % intervals, resampled by picture. An object's figure includes its share of the
    picture's deletions; "zero_share" does not. Raises DataError without an object.
    """
    groups = [cost.index for cost in costs for _ in cost.objects]
    if not groups:
        raise DataError("There is no object to annotate: check the data.")
    values = [value for cost in costs for value in cost.per_object]
    zero = [float(count == 0) for picture in costs for count in picture.objects.values()]
    return {
        "interactions": asdict(estimate(values, groups, few=True)),
        "zero_share": asdict(estimate(zero, groups, few=True)),
        "objects": len(groups),
        "pictures": len(set(groups)),
    }


def annotate(
    model: Served,
    sample: Sample,
    index: int,
    labels: Sequence[str],
    *,
    ids: Collection[int] | None = None,
    most_clicks: int = MOST,
    from_nothing: Mapping[int, int] | None = None,
) -> PictureCost:
    """Annotate one picture, starting from the model's regions.

    ids: the objects to annotate, by default all; matching always regards all. from_nothing: by
    object, the clicks that it takes on an empty canvas, as far as they are known already.
    """
    key = key_of(sample, index)
    wanted = annotatable(sample)
    regions = [region for region in model.suggest(sample, key, labels) if region.mask.any()]
    wanted_masks = [sample.mask(about.id) for about in wanted]
    names = [about.category or "" for about in wanted]
    matches = _matches(regions, wanted_masks, names, sample.void)
    matched = {region for region, _ in matches.values()}
    # A region is no error where the annotation says nothing about single objects: in void, in a
    # region of several objects, or on a speck.
    others = [about.id for about in sample.objects if about not in wanted]
    undecided = sample.void | sample.mask(*others) if others else sample.void
    deletions = sum(
        number not in matched and bool(undecided[region.mask].mean() <= 0.5)
        for number, region in enumerate(regions)
    )
    counts: dict[int, int] = {}
    for place, about in enumerate(wanted):
        if ids is not None and about.id not in ids:
            continue
        region, iou = matches.get(place, (-1, 0.0))
        if iou >= GOAL:
            count = 0
        elif region < 0 and from_nothing is not None and about.id in from_nothing:
            count = from_nothing[about.id]
        else:
            trajectory = follow(
                model.look_at(sample, key, names[place]),
                Target(wanted_masks[place], sample.void, ""),
                "clicks",
                goal=GOAL,
                at_least=1,
                most=most_clicks,
                start=None if region < 0 else regions[region].mask,
            )
            count = min(trajectory.needed(GOAL), most_clicks)
        # A click on a region that is there does not change its label.
        if region >= 0 and regions[region].label != names[place]:
            count += 1
        counts[about.id] = count
    return PictureCost(index, sample.key, counts, len(wanted), len(regions), deletions)


def annotatable(sample: Sample) -> list[SampleObject]:
    """The objects that are one thing and large enough to measure (`FEWEST_PIXELS`)."""
    return [
        about
        for about in sample.objects
        if not about.semantic
        and np.count_nonzero(sample.mask(about.id) & ~sample.void) >= FEWEST_PIXELS
    ]


def labels_in(dataset: Dataset) -> list[str]:
    """The labels of all objects, the most frequent first."""
    things = [about for index in range(len(dataset)) for about in dataset.objects(index)]
    counts = Counter(about.category for about in things if about.category)
    return sorted(counts, key=lambda name: (-counts[name], name))


def _matches(
    regions: Sequence[Region], wanted: Sequence[Mask], names: Sequence[str], void: Mask
) -> dict[int, tuple[int, float]]:
    """For each object that has one: its region and their IoU, `REFINABLE` or more."""
    if not regions or not wanted:
        return {}
    boxes = [mask_box(mask) for mask in wanted]
    ious = np.zeros((len(regions), len(wanted)))
    for row, region in enumerate(regions):
        own = mask_box(region.mask)
        for column, (mask, box) in enumerate(zip(wanted, boxes, strict=True)):
            # Most pairs lie apart, which their bounding boxes show without a look at their pixels.
            if own is not None and box is not None and own.intersection(box) is not None:
                ious[row, column] = overlap(region.mask, mask, void)
    same = np.array([[region.label == name for name in names] for region in regions])
    gain = np.where(ious >= REFINABLE, ious + _LABEL_BONUS * same, 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return {
        int(column): (int(row), float(ious[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if ious[row, column] >= REFINABLE
    }
