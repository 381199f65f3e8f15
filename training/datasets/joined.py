"""Several data sets as one, and parts of one: what a recipe or an evaluation puts together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from training.datasets.sample import Dataset, Expression, Sample, SampleObject


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

    def _find(self, index: int) -> tuple[Dataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"Sample {index} of {len(self)}")
        place = bisect_right(self._ends, index)
        return self.parts[place], index - (self._ends[place - 1] if place else 0)
