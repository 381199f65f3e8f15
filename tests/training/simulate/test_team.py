"""The pictures of a simulated team: what may be labeled, what is tested, and what a label holds."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import draw, members, write_shard
from training.data import PackDataset
from training.errors import DataError
from training.simulate.team import LEAST_TESTED, TESTED, Labeled, split


def test_at_most_half_may_be_labeled_and_others_are_tested(team: Path) -> None:
    # given / when
    dataset = PackDataset([team])
    parts = split(dataset, 1)
    # then
    assert len(parts.pool) == len(dataset) // 2
    assert not set(parts.pool) & set(parts.tested)
    assert LEAST_TESTED <= sum(map(len, parts.tested.values())) <= TESTED
    # and it depends on the names and the seed alone
    assert parts == split(dataset, 1)
    assert parts != split(dataset, 2)


def test_records_of_one_picture_stay_together(tmp_path: Path) -> None:
    # given three records of each of thirty pictures, each with another object
    boxes = [(4, 4, 30, 30), (56, 8, 84, 36), (20, 44, 60, 76)]
    samples = []
    for number in range(30):
        shapes = [(n, box, (200, 7 * number, 20)) for n, box in enumerate(boxes, 1)]
        picture, instances = draw(shapes, 108, 80)
        for one in (1, 2, 3):
            masks = np.where(instances == one, one, 0).astype(np.uint8)
            samples.append((f"p{number}-{one}", members(picture, masks, [(one, "ring", False)])))
    dataset = PackDataset([write_shard(tmp_path / "made.tar", samples)])
    # when
    parts = split(dataset, 1)
    labeled = Labeled(dataset)
    for index in parts.pool:
        labeled.add(index, {})
    train, held_out = labeled.sides()
    # then no picture is labeled and tested, or trains and is held out
    assert 40 <= len(parts.pool) <= 45
    assert not {index // 3 for index in parts.pool} & {index // 3 for index in parts.tested}
    learned, judged = ({one.key.split("-")[0] for one in part} for part in (train, held_out))
    assert min(len(learned), len(judged)) > 0
    assert not learned & judged


def test_too_few_objects_are_an_error(shard: Path) -> None:
    with pytest.raises(DataError, match="Only 9 objects can be tested, on the 3 pictures"):
        split(PackDataset([shard]), 1)


def test_specks_and_regions_of_several_objects_are_not_tested(tmp_path: Path) -> None:
    # given pictures with a speck and a crowd
    shapes = [(1, (10, 10, 60, 60), (215, 25, 25)), (2, (90, 20, 94, 24), (0, 0, 0))]
    shapes.append((3, (80, 60, 140, 110), (30, 170, 40)))
    named = [(1, "dog", False), (2, "dog", False), (3, "cat", True)]
    samples = [(f"p{n}", members(*draw(shapes, 160, 120), named)) for n in range(80)]
    # when
    parts = split(PackDataset([write_shard(tmp_path / "made.tar", samples)]), 1)
    # then
    assert set().union(*parts.tested.values()) == {1}


def test_an_object_without_clicks_is_labeled_too(shard: Path) -> None:
    # given a picture of which one of three objects was clicked
    labeled = Labeled(PackDataset([shard]))
    labeled.add(4, {2: ((120.0, 40.0, True),)})
    # when / then
    assert [(about.id, about.clicks) for about in labeled.objects(0)] == [
        (1, ()),
        (2, ((120.0, 40.0, True),)),
        (3, ()),
    ]
    assert labeled[0].objects == labeled.objects(0)
    assert (labeled[0].key, len(labeled), labeled.count()) == ("picture-4", 1, 3)
