"""The cases of an evaluation: which objects of which pictures, and by what words.

A case is one question. With clicks, each object is one case. With a phrase, each written phrase is
a case, and a source with written phrases has no others. In other sources the category's name is the
phrase; alone it asks for all objects with this name in the picture, as one case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.data import Dataset, Sample, SampleObject, Tolerant
from training.evaluation.protocol import CLICKS_FIRST, Mode, Target
from training.prompts.vocabulary import concept_of, words_for

# Smaller objects are left out: a single pixel at the border decides their IoU.
FEWEST_PIXELS = 50
# COCO's bounds (32² and 96² pixels) as shares of a picture of 640 x 480, for pictures of any size.
SMALL = 32 * 32 / (640 * 480)
MEDIUM = 96 * 96 / (640 * 480)


@dataclass(frozen=True)
class Case:
    """One question.

    ids: the wanted objects of the picture. category: as a concept (`concept_of`). phrase: "" if
    there is none.
    """

    index: int
    source: str
    ids: tuple[int, ...]
    category: str | None
    phrase: str

    @property
    def seed(self) -> list[int]:
        """The seed of everything random about this case, equal for all methods."""
        return [self.index, *self.ids]


def cases_of(
    dataset: Dataset,
    mode: Mode = "clicks",
    *,
    sources: Sequence[str] = (),
    limit: int = 0,
) -> list[Case]:
    """The cases of a mode for all objects that are single things (no semantic regions).

    limit: number of objects of each source at most, the same ones each time; 0: all. Objects that
    fit two modes are chosen for both.
    """
    by_source: dict[str, list[tuple[int, SampleObject]]] = {}
    for index, source in enumerate(dataset.sources):
        if not sources or source in sources:
            things = [(index, about) for about in dataset.objects(index) if not about.semantic]
            by_source.setdefault(source, []).extend(things)
    cases: dict[Case, None] = {}
    for source, objects in sorted(by_source.items()):
        order = np.random.default_rng(0).permutation(len(objects))
        spoken = any(about.phrases for _, about in objects)
        asked = [
            i
            for i in order
            # A source with written phrases has no other questions by words.
            if mode in CLICKS_FIRST or (objects[i][1].phrases if spoken else objects[i][1].category)
        ]
        for i in asked[: limit or None]:
            index, about = objects[i]
            cases.update(dict.fromkeys(_questions(dataset, index, source, about, mode)))
        if mode == "phrase":
            cases.update(dict.fromkeys(_expressions(dataset, source, limit)))
    return sorted(cases, key=lambda case: (case.index, case.ids))


def target_of(sample: Sample, case: Case) -> Target:
    """The target of a case in its picture."""
    return Target(sample.mask(*case.ids), sample.void, case.phrase)


def opened(
    dataset: Dataset, cases: Sequence[Case], progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[Case, Sample, Target]]:
    """Each case whose picture can be read and whose target is no speck, with both.

    progress: called after each case with the number of cases so far and of all.
    """
    samples = Tolerant(dataset)
    sample: Sample | None = None
    index = -1
    for done, case in enumerate(cases, 1):
        if case.index != index:
            sample, index = samples.get(case.index), case.index
        if sample is not None:
            target = target_of(sample, case)
            if target.pixels >= FEWEST_PIXELS:
                yield case, sample, target
        if progress:
            progress(done, len(cases))


def key_of(sample: Sample, index: int) -> str:
    """Names a picture's content to predictors' caches; index: in its data set."""
    return f"{sample.source}:{sample.key}:{index}"


def word_of(category: str | None) -> str:
    """The most common word for a category; "" for none."""
    return "" if category is None else words_for(concept_of(category))[0]


def ids_of_kind(objects: Sequence[SampleObject], category: str) -> tuple[int, ...]:
    """The ids of all objects of a category under any of its names, semantic regions included."""
    concept = concept_of(category)
    return tuple(about.id for about in objects if about.concept == concept)


def size_of(area: float) -> str:
    """ "small", "medium" or "large", by the share of the picture."""
    return "small" if area < SMALL else "medium" if area < MEDIUM else "large"


def _questions(
    dataset: Dataset, index: int, source: str, about: SampleObject, mode: Mode
) -> Iterator[Case]:
    concept, word = about.concept, word_of(about.category)
    if mode in CLICKS_FIRST:
        first = about.phrases[0] if about.phrases else word
        yield Case(index, source, (about.id,), concept, first)
    elif about.phrases:
        for phrase in about.phrases:
            yield Case(index, source, (about.id,), concept, phrase)
    elif concept is not None:
        kind = ids_of_kind(dataset.objects(index), concept)
        yield Case(index, source, kind if mode == "phrase" else (about.id,), concept, word)


def _expressions(dataset: Dataset, source: str, limit: int) -> Iterator[Case]:
    """Cases of written phrases for several objects or none."""
    cases = [
        Case(index, source, expression.ids, None, expression.text)
        for index, name in enumerate(dataset.sources)
        if name == source
        for expression in dataset.expressions(index)
    ]
    if limit and len(cases) > limit:
        order = np.random.default_rng(0).permutation(len(cases))
        cases = [cases[i] for i in order[:limit]]
    yield from cases
