"""A simulated team: the pictures that it labels, how it labels them, and what it measures.

Pictures are ordered by a hash of their names and the seed. The first half may be labeled; the team
is tested on pictures of the other half. So a picture that is tested was never labeled, and more
labels never change what is tested. Records of the same picture have the name of the first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from training.data import Dataset, Expression, Sample, SampleObject, Tolerant, Without
from training.data.sample import sides
from training.data.wrappers import Derived
from training.errors import DataError
from training.evaluation.cases import ids_of_kind, key_of
from training.evaluation.figures import THRESHOLDS
from training.evaluation.interactions import annotatable, annotate
from training.evaluation.measurement import Served
from training.evaluation.protocol import GOAL, Target, follow, overlap
from training.evaluation.statistics import Estimate, estimate

COUNTS = (1, 3, 10)

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
class Split:
    """pool: indices of the pictures that may be labeled, in the order of their hash. tested: by
    picture's index, the ids of its objects that are tested."""

    pool: tuple[int, ...]
    tested: Mapping[int, tuple[int, ...]]


def split(dataset: Dataset, seed: int) -> Split:
    """Divide the pictures. Raises DataError if fewer than `LEAST_TESTED` objects can be tested."""
    samples = Tolerant(dataset)
    names: dict[str, str] = {}
    keys: dict[int, str] = {}
    objects: dict[int, list[int]] = {}
    for index in range(len(dataset)):
        sample = samples.get(index)
        if sample is not None and (here := annotatable(sample)):
            keys[index] = names.setdefault(_content(sample), sample.key)
            objects[index] = [about.id for about in here]
    order = sorted(keys, key=lambda index: (digest(f"{seed}:{keys[index]}"), index))
    half = len(order) // 2
    while half > 0 and keys[order[half - 1]] == keys[order[half]]:
        half -= 1
    tested = _tested(order[half:], objects, seed)
    count = sum(len(ids) for ids in tested.values())
    if count < LEAST_TESTED:
        raise DataError(
            f"Only {count} objects can be tested, on the {len(order) - half} pictures that "
            f"are not labeled; at least {LEAST_TESTED} are needed."
        )
    return Split(tuple(order[:half]), tested)


class Labeled(Derived):
    """What the team has labeled, in the order in which it was labeled, as a data set.

    clicks: by picture's index and object's id; an object without clicks was accepted as suggested.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__([], [])
        self.dataset = dataset
        self.clicks: dict[int, dict[int, Clicks]] = {}

    def add(self, index: int, clicks: dict[int, Clicks]) -> None:
        """Label the picture of this index."""
        self.clicks[index] = clicks
        self.sources = [*self.sources, self.dataset.sources[index]]
        self._origins = [*self._origins, (self.dataset, index)]

    def __getitem__(self, place: int) -> Sample:
        return dataclasses.replace(super().__getitem__(place), objects=self.objects(place))

    def objects(self, place: int) -> tuple[SampleObject, ...]:
        made = self.clicks[self.origin(place)[1]]
        return tuple(
            dataclasses.replace(about, clicks=made.get(about.id, ()))
            for about in super().objects(place)
        )

    def expressions(self, place: int) -> tuple[Expression, ...]:
        return ()

    def sides(self) -> tuple[Dataset, Dataset]:
        """What trains and what is held out, by the product's rule."""
        names: dict[str, str] = {}
        samples = (self[place] for place in range(len(self)))
        parts = sides([digest(names.setdefault(_content(one), one.key)) for one in samples])
        return Without(self, parts["validation"]), Without(self, parts["train"])

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
        answer = served.look_at(sample, key_of(sample, index), labels[number])
        trajectory = follow(answer, target, "clicks", goal=GOAL, at_least=1, most=MOST_CLICKS)
        clicks_of[number] = trajectory.clicks
    return clicks_of


@dataclass(frozen=True)
class ObjectResult:
    """One tested object.

    noc, iou: by clicks from nothing, for `THRESHOLDS` and `COUNTS`. interactions: starting from the
    pre-annotation (`evaluation.interactions`); share: of the picture's deletions.
    """

    picture: str
    id: int
    noc: tuple[int, ...]
    iou: tuple[float, ...]
    interactions: int
    share: float


