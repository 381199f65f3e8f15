"""A simulated team: the pictures that it labels, those that it is tested on, and how it labels.

Pictures are ordered by a hash of their names and the seed. The first half may be labeled; the team
is tested on pictures of the other half. So a picture that is tested was never labeled, and more
labels never change what is tested.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from training.data import Dataset, Expression, Sample, SampleObject, Tolerant
from training.errors import DataError
from training.evaluation.interactions import GOAL, annotatable
from training.evaluation.measurement import Served
from training.evaluation.protocol import Target, follow

LEAST_TESTED = 40
"""With fewer tested objects the figures would say little."""

# Objects tested, on at least as many pictures as there are, up to this many. *choice*
TESTED = 60
TESTED_PICTURES = 30

# Of a labeled picture: objects whose clicks are simulated, and the most clicks on each. The others
# count as accepted without a click. *choice*
CLICKED = 3
MOST_CLICKS = 8

Clicks = tuple[tuple[float, float, bool], ...]


@dataclass(frozen=True)
class TestedObjects:
    """The objects of one picture that are tested: index of the picture, ids in it."""

    index: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Split:
    """pool: indices of the pictures that may be labeled, in the order of their hash."""

    pool: tuple[int, ...]
    tested: tuple[TestedObjects, ...]

    @property
    def objects(self) -> int:
        """Number of tested objects."""
        return sum(len(picture.ids) for picture in self.tested)


def split(dataset: Dataset, seed: int) -> Split:
    """Divide the pictures. Raises DataError if fewer than `LEAST_TESTED` objects can be tested."""
    samples = Tolerant(dataset)
    keys: dict[int, str] = {}
    objects: dict[int, list[int]] = {}
    for index in range(len(dataset)):
        sample = samples.get(index)
        if sample is not None and (here := annotatable(sample)):
            keys[index] = sample.key
            objects[index] = [about.id for about in here]
    order = sorted(keys, key=lambda index: (_digest(f"{seed}:{keys[index]}"), index))
    half = len(order) // 2
    tested = _tested(order[half:], objects, seed)
    parts = Split(tuple(order[:half]), tested)
    if parts.objects < LEAST_TESTED:
        raise DataError(
            f"Only {parts.objects} objects can be tested, on the {len(order) - half} pictures that "
            f"are not labeled; at least {LEAST_TESTED} are needed."
        )
    return parts


@dataclass
class Labeled:
    """What the team has labeled, as a data set. clicks: by picture's index and object's id; an
    object without clicks was accepted as suggested."""

    dataset: Dataset
    clicks: dict[int, dict[int, Clicks]] = field(default_factory=dict)

    @property
    def indices(self) -> tuple[int, ...]:
        """The labeled pictures in the order in which they were labeled."""
        return tuple(self.clicks)

    @property
    def sources(self) -> Sequence[str]:
        return [self.dataset.sources[index] for index in self.clicks]

    def __len__(self) -> int:
        return len(self.clicks)

    def __getitem__(self, place: int) -> Sample:
        sample = self.dataset[self.indices[place]]
        return dataclasses.replace(sample, objects=self.objects(place))

    def size(self, place: int) -> tuple[int, int]:
        return self.dataset.size(self.indices[place])

    def objects(self, place: int) -> tuple[SampleObject, ...]:
        made = self.clicks[self.indices[place]]
        return tuple(
            dataclasses.replace(about, clicks=made.get(about.id, ()))
            for about in self.dataset.objects(self.indices[place])
        )

    def expressions(self, place: int) -> tuple[Expression, ...]:
        return ()

    def count(self) -> int:
        """Labeled objects."""
        return sum(len(self.objects(place)) for place in range(len(self)))


def label(dataset: Dataset, index: int, served: Served) -> dict[int, Clicks]:
    """Label a picture with a model's help: the clicks on its largest objects."""
    sample = dataset[index]
    areas = {about.id: int(sample.mask(about.id).sum()) for about in annotatable(sample)}
    large = sorted(areas, key=lambda number: (-areas[number], number))[:CLICKED]
    labels = {about.id: about.category or "" for about in sample.objects}
    clicks_of = {}
    for number in large:
        target = Target(sample.mask(number), sample.void, "")
        answer = served.answer(sample, key_of(sample, index), labels[number])
        trajectory = follow(answer, target, "clicks", goal=GOAL, at_least=1, most=MOST_CLICKS)
        clicks_of[number] = trajectory.clicks
    return clicks_of


def name_of(sample: Sample) -> str:
    """A hash (hex) that decides whether the picture trains or is held out (`data.side`)."""
    return _digest(sample.key)


def key_of(sample: Sample, index: int) -> str:
    """Names a picture's content to the predictor's cache."""
    return f"{sample.source}:{sample.key}:{index}"


def _tested(
    order: Sequence[int], objects: Mapping[int, Sequence[int]], seed: int
) -> tuple[TestedObjects, ...]:
    """As few objects of each picture as reach `TESTED` together, drawn by the seed."""
    chosen = list(order[:TESTED_PICTURES])
    for index in order[TESTED_PICTURES:]:
        if sum(min(2, len(objects[index])) for index in chosen) >= TESTED:
            break
        chosen.append(index)
    most = max((len(objects[index]) for index in chosen), default=0)
    a_picture = next(
        (n for n in range(1, most) if sum(min(n, len(objects[i])) for i in chosen) >= TESTED), most
    )
    tested = []
    for index in sorted(chosen):
        drawn = np.random.default_rng([seed, index]).permutation(objects[index])[:a_picture]
        tested.append(TestedObjects(index, tuple(sorted(int(number) for number in drawn))))
    return tuple(tested)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
