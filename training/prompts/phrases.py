"""Generated phrases for pictures without any: true of the mask, its category and its siblings.

`Scene` (scenes.py) measures what can be said; the functions here put facts into varied words.
The noun is chosen first, since it decides what else may be meant: a dog must be distinguished from
other dogs, and a handbag called "bag" from a backpack. A phrase for one thing alone is made from
facts that single it out, or not at all.

Words narrower than the annotation ("woman" for a person) cannot be checked. They are used only if
nothing else could be meant, so they never point elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.data.sample import pick
from training.prompts.facts import COLOURLESS, Fact, VisibleObject
from training.prompts.groups import groups_of
from training.prompts.scenes import Phrase, Scene
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
# How often a phrase for several names what some of them have in common, if anything.
SOME = 0.45
# How often an absent thing is one in a colour that its kind does not have in this picture; a colour
# with at most this share of pixels is absent.
OTHER_COLOUR = 0.35
NO_COLOUR = 0.02
NUMBERS = {3: "three", 4: "four", 5: "five", 6: "six"}
# How often the noun is left out ("biggest") if the picture shows nothing of another kind.
NO_NOUN = 0.25


def describe(
    scene: Scene, one: VisibleObject, rng: np.random.Generator, *, unique: bool
) -> Phrase | None:
    """A phrase for one object. unique: it must single the object out; None if nothing does."""
    noun, rivals = _noun_and_rivals(scene, one, rng)
    facts = scene.facts(one, rivals)
    alone = one.concept is not None and not rivals and not one.about.semantic and scene.siblings
    chosen: list[Fact] = []
    if unique and not alone:
        telling = [fact for fact in facts if fact.unique]
        if not telling:
            return None
        chosen.append(pick(telling, rng))
    others = [fact for fact in facts if not _clash(fact, chosen)]
    if others and rng.random() < (0.35 if chosen else 0.45):
        chosen.append(pick(others, rng))
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
    """The bare category name, which denotes every object in the picture with that name."""
    noun = ""
    for _ in range(4):
        # Prefer a noun that leaves nothing in doubt.
        noun = pick(words_for(concept), rng)
        if not scene.perhaps_called(noun):
            break
    these = scene.called(noun)
    unsure = scene.perhaps_called(noun) + scene.parts(concept)
    countable = not unsure and not any(thing.about.semantic for thing in these)
    several = len(these) > 1 or any(thing.about.semantic for thing in these)
    if not several and not unsure and concept in NARROWER and rng.random() < NARROWED:
        noun = pick(NARROWER[concept], rng)
    if several and rng.random() < 0.5:
        text = _determiner(len(these) if countable else 0, rng) + plural_of(noun)
    elif several:
        text = noun
    else:
        text = _article(noun, (), rng, singled_out=True) + noun
    ids = tuple(thing.about.id for thing in these)
    left_out = tuple(thing.about.id for thing in unsure if thing.about.id not in ids)
    return Phrase(text, ids, (concept,), left_out)


def name_several(scene: Scene, concept: str, rng: np.random.Generator) -> Phrase:
    """All of a concept, or those of them that one more word tells from the rest ("red rings")."""
    if rng.random() < SOME:
        some = name_some(scene, concept, rng)
        if some is not None:
            return some
    return name_all(scene, concept, rng)


def name_some(scene: Scene, concept: str, rng: np.random.Generator) -> Phrase | None:
    """Several of a concept, by what they have in common and others lack; None without a group."""
    noun = pick(words_for(concept), rng)
    these = scene.called(noun)
    groups = groups_of(these)
    if not groups:
        return None
    group = pick(groups, rng)
    others = [g for g in groups if g.kind not in (group.kind, "row") and group.kind != "row"]
    joined = None
    if others and rng.random() < 0.3:
        joined = group.joined(pick(others, rng))
    group = joined if joined is not None and len(joined.ids) > 1 else group
    alone = len(these) == len(scene.seen)
    said = "ones" if alone and rng.random() < NO_NOUN else plural_of(noun)
    count = len(group.ids) if not group.unsure else 0
    text = _determiner(count if group.kind != "row" else 0, rng) + group.said(said, rng)
    named = () if said == "ones" else (concept,)
    unsure = scene.perhaps_called(noun) + scene.parts(concept)
    doubtful = {*group.unsure, *(thing.about.id for thing in unsure)} - set(group.ids)
    return Phrase(text, group.ids, (*named, *group.attributes), tuple(sorted(doubtful)))


def name_absent(scene: Scene, known: Sequence[str], rng: np.random.Generator) -> Phrase | None:
    """A phrase for something absent: a concept out of ``known``, or a colour that no object of a
    kind has. None if anything in the picture has no category, or nothing was found.
    """
    if any(thing.concept is None for thing in scene.seen):
        return None
    here = scene.concepts()
    if here and rng.random() < OTHER_COLOUR:
        concept = pick(sorted(here), rng)
        phrase = _of_no_such_colour(scene, concept, rng)
        if phrase is not None:
            return phrase
    for _ in range(8):
        concept = pick(known, rng)
        if not any(related(concept, other) for other in here):
            noun = pick(every_word_for(concept), rng)
            return Phrase(pick(("", "", "the "), rng) + noun, (), (concept,))
    return None


def _of_no_such_colour(scene: Scene, concept: str, rng: np.random.Generator) -> Phrase | None:
    """ "Red ring" if there are rings and nothing that may be one is even partly red."""
    noun = pick(words_for(concept), rng)
    meant = scene.called(noun) + scene.perhaps_called(noun) + scene.parts(concept)
    if concept in COLOURLESS or any(thing.about.semantic for thing in meant):
        return None
    most = np.max([thing.colours for thing in meant], 0)
    missing = [colour for colour, share in zip(COLOURS, most, strict=True) if share < NO_COLOUR]
    if not missing:
        return None
    colour = pick(missing, rng)
    return Phrase(f"{pick(('', '', 'the '), rng)}{colour} {noun}", (), (concept, colour))


def _determiner(count: int, rng: np.random.Generator) -> str:
    """The determiner of a plural. count: the number of things, used if small; 0: unknown."""
    choices = ["", "", "the ", "all ", "all the "]
    if count == 2:
        choices += ["both ", "both ", "the two ", "two "]
    elif count in NUMBERS:
        choices += [f"{NUMBERS[count]} ", f"all {NUMBERS[count]} ", f"the {NUMBERS[count]} "]
    return pick(choices, rng)


def _noun_and_rivals(
    scene: Scene, one: VisibleObject, rng: np.random.Generator
) -> tuple[str, list[VisibleObject]]:
    """A noun for the object, and all other objects in the picture that it might mean."""
    others = [other for other in scene.seen if other is not one]
    if one.concept is None:
        return pick(NAMELESS, rng), others
    concept = one.concept
    narrower = NARROWER.get(concept, ())
    if narrower and scene.siblings and not one.about.semantic and rng.random() < NARROWED:
        words = every_word_for(concept)
        named = [other.concept for other in others]
        if not any(name is None or any(may_be_called(name, w) for w in words) for name in named):
            return pick(narrower, rng), []
    noun = pick(words_for(concept), rng)
    meant = scene.called(noun) + scene.perhaps_called(noun)
    return noun, [other for other in meant if other is not one]


def _clash(fact: Fact, chosen: Sequence[Fact]) -> bool:
    """Whether the fact repeats a chosen one, or would change what one of them counts."""
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
    """Mostly none, as people type; "the" only if one thing is singled out."""
    choices = ["", "", ""]
    if singled_out:
        choices += ["the ", "the "]
    if not facts and plural_of(noun) != noun:
        choices.append("an " if noun[:1] in "aeiou" else "a ")
    return pick(choices, rng)


def _wording(noun: str, facts: Sequence[Fact], rng: np.random.Generator) -> str:
    """Noun and facts in one of the usual orders."""
    said = [_fact_words(fact, rng) for fact in facts]
    if rng.random() < 0.5:
        said.reverse()
    before = [words for words, _ in said if words]
    after = [words for _, words in said if words]
    if noun and len(after) == 1 and not before and rng.random() < 0.15:
        return f"{after[0]} {noun}"
    return " ".join([*before, *([noun] if noun else []), *after])


def _fact_words(fact: Fact, rng: np.random.Generator) -> tuple[str, str]:
    """Words before the noun and words after it."""
    if fact.around and rng.random() < 0.4:
        return pick(fact.around, rng)
    if fact.before and (not fact.after or rng.random() < 0.6):
        return pick(fact.before, rng), ""
    return "", pick(fact.after, rng)
