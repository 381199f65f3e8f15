"""A simulated annotator starts from suggested regions: what each object costs, and the means."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from training.data import PackDataset, Sample
from training.errors import DataError
from training.evaluation.interactions import annotate, labels_in, summary
from training.evaluation.measurement import Region
from training.evaluation.protocol import Answer, ClickPoint, Mask

LEFT, RIGHT, CAT = 1, 2, 3
LABELS = ["dog", "cat"]


@dataclass
class Model:
    """Suggests given regions. The nth click on a canvas is right if n reaches ``clicks``."""

    make: Callable[[Sample], Sequence[Region]]
    clicks: int = 3

    def suggest(self, sample: Sample, key: str, labels: Sequence[str]) -> Sequence[Region]:
        return self.make(sample)

    def look_at(self, sample: Sample, key: str, label: str = "") -> Answer:
        def answer(clicks: Sequence[ClickPoint], phrase: str, before: Mask | None) -> Mask:
            x, y, _ = clicks[0]
            if len(clicks) < self.clicks:
                return np.zeros(sample.instances.shape, bool) if before is None else before
            # A click beside an object means the one nearest to it.
            places = [(n, *np.argwhere(sample.mask(n)).mean(0)) for n in (LEFT, RIGHT, CAT)]
            nearest = min(places, key=lambda place: (place[1] - y) ** 2 + (place[2] - x) ** 2)
            return sample.mask(nearest[0])

        return answer


@pytest.fixture
def sample(shard: Path) -> Sample:
    return PackDataset([shard])[0]


def whole(sample: Sample, number: int, label: str) -> Region:
    return Region(sample.mask(number), label, 0.9)


def part(sample: Sample, number: int, label: str, share: float) -> Region:
    """The upper part of an object: its IoU is the share."""
    mask = sample.mask(number)
    cut = np.cumsum(mask.sum(1)) <= share * mask.sum()
    return Region(mask & cut[:, None], label, 0.9)


def test_each_object_costs_what_its_region_leaves_to_do(sample: Sample) -> None:
    # given a right region, one to refine, none for the cat, and one on the background
    background = np.zeros(sample.instances.shape, bool)
    background[70:110, 2:40] = True

    def make(sample: Sample) -> Sequence[Region]:
        return [
            whole(sample, LEFT, "dog"),
            part(sample, RIGHT, "dog", 0.7),
            Region(background, "cat", 0.8),
        ]

    # when
    cost = annotate(Model(make), sample, 0, LABELS)
    # then
    assert cost.objects == {LEFT: 0, RIGHT: 3, CAT: 3}
    assert (cost.regions, cost.deletions) == (3, 1)
    # and the deletion is shared by the picture's objects
    assert sum(cost.per_object) == pytest.approx(7)
    # and a report of it can be stored
    assert json.loads(json.dumps(asdict(cost)))["deletions"] == 1


def test_a_region_below_half_is_deleted_and_its_object_clicked(sample: Sample) -> None:
    cost = annotate(Model(lambda picture: [part(picture, CAT, "cat", 0.4)]), sample, 0, LABELS)
    assert cost.deletions == 1
    assert cost.objects[CAT] == 3


def test_a_wrong_label_costs_one_interaction(sample: Sample) -> None:
    cost = annotate(Model(lambda picture: [whole(picture, LEFT, "cat")]), sample, 0, LABELS)
    assert cost.objects[LEFT] == 1
    # but the right label is preferred, and the other one is deleted
    both = annotate(
        Model(lambda picture: [whole(picture, LEFT, "cat"), whole(picture, LEFT, "dog")]),
        sample,
        0,
        LABELS,
    )
    assert (both.objects[LEFT], both.deletions) == (0, 1)


def test_one_region_is_matched_with_one_object(sample: Sample) -> None:
    # given two regions on one object
    cost = annotate(
        Model(lambda picture: [whole(picture, LEFT, "dog"), part(picture, LEFT, "dog", 0.9)]),
        sample,
        0,
        LABELS,
    )
    # then the better one is kept
    assert (cost.objects[LEFT], cost.deletions) == (0, 1)


def test_without_suggestions_it_is_the_number_of_clicks(sample: Sample) -> None:
    cost = annotate(Model(lambda picture: [], clicks=2), sample, 0, LABELS)
    assert cost.per_object == (2.0, 2.0, 2.0)
    # and known numbers are not measured again
    known = annotate(Model(lambda picture: []), sample, 0, LABELS, from_nothing={LEFT: 1, RIGHT: 2})
    assert known.per_object == (1.0, 2.0, 3.0)  # the cat is clicked


def test_what_never_gets_good_enough_costs_the_most(sample: Sample) -> None:
    cost = annotate(Model(lambda picture: [], clicks=99), sample, 0, LABELS, most_clicks=5)
    assert cost.per_object == (5.0, 5.0, 5.0)


def test_regions_where_nothing_is_annotated_are_no_errors(sample: Sample) -> None:
    # given a region in the void, and one on a region of several objects
    crowd = replace(sample.objects[2], semantic=True)
    several = replace(sample, objects=(*sample.objects[:2], crowd))
    cost = annotate(
        Model(lambda picture: [Region(picture.void, "dog", 0.9), whole(picture, CAT, "cat")]),
        several,
        0,
        LABELS,
    )
    assert (cost.present, cost.deletions) == (2, 0)


def test_means_are_over_objects_and_resampled_by_picture(shard: Path) -> None:
    # given every dog on the left comes for nothing
    dataset = PackDataset([shard])
    assert labels_in(dataset) == LABELS
    model = Model(lambda picture: [whole(picture, LEFT, "dog")], clicks=2)
    # when
    costs = [annotate(model, dataset[index], index, LABELS) for index in range(len(dataset))]
    figures = summary(costs)
    # then
    assert (figures["objects"], figures["pictures"]) == (18, 6)
    assert figures["interactions"]["mean"] == pytest.approx(4 / 3)
    assert figures["zero_share"]["mean"] == pytest.approx(1 / 3)
    assert figures["interactions"]["n"] == 18


def test_one_object_is_measured_and_all_are_matched(sample: Sample) -> None:
    def make(sample: Sample) -> Sequence[Region]:
        return [whole(sample, LEFT, "dog"), whole(sample, RIGHT, "dog")]

    cost = annotate(Model(make), sample, 0, LABELS, ids=[RIGHT])
    assert cost.per_object == (0.0,)


def test_no_object_is_an_error() -> None:
    with pytest.raises(DataError, match="no object"):
        summary([])
