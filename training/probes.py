"""Does the network do what it is told? Pairs of questions about the same place, compared.

NoC does not say whether a phrase is heard at all. Each probe here asks twice and differs in one
thing: with and without the phrase, the right word and a wrong one, "left" and "right", before and
after a negative click.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.predictor import Predictor
from training.annotator import central_click
from training.datasets.sample import Dataset, Sample, SampleObject
from training.evaluation import Case, answers, interval, target_of
from training.prompts import DISSECTED
from training.protocol import Answer, Mask, Spot, overlap
from training.scenes import Scene
from training.vocabulary import CARRIED, WORN, concept_of, related, words_for

# An object smaller than this share of the picture is left out: specks say little about words.
SMALLEST = 0.005


@dataclass(frozen=True)
class Finding:
    """One number of one probe about one object."""

    probe: str
    source: str
    value: float


def probe(
    predictor: Predictor,
    dataset: Dataset,
    cases: Sequence[Case],
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Finding]:
    """All probes that apply to each case."""
    asked_pairs: set[tuple[int, str]] = set()
    for number, case in enumerate(cases):
        sample = dataset[case.index]
        target = target_of(sample, case.about)
        if target.mask.mean() >= SMALLEST:
            embedding = predictor.encode(sample.image, f"{case.source}:{sample.key}")
            answer = answers(predictor, embedding)
            centre = _centre(target.mask)
            for name, value in itertools.chain(
                _phrase(answer, sample, case.about, centre),
                _garment(answer, sample, case.about, centre),
                _siblings(answer, sample, case.about, asked_pairs, case.index),
                _negative(answer, sample, case.about, centre),
            ):
                yield Finding(name, case.source, value)
        if progress:
            progress(number + 1, len(cases))


def tally(findings: Sequence[Finding]) -> dict[str, dict[str, Any]]:
    """Mean, number and 95 % interval of each probe by source."""
    groups: dict[tuple[str, str], list[float]] = {}
    for finding in findings:
        groups.setdefault((finding.probe, finding.source), []).append(finding.value)
    table: dict[str, dict[str, Any]] = {}
    for (name, source), values in sorted(groups.items()):
        low, high = interval(values)
        table.setdefault(name, {})[source] = {
            "mean": float(np.mean(values)),
            "n": len(values),
            "interval": (low, high),
        }
    return table


def _phrase(
    answer: Answer, sample: Sample, about: SampleObject, centre: Spot
) -> Iterator[tuple[str, float]]:
    """The same click with the right word, without one, and with another word of the picture."""
    if about.category is None:
        return
    one, void = target_of(sample, about), sample.void
    silent = overlap(answer([centre], "", None), one.mask, void)
    right = overlap(answer([centre], one.phrase, None), one.mask, void)
    yield "gain of phrase + 1 click over 1 click", right - silent
    every = target_of(sample, about, whole_category=True)
    alone = overlap(answer([], one.phrase, None), every.mask, void)
    yield "phrase alone", alone
    concept = concept_of(about.category)
    if int(every.mask.sum()) > int(one.mask.sum()):
        yield "gain of phrase + 1 click, several of a kind", right - silent
    others = {
        concept_of(o.category)
        for o in sample.objects
        if o.category and not related(concept_of(o.category), concept)
    }
    for other in sorted(others)[:1]:
        word = words_for(other)[0]
        wrong = overlap(answer([centre], word, None), one.mask, void)
        yield "right word - wrong word, with 1 click", right - wrong
        yield (
            "right word - wrong word, phrase alone",
            alone - overlap(answer([], word, None), every.mask, void),
        )


def _garment(
    answer: Answer, sample: Sample, about: SampleObject, centre: Spot
) -> Iterator[tuple[str, float]]:
    """The same click on a garment means the garment or the person, as the word says."""
    if sample.source not in DISSECTED or about.category not in WORN:
        return
    worn = [o for o in sample.objects if o.category in WORN]
    person = sample.mask(*(o.id for o in worn if o.category not in CARRIED))
    void = sample.void | sample.mask(*(o.id for o in worn if o.category in CARRIED))
    garment = target_of(sample, about)
    if garment.mask.sum() > 0.6 * person.sum() or about.category in CARRIED:
        return
    as_garment = answer([centre], garment.phrase, None)
    as_person = answer([centre], "person", None)
    heard = overlap(as_garment, garment.mask, void) > overlap(as_garment, person, void)
    heard &= overlap(as_person, person, void) > overlap(as_person, garment.mask, void)
    yield "same click, garment or person", float(heard)


def _siblings(
    answer: Answer,
    sample: Sample,
    about: SampleObject,
    asked: set[tuple[int, str]],
    index: int,
) -> Iterator[tuple[str, float]]:
    """Of two of a kind, "left" and "right" each find the one they name; so do colours."""
    if about.category is None:
        return
    concept = concept_of(about.category)
    if (index, concept) in asked:
        return
    asked.add((index, concept))
    scene = Scene(sample.image, sample.instances, sample.objects)
    pair = scene.named(concept)
    if len(pair) != 2 or any(o.about.semantic or o.area < SMALLEST for o in pair):
        return
    noun = words_for(concept)[0]
    for one, other in (pair, pair[::-1]):
        for fact in scene.facts(one):
            if not fact.unique or not fact.before or len(fact.attributes) != 1:
                continue
            mask = answer([], f"{fact.before[0]} {noun}", None)
            named = overlap(mask, sample.mask(one.about.id), sample.void)
            unnamed = overlap(mask, sample.mask(other.about.id), sample.void)
            kind = "place" if fact.attributes[0] in ("left", "right") else "colour or size"
            yield f"of two of a kind, the named one by {kind}", float(named > unnamed)


def _negative(
    answer: Answer, sample: Sample, about: SampleObject, centre: Spot
) -> Iterator[tuple[str, float]]:
    """A second object is clicked in, then out: how much of it goes, does the first stay?"""
    others = [o for o in sample.objects if o.id != about.id and not o.semantic]
    masks = [(o, sample.mask(o.id)) for o in others]
    masks = [(o, mask) for o, mask in masks if mask.mean() >= SMALLEST]
    if not masks:
        return
    _, other = max(masks, key=lambda each: int(each[1].sum()))
    spot = _centre(other)
    first = answer([centre], "", None)
    both = answer([centre, spot], "", first)
    covered = float(both[other].mean())
    if covered < 0.2:
        return
    after = answer([centre, spot, (spot[0] + 2.0, spot[1], False)], "", both)
    without = answer([centre, (spot[0], spot[1], False)], "", both)
    yield "negative click: its pixel is out", float(not without[int(spot[1]), int(spot[0])])
    yield (
        "negative click: share of the object removed",
        1.0 - float(without[other].mean()) / covered,
    )
    yield (
        "newer negative beside a positive click: its pixel is out",
        float(not after[int(spot[1]), min(int(spot[0] + 2), after.shape[1] - 1)]),
    )
    kept = sample.mask(about.id)
    yield (
        "negative click: share of the wanted object kept",
        float((without & both)[kept].sum() / max(int(both[kept].sum()), 1)),
    )


def _centre(mask: Mask) -> Spot:
    x, y = central_click(mask, np.random.default_rng(0))[0]
    return float(x), float(y), True
