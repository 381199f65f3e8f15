"""What a team measures of a version: clicks, a label's name alone, and whole annotated pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.data import Dataset, Sample
from training.evaluation.cases import ids_of_kind
from training.evaluation.interactions import GOAL, annotate
from training.evaluation.measurement import Served
from training.evaluation.protocol import Target, follow, overlap
from training.evaluation.statistics import Estimate, estimate
from training.simulate.team import TestedObjects, key_of

THRESHOLDS = (0.80, 0.85, 0.90)
COUNTS = (1, 3, 10)


@dataclass(frozen=True)
class ObjectResult:
    """One tested object.

    noc, iou: by clicks from nothing, for `THRESHOLDS` and `COUNTS`. way, interactions: starting
    from the pre-annotation (`evaluation.interactions`); share: of the picture's deletions.
    """

    picture: str
    id: int
    label: str
    noc: tuple[int, ...]
    iou: tuple[float, ...]
    way: str
    interactions: int
    share: float


@dataclass(frozen=True)
class LabelResult:
    """A label's name alone on one picture: IoU of the answer with all objects of that label."""

    picture: str
    label: str
    iou: float


@dataclass(frozen=True)
class Measured:
    """Everything that was measured of a version."""

    objects: tuple[ObjectResult, ...]
    labels: tuple[LabelResult, ...]

    def noc(self, number: int) -> Estimate:
        """Mean clicks to a threshold, by its number in `THRESHOLDS`."""
        return self._mean([result.noc[number] for result in self.objects])

    def iou(self, number: int) -> Estimate:
        """Mean IoU after ``COUNTS[number]`` clicks."""
        return self._mean([result.iou[number] for result in self.objects])

    @property
    def label_alone(self) -> Estimate:
        """Mean IoU of a label's name alone."""
        return estimate(
            [result.iou for result in self.labels], [result.picture for result in self.labels]
        )

    @property
    def interactions(self) -> Estimate:
        """Interactions per accepted object, its share of the deletions included."""
        return self._mean([result.interactions + result.share for result in self.objects])

    @property
    def zero_share(self) -> Estimate:
        """Share of the objects that were accepted without an interaction."""
        return self._mean([float(result.interactions == 0) for result in self.objects])

    def _mean(self, values: Sequence[float]) -> Estimate:
        return estimate(values, [result.picture for result in self.objects])


def measure(
    served: Served,
    dataset: Dataset,
    tested: Sequence[TestedObjects],
    labels: Sequence[str],
    tick: Callable[[float], None] = lambda done: None,
) -> Measured:
    """Measure what serves on the tested objects. labels: of the team. tick: called with 0 to 1."""
    objects: list[ObjectResult] = []
    names: list[LabelResult] = []
    for done, picture in enumerate(tested):
        tick(done / len(tested))
        sample = dataset[picture.index]
        objects.extend(_objects(served, sample, picture, labels))
        names.extend(_label_names(served, sample, picture))
    return Measured(tuple(objects), tuple(names))


def _objects(
    served: Served, sample: Sample, tested: TestedObjects, labels: Sequence[str]
) -> list[ObjectResult]:
    key = key_of(sample, tested.index)
    trajectories = {
        about.id: follow(
            served.answer(sample, key, about.category or ""),
            Target(sample.mask(about.id), sample.void, ""),
            "clicks",
            goal=max(THRESHOLDS),
            at_least=max(COUNTS),
        )
        for about in sample.objects
        if about.id in tested.ids
    }
    cost = annotate(
        served,
        sample,
        tested.index,
        labels,
        ids=tested.ids,
        from_nothing={
            number: trajectory.needed(GOAL) for number, trajectory in trajectories.items()
        },
    )
    return [
        ObjectResult(
            sample.key,
            made.id,
            made.label,
            tuple(trajectories[made.id].needed(threshold) for threshold in THRESHOLDS),
            tuple(round(trajectories[made.id].iou(count), 4) for count in COUNTS),
            made.way,
            made.interactions,
            cost.deletions / cost.present,
        )
        for made in cost.objects
    ]


def _label_names(served: Served, sample: Sample, tested: TestedObjects) -> list[LabelResult]:
    key = key_of(sample, tested.index)
    labels = {
        about.category for about in sample.objects if about.id in tested.ids and about.category
    }
    results = []
    for label in sorted(labels):
        wanted = sample.mask(*ids_of_kind(sample.objects, label))
        answer = served.answer(sample, key, label)
        iou = overlap(answer([], label, None), wanted, sample.void)
        results.append(LabelResult(sample.key, label, round(iou, 4)))
    return results
