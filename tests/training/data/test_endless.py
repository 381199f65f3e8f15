"""Data sets that make their pictures are found under joining, and give them at any size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.data import Joined, Without
from training.data.endless import categories_by_source, endless, whole_view
from training.data.joined import Renamed
from training.data.sample import Expression, Sample, SampleObject


class Read:
    """Two pictures of dogs that are read."""

    sources: Sequence[str] = ("voc", "voc")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        image, instances = np.zeros((8, 9, 3), np.uint8), np.zeros((8, 9), np.int16)
        return Sample(f"{index}", self.sources[index], image, instances, self.objects(index))

    def size(self, index: int) -> tuple[int, int]:
        return 9, 8

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return (SampleObject(1, "dog"), SampleObject(2, None))

    def expressions(self, index: int) -> tuple[Expression, ...]:
        return ()


class Made(Read):
    """Pictures that are made."""

    sources = ("made", "made")
    categories = ("ring", "dot")

    def made(self, number: int, height: int, width: int) -> Sample:
        image, instances = (
            np.zeros((height, width, 3), np.uint8),
            np.ones((height, width), np.int16),
        )
        return Sample(f"{number}", "made", image, instances, (SampleObject(1, "ring"),))


def test_the_maker_is_found_under_whatever_data_sets_are_joined_to() -> None:
    made = Made()
    dataset = Without(Joined([Read(), Renamed(made, "synthetic")]), [0])

    assert [endless(dataset, index) for index in range(len(dataset))] == [None, made, made]


def test_all_that_may_be_made_counts_as_a_category_of_its_source() -> None:
    dataset = Joined([Read(), Renamed(Made(), "synthetic")])

    assert categories_by_source(dataset) == {"voc": {"dog"}, "synthetic": {"ring", "dot"}}


def test_a_picture_made_at_the_size_of_its_view_is_shown_as_it_is() -> None:
    sample = Made().made(3, 32, 64)
    view = whole_view(sample)

    assert view.image is sample.image
    assert view.soft_mask((1,)).shape == (32, 64)
    assert view.place(10.5, 3.5) == (10.5, 3.5)
