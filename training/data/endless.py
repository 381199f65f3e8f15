"""Data sets that make their pictures: any number of them, at the size that a step needs.

Such a data set has a length like any other, so that it can be joined, measured and used for
validation: the first pictures of its sequence. Training asks for all the others through `Endless`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from training.data.joined import Joined, Renamed, Without
from training.data.sample import Dataset, Sample
from training.data.transforms import View


@runtime_checkable
class Endless(Dataset, Protocol):
    """A data set that makes picture after picture, each determined by its number."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Every category that may occur."""
        ...

    def made(self, number: int, height: int, width: int) -> Sample:
        """The picture of this number, from 0 to 2**63, with H,W pixels."""
        ...


def endless(dataset: Dataset, index: int) -> Endless | None:
    """The data set that makes pictures like the one of this index; None where it is read."""
    while isinstance(dataset, Joined | Without | Renamed):
        dataset, index = dataset.origin(index)
    return dataset if isinstance(dataset, Endless) else None


def whole_view(sample: Sample) -> View:
    """A picture that was made at the size of its view, as it is."""
    height, width = sample.instances.shape
    box = (0.0, 0.0, float(width), float(height))
    return View(sample, sample.image, sample.instances, box, mirrored=False, kind="whole")


def categories_by_source(dataset: Dataset) -> dict[str, set[str]]:
    """Every category that each source shows; of endless ones, all that they may show."""
    categories: dict[str, set[str]] = {}
    for index, source in enumerate(dataset.sources):
        names = categories.setdefault(source, set())
        maker = endless(dataset, index)
        if maker is None:
            names.update(o.category for o in dataset.objects(index) if o.category is not None)
        else:
            names.update(maker.categories)
    return categories
