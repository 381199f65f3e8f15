"""The pictures of a simulated team: what may be labeled, what is tested, and what a label holds."""

from collections.abc import Callable
from pathlib import Path

import pytest

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


def test_too_few_objects_are_an_error(shard: Path) -> None:
    with pytest.raises(DataError, match="Only 9 objects can be tested, on the 3 pictures"):
        split(PackDataset([shard]), 1)


def test_specks_and_regions_of_several_objects_are_not_tested(
    make_shard: Callable[..., Path], make_members: Callable[..., dict[str, bytes]], drawn: Callable
) -> None:
    # given pictures with a speck and a crowd
    shapes = [(1, (10, 10, 60, 60), (215, 25, 25)), (2, (90, 20, 94, 24), (0, 0, 0))]
    shapes.append((3, (80, 60, 140, 110), (30, 170, 40)))
    named = [(1, "dog", False), (2, "dog", False), (3, "cat", True)]
    samples = [(f"p{n}", make_members(*drawn(shapes, 160, 120), named)) for n in range(80)]
    # when
    parts = split(PackDataset([make_shard(samples)]), 1)
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
