"""Which labels a version has learned. What it has not learned, the base model answers better.

A fine-tuned version forgets part of what its team did not show it. So each version records the
labels that it was trained on, with the number of objects (`labels` in its metrics), and a label
that is not among them is served by the base model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from training.prompts.vocabulary import concept_of

if TYPE_CHECKING:
    from training.data import Dataset

# On 46 steel defects of two kinds, a version trained on three of each was better than the base
# (RUNS.md); fewer were not tried.
LEAST_OBJECTS = 3


def learned_labels(before: Mapping[str, int] | None, train: Dataset) -> dict[str, int]:
    """On how many objects of each label a version is trained that starts from one with ``before``.

    Labels under their common name (`concept_of`). A label that is not in the data any more, such as
    one that the team has withdrawn, is being forgotten, so it is not among them.
    """
    before = before or {}
    objects = [about for index in range(len(train)) for about in train.objects(index)]
    now = Counter(about.concept for about in objects if about.concept)
    return {name: max(before.get(name, 0), now[name]) for name in sorted(now)}


def labels_of(metrics: Mapping[str, Any]) -> dict[str, int] | None:
    """The labels in a checkpoint's metrics; None for a version that no team made.

    A team can have labeled objects without naming them: then there are none.
    """
    labels = metrics.get("labels")
    if not isinstance(labels, Mapping):
        return None
    return {str(name): count for name, count in labels.items() if isinstance(count, int)}


def has_learned(labels: Mapping[str, int] | None, label: str) -> bool:
    """Whether a version with these labels is to answer for ``label``; "" is no label in particular.

    A version that no team made (None) is a base model, which answers for all.
    """
    if labels is None or not label:
        return True
    return labels.get(concept_of(label), 0) >= LEAST_OBJECTS


class _Version(Protocol):
    @property
    def metrics(self) -> Mapping[str, Any]: ...


V = TypeVar("V", bound=_Version)


def first_learned(versions: Iterable[V], label: str) -> V:
    """The first of these versions, at least one, that has learned a label; else the last one."""
    for version in versions:
        if has_learned(labels_of(version.metrics), label):
            break
    return version
