"""Several data sets as one, and one with pictures left out or under another name of its source."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate

from training.data.sample import Dataset, Expression, Sample, SampleObject


class Joined:
    """Data sets one after the other."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = tuple(parts)
        self._ends = list(accumulate(len(part) for part in parts))
        self._sources = [source for part in parts for source in part.sources]

    @property
    def sources(self) -> list[str]:
        return self._sources

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> Sample:
        part, inner = self._find(index)
        return part[inner]

    def size(self, index: int) -> tuple[int, int]:
        part, inner = self._find(index)
        return part.size(inner)

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        part, inner = self._find(index)
        return part.objects(inner)

    def expressions(self, index: int) -> tuple[Expression, ...]:
        part, inner = self._find(index)
        return part.expressions(inner)

    def origin(self, index: int) -> tuple[Dataset, int]:
        """The part that holds this picture, and the picture's index there."""
        return self._find(index)

    def _find(self, index: int) -> tuple[Dataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"Sample {index} of {len(self)}")
        place = bisect_right(self._ends, index)
        return self.parts[place], index - (self._ends[place - 1] if place else 0)


class Without:
    """A data set without the pictures of these indices, such as those that a test set holds."""

    def __init__(self, dataset: Dataset, indices: Collection[int]) -> None:
        left_out = set(indices)
        self.dataset = dataset
        self._kept = [index for index in range(len(dataset)) if index not in left_out]
        self._sources = [source for i, source in enumerate(dataset.sources) if i not in left_out]

    @property
    def sources(self) -> list[str]:
        return self._sources

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self._kept[index]]

    def size(self, index: int) -> tuple[int, int]:
        return self.dataset.size(self._kept[index])

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return self.dataset.objects(self._kept[index])

    def expressions(self, index: int) -> tuple[Expression, ...]:
        return self.dataset.expressions(self._kept[index])

    def origin(self, index: int) -> tuple[Dataset, int]:
        """The whole data set, and the picture's index there."""
        return self.dataset, self._kept[index]


class Renamed:
    """A data set whose pictures all count as one source: recipes weigh and reports group by it."""

    def __init__(self, dataset: Dataset, source: str) -> None:
        self.dataset = dataset
        self._sources = [source] * len(dataset)

    @property
    def sources(self) -> list[str]:
        return self._sources

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> Sample:
        return dataclasses.replace(self.dataset[index], source=self._sources[index])

    def size(self, index: int) -> tuple[int, int]:
        return self.dataset.size(index)

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return self.dataset.objects(index)

    def expressions(self, index: int) -> tuple[Expression, ...]:
        return self.dataset.expressions(index)

    def origin(self, index: int) -> tuple[Dataset, int]:
        """The data set under its first name, and the picture's index there."""
        return self.dataset, index
