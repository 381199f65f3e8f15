"""Which questions an evaluation asks: which objects of which pictures, and by what words.

A case is one question. By clicks every object is asked for once. By a phrase, every phrase that a
person wrote is a case of its own, and in a source with such phrases nothing else is. In all others
the plain name of the category is the phrase, and alone it asks for all that bear it in the picture,
once, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.sample import Dataset, Sample, SampleObject
from training.evaluation.protocol import Mode, Target
from training.prompts.vocabulary import concept_of, words_for

# Specks of fewer pixels are left out: one pixel off at their border decides their IoU.
FEWEST_PIXELS = 50
# COCO calls objects below 32² pixels small and below 96² medium, in pictures of 640 x 480. As
# shares of the picture these bounds hold for pictures of every size.
SMALL = 32 * 32 / (640 * 480)
MEDIUM = 96 * 96 / (640 * 480)


@dataclass(frozen=True)
class Case:
    """One question.

    ids: the wanted objects of the picture. category: under its one name (`concept_of`). phrase: ""
    where nothing names them.
    """

    index: int
    source: str
    ids: tuple[int, ...]
    category: str | None
    phrase: str

    @property
    def seed(self) -> list[int]:
        """Of everything random about this case; the same whoever answers."""
        return [self.index, *self.ids]


def cases_of(
    dataset: Dataset,
    mode: Mode = "clicks",
    *,
    sources: Sequence[str] = (),
    limit: int = 0,
    seed: int = 0,
) -> list[Case]:
    """The questions of a mode about all objects that are one thing (no semantic regions).

    limit: about at most so many objects of each source, chosen at random and the same for a seed;
    objects that suit two modes are chosen for both.
    """
    by_source: dict[str, list[tuple[int, SampleObject]]] = {}
    for index, source in enumerate(dataset.sources):
        if not sources or source in sources:
            things = [(index, each) for each in dataset.objects(index) if not each.semantic]
            by_source.setdefault(source, []).extend(things)
    cases: dict[Case, None] = {}
    for source, objects in sorted(by_source.items()):
        order = np.random.default_rng(seed).permutation(len(objects))
        spoken = any(each.phrases for _, each in objects)
        asked = [i for i in order if mode == "clicks" or _is_named(objects[i][1], spoken=spoken)]
        for i in asked[: limit or None]:
            index, about = objects[i]
            cases.update(dict.fromkeys(_questions(dataset, index, source, about, mode)))
        if mode == "phrase":
            cases.update(dict.fromkeys(_expressions(dataset, source, limit, seed)))
    return sorted(cases, key=lambda case: (case.index, case.ids))


def target_of(sample: Sample, case: Case) -> Target:
    """What a case wants to be found in its picture."""
    return Target(sample.mask(*case.ids), sample.void, case.phrase)


def word_of(category: str | None) -> str:
    """The plainest word for a category; "" for none."""
    return "" if category is None else words_for(concept_of(category))[0]


def ids_of_kind(objects: Sequence[SampleObject], category: str) -> tuple[int, ...]:
    """All objects of a category under any of its names, regions of several among them."""
    concept = concept_of(category)
    return tuple(o.id for o in objects if o.category and concept_of(o.category) == concept)


def size_of(area: float) -> str:
    """ "small", "medium" or "large", by the share of the picture."""
    return "small" if area < SMALL else "medium" if area < MEDIUM else "large"


def _is_named(about: SampleObject, *, spoken: bool) -> bool:
    """Whether there are words for it: a person's, where its source has such."""
    return bool(about.phrases if spoken else about.category)


def _questions(
    dataset: Dataset, index: int, source: str, about: SampleObject, mode: Mode
) -> Iterator[Case]:
    concept = None if about.category is None else concept_of(about.category)
    word = word_of(about.category)
    if mode == "clicks":
        first = about.phrases[0] if about.phrases else word
        yield Case(index, source, (about.id,), concept, first)
    elif about.phrases:
        for phrase in about.phrases:
            yield Case(index, source, (about.id,), concept, phrase)
    elif concept is not None:
        kind = ids_of_kind(dataset.objects(index), concept)
        yield Case(index, source, kind if mode == "phrase" else (about.id,), concept, word)


def _expressions(dataset: Dataset, source: str, limit: int, seed: int) -> Iterator[Case]:
    """What people said of several objects at once, or of none that is there."""
    found = [
        Case(index, source, each.ids, None, each.text)
        for index, name in enumerate(dataset.sources)
        if name == source
        for each in dataset.expressions(index)
    ]
    if limit and len(found) > limit:
        order = np.random.default_rng(seed).permutation(len(found))
        found = [found[i] for i in order[:limit]]
    yield from found
