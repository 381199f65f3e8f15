"""The one shape in which every data set hands over a picture and its objects.

Readers differ in files and formats; what trains and what measures sees only `Sample`, so a new
format is one new reader and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

VOID = -1
"""Id in the instance map of pixels that neither train nor count (undecided borders)."""


@dataclass(frozen=True)
class SampleObject:
    """One annotated object. ``semantic``: the region may hold several objects of its category.

    clicks: those by which people really made it, oldest first: (x, y, positive) in pixels of the
    picture. box: the one that somebody drew around it, (x1, y1, x2, y2) in pixels. traits: words
    that are known to be true of how it looks ("striped"), where the data set knows; none says
    nothing.
    """

    id: int
    category: str | None
    semantic: bool = False
    phrases: tuple[str, ...] = ()
    clicks: tuple[tuple[float, float, bool], ...] = ()
    traits: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Expression:
    """What people said of a picture, and the ids it denotes: several, or none that is there.

    Words for exactly one object stand with the object (`SampleObject.phrases`).
    """

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """One picture: H,W,3 uint8, its H,W int16 instance map (0 background, `VOID`), its objects.

    Where objects overlap, the map shows the smallest on top, since a click there most likely means
    it and the map can hold one id a pixel. ``masks`` keeps the whole H,W bool mask of each object
    that is covered in the map, so that what is learned and measured is what was annotated.
    """

    key: str
    source: str
    image: NDArray[np.uint8]
    instances: NDArray[np.int16]
    objects: tuple[SampleObject, ...]
    expressions: tuple[Expression, ...] = ()
    masks: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)

    def mask(self, *ids: int) -> NDArray[np.bool_]:
        """H,W bool: the union of the objects with these ids."""
        union: NDArray[np.bool_] = (
            self.instances == ids[0] if len(ids) == 1 else np.isin(self.instances, ids)
        )
        for number in ids:
            if number in self.masks:
                union |= self.masks[number]
        return union

    @property
    def void(self) -> NDArray[np.bool_]:
        """H,W bool: where the annotation says nothing."""
        undecided: NDArray[np.bool_] = self.instances == VOID
        return undecided


class Dataset(Protocol):
    """Random access to samples, and what a sampler must know of them without reading pictures.

    A picture that cannot be read raises DataError with its name: see `training.data.wrappers`.
    """

    @property
    def sources(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of the picture, without decoding it."""
        ...

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        """The annotated objects, without decoding the picture."""
        ...

    def expressions(self, index: int) -> tuple[Expression, ...]:
        """What people said of several objects or of none, without decoding the picture."""
        ...