@dataclass(frozen=True)
class Measured:
    """Everything that was measured of a version.

    labels: of a label's name alone on one picture, the picture's key and the IoU of the answer with
    all objects of that label.
    """

    objects: tuple[ObjectResult, ...]
    labels: tuple[tuple[str, float], ...]

    def figures(self) -> dict[str, Estimate]:
        """The means, with intervals by picture, by the names of `simulate.TITLES`.

        Interactions are those per accepted object, its share of the deletions included. Without a
        named object there is no "label".
        """
        objects = self.objects
        values: dict[str, list[float]] = {
            **{f"noc{100 * t:.0f}": [o.noc[n] for o in objects] for n, t in enumerate(THRESHOLDS)},
            **{f"iou{count}": [o.iou[n] for o in objects] for n, count in enumerate(COUNTS)},
            "interactions": [o.interactions + o.share for o in objects],
            "zero_share": [float(o.interactions == 0) for o in objects],
        }
        pictures = [o.picture for o in objects]
        figures = {name: estimate(column, pictures) for name, column in values.items()}
        if self.labels:
            ious, keys = [iou for _, iou in self.labels], [key for key, _ in self.labels]
            figures["label"] = estimate(ious, keys)
        return figures


def measure(
    served: Served,
    dataset: Dataset,
    tested: Mapping[int, tuple[int, ...]],
    labels: Sequence[str],
    tick: Callable[[float], None] = lambda done: None,
) -> Measured:
    """Measure what serves on the tested objects. labels: of the team. tick: called with 0 to 1."""
    objects: list[ObjectResult] = []
    names: list[tuple[str, float]] = []
    for done, (index, ids) in enumerate(tested.items()):
        tick(done / len(tested))
        sample = dataset[index]
        objects.extend(_objects(served, sample, index, ids, labels))
        asked = {about.category for about in sample.objects if about.id in ids and about.category}
        for name in sorted(asked):
            wanted = sample.mask(*ids_of_kind(sample.objects, name))
            answer = served.look_at(sample, key_of(sample, index), name)
            iou = overlap(answer([], name, None), wanted, sample.void)
            names.append((sample.key, round(iou, 4)))
    return Measured(tuple(objects), tuple(names))


def _objects(
    served: Served, sample: Sample, index: int, ids: Sequence[int], labels: Sequence[str]
) -> list[ObjectResult]:
    trajectories = {
        about.id: follow(
            served.look_at(sample, key_of(sample, index), about.category or ""),
            Target(sample.mask(about.id), sample.void, ""),
            "clicks",
            goal=max(THRESHOLDS),
            at_least=max(COUNTS),
        )
        for about in sample.objects
        if about.id in ids
    }
    clicks = {number: trajectory.needed(GOAL) for number, trajectory in trajectories.items()}
    cost = annotate(served, sample, index, labels, ids=ids, from_nothing=clicks)
    return [
        ObjectResult(
            sample.key,
            number,
            tuple(trajectories[number].needed(threshold) for threshold in THRESHOLDS),
            tuple(round(trajectories[number].iou(count), 4) for count in COUNTS),
            interactions,
            cost.deletions / cost.present,
        )
        for number, interactions in cost.objects.items()
    ]


def _tested(
    order: Sequence[int], objects: Mapping[int, Sequence[int]], seed: int
) -> dict[int, tuple[int, ...]]:
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
    drawn = {
        index: np.random.default_rng([seed, index]).permutation(objects[index])[:a_picture]
        for index in sorted(chosen)
    }
    return {index: tuple(sorted(ids.tolist())) for index, ids in drawn.items()}


def _content(sample: Sample) -> str:
    """Of two pictures, it is equal if all pixels are."""
    return f"{sample.image.shape} {sha256(sample.image.tobytes()).hexdigest()}"


def digest(text: str) -> str:
    """The hash (hex) by which pictures are divided."""
    return sha256(text.encode()).hexdigest()
