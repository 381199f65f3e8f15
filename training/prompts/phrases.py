"""Phrases for pictures that have none: true of the mask, its category and its siblings.

`Scene` (scenes.py) measures what can be said; the functions here put such facts into varied words.
The noun is chosen first, since it decides who else may be meant: two dogs are told apart as dogs,
a handbag is told apart from a backpack once it is called "bag". A phrase that is to denote one
thing alone is made from facts that single it out, or not at all.

Words that are narrower than the annotation ("woman" where it says person) cannot be checked. They
are used only where nothing else could be meant, so that at least they never point elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.prompts.scenes import Fact, Scene, Seen
from training.prompts.vocabulary import (
    NARROWER,
    every_word_for,
    may_be_called,
    plural_of,
    related,
    words_for,
)

NAMELESS = ("object", "thing", "one", "part")
# How often a narrower word is used where it may be.
NARROWED = 0.4
# How often the noun is left out ("biggest") where the picture shows nothing of another kind.
NO_NOUN = 0.25


@dataclass(frozen=True)
class Phrase:
    """A phrase, the ids it denotes (none: it names what is not there), and what it holds.

    unsure: ids of what some would count in and others not; neither answer is wrong there.
    """

    text: str
    ids: tuple[int, ...]
    attributes: tuple[str, ...]
    unsure: tuple[int, ...] = ()


def describe(scene: Scene, one: Seen, rng: np.random.Generator, *, unique: bool) -> Phrase | None:
    """A phrase for one object. ``unique``: None where nothing singles it out."""
    noun, rivals = _noun_and_rivals(scene, one, rng)
    facts = scene.facts(one, rivals)
    alone = one.concept is not None and not rivals and not one.about.semantic
    chosen: list[Fact] = []
    if unique and not alone:
        telling = [fact for fact in facts if fact.unique]
        if not telling:
            return None
        chosen.append(telling[int(rng.integers(len(telling)))])
    others = [fact for fact in facts if not _clash(fact, chosen)]
    if others and rng.random() < (0.35 if chosen else 0.45):
        chosen.append(others[int(rng.integers(len(others)))])
    singled_out = alone or any(fact.unique for fact in chosen)
    named = () if one.concept is None else (one.concept,)
    if any(fact.unique for fact in chosen) and len(scene.seen) == 1 + len(rivals):
        chance = rng.random()
        if chance < NO_NOUN:
            noun, named = ("" if chance < NO_NOUN / 2 else "one"), ()
    text = _article(noun, chosen, rng, singled_out=singled_out) + _wording(noun, chosen, rng)
    attributes = (*named, *(name for fact in chosen for name in fact.attributes))
    return Phrase(text, (one.about.id,), attributes)


def name_all(scene: Scene, concept: str, rng: np.random.Generator) -> Phrase:
    """The bare category: it denotes every object in the picture that is rightly called so."""
    noun = ""
    for _ in range(4):
        # A noun under which nothing is in doubt, where there is one.
        noun = _pick(words_for(concept), rng)
        if not scene.perhaps_called(noun):
            break
    these = scene.called(noun)
    unsure = scene.perhaps_called(noun) + scene.parts(concept)
    several = len(these) > 1 or any(each.about.semantic for each in these)
    if not several and not unsure and concept in NARROWER and rng.random() < NARROWED:
        noun = _pick(NARROWER[concept], rng)
    if several and rng.random() < 0.5:
        text = _pick(("", "", "the ", "all ", "all the "), rng) + plural_of(noun)
    elif several:
        text = noun
    else:
        text = _article(noun, (), rng, singled_out=True) + noun
    ids = tuple(each.about.id for each in these)
    left_out = tuple(each.about.id for each in unsure if each.about.id not in ids)
    return Phrase(text, ids, (concept,), left_out)


def name_absent(scene: Scene, known: Sequence[str], rng: np.random.Generator) -> Phrase | None:
    """A concept out of ``known`` that nothing in the picture could be called by."""
    if any(each.concept is None for each in scene.seen):
        return None
    here = scene.concepts()
    for _ in range(8):
        concept = known[int(rng.integers(len(known)))]
        if not any(related(concept, other) for other in here):
            noun = _pick(every_word_for(concept), rng)
            return Phrase(_pick(("", "", "the "), rng) + noun, (), (concept,))
    return None


def _noun_and_rivals(scene: Scene, one: Seen, rng: np.random.Generator) -> tuple[str, list[Seen]]:
    """A word for the object, and everything else in the picture that might be meant by it."""
    others = [each for each in scene.seen if each is not one]
    if one.concept is None:
        return _pick(NAMELESS, rng), others
    concept = one.concept
    narrower = NARROWER.get(concept, ())
    if narrower and not one.about.semantic and rng.random() < NARROWED:
        words = every_word_for(concept)
        if not any(each.concept is None or _may_be(each.concept, words) for each in others):
            return _pick(narrower, rng), []
    noun = _pick(words_for(concept), rng)
    meant = scene.called(noun) + scene.perhaps_called(noun)
    return noun, [each for each in meant if each is not one]


def _may_be(concept: str, words: Sequence[str]) -> bool:
    return any(may_be_called(concept, word) for word in words)


def _clash(fact: Fact, chosen: Sequence[Fact]) -> bool:
    """Whether the fact says the same again, or would change what another one counts."""
    return any(
        fact is other
        or fact.counted
        or other.counted
        or set(fact.attributes) & set(other.attributes)
        for other in chosen
    )


def _article(
    noun: str, facts: Sequence[Fact], rng: np.random.Generator, *, singled_out: bool
) -> str:
    """Mostly none, as people type; "the" only where one thing is singled out."""
    choices = ["", "", ""]
    if singled_out:
        choices += ["the ", "the "]
    if not facts and plural_of(noun) != noun:
        choices.append("an " if noun[:1] in "aeiou" else "a ")
    return _pick(choices, rng)


def _wording(noun: str, facts: Sequence[Fact], rng: np.random.Generator) -> str:
    """Noun and facts in one of the orders in which people say them."""
    said = [_said(fact, rng) for fact in facts]
    if rng.random() < 0.5:
        said.reverse()
    before = [words for words, _ in said if words]
    after = [words for _, words in said if words]
    if noun and len(after) == 1 and not before and rng.random() < 0.15:
        return f"{after[0]} {noun}"
    return " ".join([*before, *([noun] if noun else []), *after])


def _said(fact: Fact, rng: np.random.Generator) -> tuple[str, str]:
    """Words before the noun and words after it."""
    if fact.around and rng.random() < 0.4:
        return fact.around[int(rng.integers(len(fact.around)))]
    if fact.before and (not fact.after or rng.random() < 0.6):
        return _pick(fact.before, rng), ""
    return "", _pick(fact.after, rng)


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
