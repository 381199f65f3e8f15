"""The common record of a picture and its objects, and whether it trains or is held out.

Training and evaluation see only `Sample`, so a new format needs one new reader and nothing else.
`side` decides by a hash of the picture, so two tasks with the same picture are on the same side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from training.prompts.vocabulary import concept_of

Item = TypeVar("Item")
VOID = -1
"""Id in the instance map of ignored pixels, such as undecided borders."""


@dataclass(frozen=True)
class SampleObject:
    """One annotated object. semantic: the region may contain several objects of its category.

    clicks: (x, y, positive) in pixels of the picture, with which a person made it, oldest first.
    box: drawn around it by a person, (x1, y1, x2, y2) in pixels. traits: words known to be true of
    its surface ("striped"); empty means unknown.
    """

    id: int
    category: str | None
    semantic: bool = False
    phrases: tuple[str, ...] = ()
    clicks: tuple[tuple[float, float, bool], ...] = ()
    traits: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None

    @property
    def concept(self) -> str | None:
        """Its category under the common name (`concept_of`)."""
        return concept_of(self.category) if self.category else None


@dataclass(frozen=True)
class Expression:
    """A written phrase and the ids it denotes: several objects, or none.

    Phrases for exactly one object are in `SampleObject.phrases`.
    """

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """One picture: H,W,3 uint8, its H,W int16 instance map (0 background, `VOID`), its objects.

    Where objects overlap, the map shows the smallest, since a click there most likely means it.
    ``masks`` keeps the full H,W bool mask of each object that is partly covered in the map.
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
        """H,W bool: the ignored pixels."""
        undecided: NDArray[np.bool_] = self.instances == VOID
        return undecided


class Dataset(Protocol):
    """Random access to samples, and what a sampler needs to know without reading pictures.

    An unreadable picture raises DataError with its name; see `training.data.wrappers.Tolerant`.
    """

    @property
    def sources(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def size(self, index: int) -> tuple[int, int]:
        """Width and height."""
        ...

    def objects(self, index: int) -> tuple[SampleObject, ...]: ...

    def expressions(self, index: int) -> tuple[Expression, ...]: ...


@dataclass(frozen=True, slots=True)
class Record:
    """What a reader knows of a picture without decoding it. size: width and height in pixels."""

    key: str
    size: tuple[int, int]
    objects: tuple[SampleObject, ...]
    expressions: tuple[Expression, ...] = ()


AnyRecord = TypeVar("AnyRecord", bound=Record)


class RecordDataset(Generic[AnyRecord]):
    """Base of data sets of one source with one record per picture.

    skipped: the number of things left out on opening.
    """

    def __init__(self, source: str, records: Sequence[AnyRecord], skipped: int = 0) -> None:
        self.source = source
        self.skipped = skipped
        self._records = list(records)

    @property
    def sources(self) -> list[str]:
        return [self.source] * len(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Sample:
        raise NotImplementedError

    def size(self, index: int) -> tuple[int, int]:
        return self._records[index].size

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return self._records[index].objects

    def expressions(self, index: int) -> tuple[Expression, ...]:
        return self._records[index].expressions


def pick(among: Sequence[Item], rng: np.random.Generator) -> Item:
    """One of these at random."""
    return among[int(rng.integers(len(among)))]


Side = Literal["train", "validation"]

_HELD_OUT = 0.2
# The gate needs this many pictures. If the hash holds out fewer, a part of the others is held out
# as well: without it a project could not be measured before some thirty pictures.
_FEWEST_HELD_OUT = 6
_MOST_SET_ASIDE = 1 / 3


def side(digest: str) -> Side:
    """The side of a picture, by the hash of its content (hex): a fifth is held out."""
    return "validation" if int(digest[:8], 16) < _HELD_OUT * 2**32 else "train"


def sides(digests: Sequence[str]) -> dict[Side, list[int]]:
    """The positions of the pictures on each side, with the rule for few held-out ones.

    The same picture, as of two tasks, is always on one side.
    """
    held_out = {digest for digest in digests if side(digest) == "validation"}
    train = sorted(set(digests) - held_out)
    lacking = min(max(0, _FEWEST_HELD_OUT - len(held_out)), int(len(train) * _MOST_SET_ASIDE))
    held_out.update(train[:lacking])
    return {
        "train": [n for n, digest in enumerate(digests) if digest not in held_out],
        "validation": [n for n, digest in enumerate(digests) if digest in held_out],
    }
