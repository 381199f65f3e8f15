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

from training.prompts.facts import COLOURLESS, Fact, Seen
from training.prompts.groups import groups_of
from training.prompts.scenes import Scene
from training.prompts.vocabulary import (
    COLOURS,
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
# How often several are named by what some of them have in common, where they have.
SOME = 0.45
# How often what is absent is a thing in a colour that its kind does not have here; up to this share
# of pixels a colour is not there.
OTHER_COLOUR = 0.35
NO_COLOUR = 0.02
NUMBERS = {3: "three", 4: "four", 5: "five", 6: "six"}
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
    alone = one.concept is not None and not rivals and not one.about.semantic and scene.siblings
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
    countable = not unsure and not any(each.about.semantic for each in these)
    several = len(these) > 1 or any(each.about.semantic for each in these)
    if not several and not unsure and concept in NARROWER and rng.random() < NARROWED:
        noun = _pick(NARROWER[concept], rng)
    if several and rng.random() < 0.5:
        text = _determiner(len(these) if countable else 0, rng) + plural_of(noun)
    elif several:
        text = noun
    else:
        text = _article(noun, (), rng, singled_out=True) + noun
    ids = tuple(each.about.id for each in these)
    left_out = tuple(each.about.id for each in unsure if each.about.id not in ids)
    return Phrase(text, ids, (concept,), left_out)


def name_several(scene: Scene, concept: str, rng: np.random.Generator) -> Phrase:
    """All of a concept, or those of them that one more word tells from the rest ("red rings")."""
    if rng.random() < SOME:
        some = name_some(scene, concept, rng)
        if some is not None:
            return some
    return name_all(scene, concept, rng)


def name_some(scene: Scene, concept: str, rng: np.random.Generator) -> Phrase | None:
    """Several of a concept, by what they have in common and others have not; None without such."""
    noun = _pick(words_for(concept), rng)
    these = scene.called(noun)
    groups = groups_of(these)
    if not groups:
        return None
    group = groups[int(rng.integers(len(groups)))]
    others = [g for g in groups if g.kind not in (group.kind, "row") and group.kind != "row"]
    joined = None
    if others and rng.random() < 0.3:
        joined = group.joined(others[int(rng.integers(len(others)))])
    group = joined if joined is not None and len(joined.ids) > 1 else group
    alone = len(these) == len(scene.seen)
    said = "ones" if alone and rng.random() < NO_NOUN else plural_of(noun)
    count = len(group.ids) if not group.unsure else 0
    text = _determiner(count if group.kind != "row" else 0, rng) + group.said(said, rng)
    named = () if said == "ones" else (concept,)
    unsure = scene.perhaps_called(noun) + scene.parts(concept)
    doubtful = {*group.unsure, *(each.about.id for each in unsure)} - set(group.ids)
    return Phrase(text, group.ids, (*named, *group.attributes), tuple(sorted(doubtful)))


def name_absent(scene: Scene, known: Sequence[str], rng: np.random.Generator) -> Phrase | None:
    """What nothing in the picture could be called by: a concept out of ``known``, or one with a
    colour that none of its kind has.
    """
    if any(each.concept is None for each in scene.seen):
        return None
    here = scene.concepts()
    if here and rng.random() < OTHER_COLOUR:
        concept = sorted(here)[int(rng.integers(len(here)))]
        phrase = _of_no_such_colour(scene, concept, rng)
        if phrase is not None:
            return phrase
    for _ in range(8):
        concept = known[int(rng.integers(len(known)))]
        if not any(related(concept, other) for other in here):
            noun = _pick(every_word_for(concept), rng)
            return Phrase(_pick(("", "", "the "), rng) + noun, (), (concept,))
    return None


def _of_no_such_colour(scene: Scene, concept: str, rng: np.random.Generator) -> Phrase | None:
    """ "Red ring" where there are rings, and nothing that may be one is even partly red."""
    noun = _pick(words_for(concept), rng)
    meant = scene.called(noun) + scene.perhaps_called(noun) + scene.parts(concept)
    if concept in COLOURLESS or any(each.about.semantic for each in meant):
        return None
    most = np.max([each.colours for each in meant], 0)
    missing = [colour for colour, share in zip(COLOURS, most, strict=True) if share < NO_COLOUR]
    if not missing:
        return None
    colour = _pick(missing, rng)
    return Phrase(f"{_pick(('', '', 'the '), rng)}{colour} {noun}", (), (concept, colour))


def _determiner(count: int, rng: np.random.Generator) -> str:
    """What stands before a plural; with the number of things where that is known and small."""
    choices = ["", "", "the ", "all ", "all the "]
    if count == 2:
        choices += ["both ", "both ", "the two ", "two "]
    elif count in NUMBERS:
        choices += [f"{NUMBERS[count]} ", f"all {NUMBERS[count]} ", f"the {NUMBERS[count]} "]
    return _pick(choices, rng)


def _noun_and_rivals(scene: Scene, one: Seen, rng: np.random.Generator) -> tuple[str, list[Seen]]:
    """A word for the object, and everything else in the picture that might be meant by it."""
    others = [each for each in scene.seen if each is not one]
    if one.concept is None:
        return _pick(NAMELESS, rng), others
    concept = one.concept
    narrower = NARROWER.get(concept, ())
    if narrower and scene.siblings and not one.about.semantic and rng.random() < NARROWED:
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
