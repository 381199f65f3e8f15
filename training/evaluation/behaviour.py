"""Behaviour tests: does the network follow phrases and clicks?

NoC does not show whether the phrase has any effect. Each test asks two questions that differ in one
thing: with and without the phrase, the right word and a wrong one, "left" and "right", before and
after a negative click. A gain is a difference of IoU, "named" a share of questions. Each function
describes its question; `GOALS` holds the targets. That a clicked pixel gets its click's sign is no
question here: the predictor makes sure of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from training.data import Dataset, Sample
from training.evaluation.cases import Case, ids_of_kind, key_of, opened, word_of
from training.evaluation.figures import shown
from training.evaluation.measurement import Method, Result
from training.evaluation.protocol import Answer, ClickPoint, Mask, Target, next_click, overlap
from training.evaluation.statistics import estimate, estimates
from training.prompts.scenes import DISSECTED, Scene
from training.prompts.vocabulary import CARRIED, COLOURS, WORN, related

# Smaller second objects (share of the picture) are neither clicked nor named as siblings.
SMALLEST = 0.005
# From this share on, an unwanted object counts as included and can be removed.
TAKEN_IN = 0.2
# A garment that covers more of the person than this has nearly the person's mask.
MOST_OF_A_PERSON = 0.6
# What a person wears, without hair and skin.
GARMENTS = WORN - {"hair", "skin"}

STEPS = 10
EVERYWHERE = "all"


class Probe(StrEnum):
    """The tests, in the order of reports: words first, clicks last."""

    GAIN = "phrase + 1 click against 1 click"
    GAIN_GARMENTS = "phrase + 1 click against 1 click, garments"
    GAIN_SEVERAL = "phrase + 1 click against 1 click, several of a kind"
    RIGHT_WORD = "right word against a wrong one, 1 click"
    RIGHT_WORD_ALONE = "right word against a wrong one, no click"
    ALONE = "phrase alone"
    ALONE_GARMENTS = "phrase alone, garments"
    ONE_OF_TWO_WORDS = "same click, garment or person: the named one"
    BOTH_WORDS = "same click, garment and person: both right"
    SIDE_OR_COLOUR = "two of a kind: the one named by side or colour"
    BY_SIDE = "two of a kind: the one named by side"
    BY_HEIGHT = "two of a kind: the one named by height"
    BY_COLOUR = "two of a kind: the one named by colour"
    BY_SIZE = "two of a kind: the one named by size"
    REMOVED = "negative click: share of the unwanted object removed"
    KEPT = "negative click: share of the wanted object kept"
    LEAST_STEP = f"one more click, the least of the gains from 1 to {STEPS}"


Tally = dict[Probe, dict[str, dict[str, Any]]]
"""Estimates by test and source."""


@dataclass(frozen=True)
class Finding:
    """One value of one test for one object."""

    probe: Probe
    source: str
    value: float
    picture: int


@dataclass(frozen=True)
class _Asked:
    """An opened case of "clicks", from which all tests start."""

    answer: Answer
    sample: Sample
    case: Case
    target: Target
    centre: ClickPoint

    def iou(self, mask: Mask, target: Mask | None = None) -> float:
        return overlap(mask, self.target.mask if target is None else target, self.target.void)


class BehaviourTests:
    """All behaviour tests of one method; findings stay if it is stopped."""

    def __init__(self, method: Method, dataset: Dataset, cases: Sequence[Case]) -> None:
        """cases: one per object, from `cases_of` for "clicks"."""
        self.findings: list[Finding] = []
        self._method = method
        self._dataset = dataset
        self._cases = cases
        self._asked: set[tuple[Any, ...]] = set()

    def ask_all(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Run every test that applies to each case."""
        for case, sample, target in opened(self._dataset, self._cases, progress):
            answer = self._method.look_at(sample, key_of(sample, case.index))
            centre = next_click(target)
            assert centre is not None
            asked = _Asked(answer, sample, case, target, centre)
            for test in (_phrase, self._alone, _garment, self._siblings, _negative):
                for probe, value in test(asked):
                    self.findings.append(Finding(probe, case.source, value, case.index))

    def _alone(self, asked: _Asked) -> Iterator[tuple[Probe, float]]:
        """The phrase without a click, once per question.

        A category's name asks for all of its objects in the picture, semantic regions included; a
        written phrase for the object that it was written for.
        """
        case = asked.case
        ids = _denoted(asked)
        if not case.phrase or not self._first((case.index, ids, case.phrase)):
            return
        wanted = asked.sample.mask(*ids)
        alone = asked.iou(asked.answer([], case.phrase, None), wanted)
        yield Probe.ALONE, alone
        if case.category in GARMENTS:
            yield Probe.ALONE_GARMENTS, alone
        wrong = _wrong_word(asked)
        if wrong:
            yield Probe.RIGHT_WORD_ALONE, alone - asked.iou(asked.answer([], wrong, None), wanted)

    def _siblings(self, asked: _Asked) -> Iterator[tuple[Probe, float]]:
        """Pictures with exactly two of a kind: does "left dog" find the left one?

        Each of the two is asked for by every word that singles it out (`Scene.facts`: side, height,
        colour, size). The answer finds the object with the larger IoU; an empty one finds none.
        """
        sample, category = asked.sample, asked.case.category
        if category is None or not self._first((asked.case.index, category)):
            return
        scene = Scene(sample.image, sample.instances, sample.objects)
        pair = scene.named(category)
        if len(pair) != 2 or any(o.about.semantic or o.area < SMALLEST for o in pair):
            return
        for one, other in (pair, pair[::-1]):
            for fact in scene.facts(one):
                if not fact.unique or not fact.before or len(fact.attributes) != 1:
                    continue
                mask = asked.answer([], f"{fact.before[0]} {word_of(category)}", None)
                named = asked.iou(mask, sample.mask(one.about.id))
                right = named > asked.iou(mask, sample.mask(other.about.id))
                probe = _named_by(fact.attributes[0])
                yield probe, float(right)
                if probe in (Probe.BY_SIDE, Probe.BY_COLOUR):
                    yield Probe.SIDE_OR_COLOUR, float(right)

    def _first(self, question: tuple[Any, ...]) -> bool:
        """Whether this question is asked for the first time."""
        if question in self._asked:
            return False
        self._asked.add(question)
        return True


