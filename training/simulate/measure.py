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
from training.simulate.team import Tested, key_of

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
        return self._mean([each.noc[number] for each in self.objects])

    def iou(self, number: int) -> Estimate:
        """Mean IoU after so many clicks, by its number in `COUNTS`."""
        return self._mean([each.iou[number] for each in self.objects])

    @property
    def label_alone(self) -> Estimate:
        """Mean IoU of a label's name alone."""
        return estimate([each.iou for each in self.labels], [each.picture for each in self.labels])

    @property
    def interactions(self) -> Estimate:
        """Interactions per accepted object, its share of the deletions included."""
        return self._mean([each.interactions + each.share for each in self.objects])

    @property
    def zero_share(self) -> Estimate:
        """Share of the objects that were accepted without an interaction."""
        return self._mean([float(each.interactions == 0) for each in self.objects])

    def _mean(self, values: Sequence[float]) -> Estimate:
        return estimate(values, [each.picture for each in self.objects])


def measure(
    served: Served,
    dataset: Dataset,
    tested: Sequence[Tested],
    labels: Sequence[str],
    tick: Callable[[float], None] = lambda done: None,
) -> Measured:
    """Measure what serves on the tested objects. labels: of the team. tick: called with 0 to 1."""
    objects: list[ObjectResult] = []
    names: list[LabelResult] = []
    for done, each in enumerate(tested):
        tick(done / len(tested))
        sample = dataset[each.index]
        objects.extend(_objects(served, sample, each, labels))
        names.extend(_label_names(served, sample, each))
    return Measured(tuple(objects), tuple(names))


def _objects(
    served: Served, sample: Sample, tested: Tested, labels: Sequence[str]
) -> list[ObjectResult]:
    key = key_of(sample, tested.index)
    trajectories = {
        each.id: follow(
            served.answer(sample, key, each.category or ""),
            Target(sample.mask(each.id), sample.void, ""),
            "clicks",
            goal=max(THRESHOLDS),
            at_least=max(COUNTS),
        )
        for each in sample.objects
        if each.id in tested.ids
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
            each.id,
            each.label,
            tuple(trajectories[each.id].needed(threshold) for threshold in THRESHOLDS),
            tuple(round(trajectories[each.id].iou(count), 4) for count in COUNTS),
            each.way,
            each.interactions,
            cost.deletions / cost.present,
        )
        for each in cost.objects
    ]


def _label_names(served: Served, sample: Sample, tested: Tested) -> list[LabelResult]:
    key = key_of(sample, tested.index)
    labels = {each.category for each in sample.objects if each.id in tested.ids and each.category}
    found = []
    for label in sorted(labels):
        wanted = sample.mask(*ids_of_kind(sample.objects, label))
        answer = served.answer(sample, key, label)
        iou = overlap(answer([], label, None), wanted, sample.void)
        found.append(LabelResult(sample.key, label, round(iou, 4)))
    return found
