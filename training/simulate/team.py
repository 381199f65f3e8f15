"""The simulated team: which pictures it has, what it calls an object, and how it labels one.

It labels what the data set annotates, whole: where a source takes a dressed person apart, the team
means the person. That is what makes it a team of its own, since the shipped model learned on such
pictures that a click means the garment. It labels as an annotator would, with the model of the
day: the clicks that it needed are the people's clicks of the next training.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.data import VOID, Dataset, Expression, Sample, SampleObject
from training.evaluation.methods import Checkpoint
from training.evaluation.protocol import Course, Target, follow
from training.prompts.sources import DISSECTED
from training.prompts.vocabulary import CARRIED, WORN

GOAL = 0.85
PERSON = "person"
# The id that a person gets who was taken apart; parts are numbered from 1 on.
WHOLE = 1000
# Smaller objects are not labeled: a team asks for what can be seen.
SMALLEST = 0.004


@dataclass(frozen=True)
class WholePersons:
    """A data set in which nobody is taken apart. What a person carries may belong or not: void."""

    dataset: Dataset

    @property
    def sources(self) -> Sequence[str]:
        return self.dataset.sources

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        if sample.source not in DISSECTED:
            return sample
        worn, carried = _parts(sample.objects)
        instances = sample.instances.copy()
        instances[np.isin(instances, worn)] = WHOLE
        instances[np.isin(instances, carried)] = VOID
        return dataclasses.replace(sample, instances=instances, objects=self.objects(index))

    def size(self, index: int) -> tuple[int, int]:
        return self.dataset.size(index)

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        found = self.dataset.objects(index)
        if self.sources[index] not in DISSECTED:
            return found
        worn, _ = _parts(found)
        return (SampleObject(WHOLE, PERSON),) if worn else ()

    def expressions(self, index: int) -> tuple[Expression, ...]:
        return self.dataset.expressions(index)


@dataclass
class Labeled:
    """What the team has labeled so far, as a data set. Everything else in a picture is not there.

    clicks: of each picture's index and object's id, by which it was made.
    """

    dataset: Dataset
    clicks: dict[int, dict[int, tuple[tuple[float, float, bool], ...]]] = field(
        default_factory=dict
    )

    @property
    def indices(self) -> tuple[int, ...]:
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
            dataclasses.replace(each, clicks=made[each.id])
            for each in self.dataset.objects(self.indices[place])
            if each.id in made
        )

    def expressions(self, place: int) -> tuple[Expression, ...]:
        return ()

    def count(self) -> int:
        """Labels given."""
        return sum(len(made) for made in self.clicks.values())


@dataclass(frozen=True)
class Split:
    """Indices of the pictures to choose from and of those to test on: no picture is in both.

    tested: one object (index, id) of each picture to test on.
    """

    pool: tuple[int, ...]
    tested: tuple[tuple[int, int], ...]


def split(
    dataset: Dataset,
    seed: int,
    *,
    per_source: int,
    tests: int,
    mixture: Mapping[str, int] | None = None,
) -> Split:
    """At most ``per_source`` pictures of each source, divided by chance.

    mixture: of these sources alone, and so many of each at most.
    """
    rng = np.random.default_rng([seed, 1])
    left: Counter[str] = Counter()
    usable = []
    for index in (int(i) for i in rng.permutation(len(dataset))):
        source = dataset.sources[index]
        most = mixture.get(source, 0) if mixture else per_source
        if left[source] < most and things(dataset, index):
            left[source] += 1
            usable.append(index)
    tested = []
    for index in sorted(usable[:tests]):
        ids = [each.id for each in things(dataset, index)]
        tested.append((index, ids[int(rng.integers(len(ids)))]))
    return Split(tuple(sorted(usable[tests:])), tuple(tested))


def things(dataset: Dataset, index: int) -> list[SampleObject]:
    """What a team would label in a picture."""
    return [each for each in dataset.objects(index) if not each.semantic and each.category]


def label(
    dataset: Dataset, index: int, model: Checkpoint, *, most_objects: int, most_clicks: int
) -> dict[int, tuple[tuple[float, float, bool], ...]]:
    """Label the largest objects of a picture with a model's help: the clicks of each."""
    sample = dataset[index]
    areas: Mapping[int, int] = {
        each.id: int(sample.mask(each.id).sum()) for each in things(dataset, index)
    }
    large = sorted(areas, key=lambda i: (-areas[i], i))[:most_objects]
    # The largest is labeled even where it is small, so that no picture was chosen for nothing.
    seen = [i for i in large if areas[i] >= SMALLEST * sample.instances.size] or large[:1]
    return {i: tried(sample, i, model, index, most_clicks).clicks for i in seen}


def tried(sample: Sample, about: int, model: Checkpoint, index: int, most: int) -> Course:
    """Click on an object until it is good enough, at most so often."""
    target = Target(sample.mask(about), sample.void, "")
    answer = model.look_at(sample, f"{sample.source}:{sample.key}:{index}")
    return follow(answer, target, "clicks", goal=GOAL, at_least=1, most=most)


def names_of(dataset: Dataset, pool: Sequence[int], most: int) -> list[str]:
    """The labels of the team's project, the most frequent first."""
    counted = Counter(
        each.category for index in pool for each in things(dataset, index) if each.category
    )
    return [name for name, _ in counted.most_common(most)]


def _parts(objects: Sequence[SampleObject]) -> tuple[list[int], list[int]]:
    """Ids of what one is made of or wears, and of what one carries."""
    worn = [each.id for each in objects if each.category in WORN - CARRIED]
    return worn, [each.id for each in objects if each.category in CARRIED]