def _phrase(asked: _Asked) -> Iterator[tuple[Probe, float]]:
    """The same click at the object's centre: with its phrase, without one, with a wrong word.

    The target is the object alone, even if several have the name.
    """
    case, answer = asked.case, asked.answer
    if not case.phrase:
        return
    silent = asked.iou(answer([asked.centre], "", None))
    right = asked.iou(answer([asked.centre], case.phrase, None))
    yield Probe.GAIN, right - silent
    if case.category in GARMENTS:
        yield Probe.GAIN_GARMENTS, right - silent
    if case.category is None:
        return
    kind = ids_of_kind(asked.sample.objects, case.category)
    if np.count_nonzero(asked.sample.mask(*kind)) > np.count_nonzero(asked.target.mask):
        yield Probe.GAIN_SEVERAL, right - silent
    wrong = _wrong_word(asked)
    if wrong:
        yield Probe.RIGHT_WORD, right - asked.iou(answer([asked.centre], wrong, None))


def _garment(asked: _Asked) -> Iterator[tuple[Probe, float]]:
    """The same click on a garment means the garment or the person, depending on the word.

    In sources that annotate one person by parts, the person is everything worn, hair and skin; bags
    and the like may or may not belong to it and are ignored. An answer is right if its IoU is
    higher with what was named. Garments that cover most of a person are left out.
    """
    sample, category = asked.sample, asked.case.category
    if sample.source not in DISSECTED or category not in GARMENTS or category in CARRIED:
        return
    worn = [about for about in sample.objects if about.category in WORN]
    person = sample.mask(*(about.id for about in worn if about.category not in CARRIED))
    carried = sample.mask(*(about.id for about in worn if about.category in CARRIED))
    garment, void = asked.target.mask, asked.target.void | carried
    if garment.sum() > MOST_OF_A_PERSON * person.sum():
        return
    right = []
    for word, this, other in ((asked.case.phrase, garment, person), ("person", person, garment)):
        mask = asked.answer([asked.centre], word, None)
        right.append(overlap(mask, this, void) > overlap(mask, other, void))
        yield Probe.ONE_OF_TWO_WORDS, float(right[-1])
    yield Probe.BOTH_WORDS, float(all(right))


def _negative(asked: _Asked) -> Iterator[tuple[Probe, float]]:
    """The picture's largest other object is added by a click and removed by a negative one.

    Only if it was added.
    """
    sample, answer, centre = asked.sample, asked.answer, asked.centre
    others = [o for o in sample.objects if o.id not in asked.case.ids and not o.semantic]
    masks = [sample.mask(o.id) & ~asked.target.mask for o in others]
    other = max(masks, key=np.count_nonzero, default=None)
    if other is None or other.mean() < SMALLEST:
        return
    spot = next_click(Target(other, asked.target.void, ""))
    if spot is None:
        return
    both = answer([centre, spot], "", answer([centre], "", None))
    covered = float(both[other].mean())
    x, y, _ = spot
    if covered < TAKEN_IN or not both[int(y), int(x)]:
        return
    without = answer([centre, (x, y, False)], "", both)
    yield Probe.REMOVED, 1.0 - float(without[other].mean()) / covered
    wanted = asked.target.mask & both
    if wanted.any():
        yield Probe.KEPT, float(without[wanted].mean())


def _denoted(asked: _Asked) -> tuple[int, ...]:
    """The objects that the case's phrase denotes without a click."""
    case = asked.case
    about = next(candidate for candidate in asked.sample.objects if candidate.id in case.ids)
    if about.phrases or case.category is None:
        return case.ids
    return ids_of_kind(asked.sample.objects, case.category)


def _wrong_word(asked: _Asked) -> str:
    """The name of another object in the picture that does not fit this one; "" for none."""
    category = asked.case.category
    if category is None:
        return ""
    others = {about.concept for about in asked.sample.objects if about.concept}
    wrong = sorted(other for other in others if not related(other, category))
    rng = np.random.default_rng(asked.case.seed)
    return word_of(str(rng.choice(wrong))) if wrong else ""


def _named_by(attribute: str) -> Probe:
    if attribute in ("left", "right"):
        return Probe.BY_SIDE
    if attribute in ("top", "bottom"):
        return Probe.BY_HEIGHT
    return Probe.BY_COLOUR if attribute in COLOURS else Probe.BY_SIZE


@dataclass(frozen=True)
class Goal:
    """The target of a test. sources: () for all. certain: the interval's low end must exceed it."""

    probe: Probe
    at_least: float
    sources: tuple[str, ...] = ()
    certain: bool = False


GOALS = (
    Goal(Probe.GAIN, 0.0, ("voc", "coco", "ccp"), certain=True),
    Goal(Probe.GAIN_GARMENTS, 0.06, ("ccp",)),
    Goal(Probe.GAIN_SEVERAL, 0.0),
    Goal(Probe.RIGHT_WORD, 0.12, ("voc",)),
    Goal(Probe.ONE_OF_TWO_WORDS, 0.95, ("ccp",)),
    Goal(Probe.SIDE_OR_COLOUR, 0.75),
    Goal(Probe.ALONE, 0.72, ("voc",)),
    Goal(Probe.ALONE_GARMENTS, 0.30, ("ccp",)),
    Goal(Probe.LEAST_STEP, 0.0),
)


def least_step(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """By source and over all: the least of the mean gains of the second to tenth click.

    Every case must have had ten clicks, or have ended earlier with nothing left to click.
    """
    parts: dict[str, list[Result]] = {}
    for result in results:
        parts.setdefault(result.case.source, []).append(result)
    if len(parts) > 1:
        parts[EVERYWHERE] = list(results)
    least = {}
    for source, part in parts.items():
        ious = np.array([[r.trajectory.iou(k) for k in range(1, STEPS + 1)] for r in part])
        gains = estimates(np.diff(ious), [r.case.index for r in part])
        least[source] = shown(min(gains, key=lambda gain: gain.mean))
    return least


def tally(findings: Sequence[Finding]) -> Tally:
    """Mean, number and 95 % interval of each test by source, and over all if there are several."""
    groups: dict[Probe, dict[str, list[Finding]]] = {}
    for finding in findings:
        groups.setdefault(finding.probe, {}).setdefault(finding.source, []).append(finding)
    tallied: Tally = {}
    for probe, by_source in groups.items():
        parts = dict(sorted(by_source.items()))
        if len(parts) > 1:
            parts[EVERYWHERE] = [finding for part in by_source.values() for finding in part]
        tallied[probe] = {
            source: shown(estimate([e.value for e in part], [e.picture for e in part]))
            for source, part in parts.items()
        }
    return tallied


def judged(tallied: Tally) -> Tally:
    """The tally in the order of reports; with "aim", "certain" and "reached" where there is a goal
    for a source."""
    ordered = {probe: tallied[probe] for probe in Probe if probe in tallied}
    for goal in GOALS:
        for source, measured in ordered.get(goal.probe, {}).items():
            if source in goal.sources or (not goal.sources and source != EVERYWHERE):
                reached = measured["mean"] >= goal.at_least
                if goal.certain:
                    reached = measured["interval"][0] > goal.at_least
                measured |= {
                    "aim": goal.at_least,
                    "certain": goal.certain,
                    "reached": bool(reached),
                }
    return ordered
