"""Phrases for pictures that have none: true of the mask, its category and its siblings.

A `Scene` measures once what can be said of each object (colour inside the mask, place and size
against siblings of its concept); the functions below put such facts into varied words. A phrase
about one of several siblings is made only from facts that single it out, so that what it claims to
denote is the one thing it can denote.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.datasets.sample import SampleObject
from training.vocabulary import COLOURS, concept_of, plural_of, related, words_for

# Below these shares of the picture an object is neither named as a sibling nor compared with one.
VISIBLE = 0.002
# How far apart (share of width or height) two centres must be before "left" tells them apart.
APART = 0.08
# A colour is claimed from this share of the mask on, and denied to a sibling below the other.
COLOUR_SHOWN = 0.5
COLOUR_ABSENT = 0.2
SIZE_RATIO = 1.7
# Whoever calls a person "white" rarely means the shirt.
COLOURLESS = frozenset({"person", "face", "skin", "body", "human", "bicyclist", "tv", "sign"})
ORDINALS = ("second", "third", "fourth")


@dataclass(frozen=True)
class Phrase:
    """A phrase, the ids it denotes (none: it names what is not there), and what it holds."""

    text: str
    ids: tuple[int, ...]
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """Something true of one object: the word before the noun, or the words after it."""

    attributes: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    unique: bool = False


@dataclass(frozen=True)
class Seen:
    """What is visible of one object. x, y: centre as a share of width and height."""

    about: SampleObject
    concept: str | None
    area: float
    x: float
    y: float
    colours: NDArray[np.float64]


class Scene:
    """All objects visible in a picture, and what is true of them."""

    def __init__(
        self,
        image: NDArray[np.uint8],
        instances: NDArray[np.int16],
        objects: Sequence[SampleObject],
    ) -> None:
        height, width = instances.shape
        size = max([int(instances.max(initial=0))] + [each.id for each in objects]) + 2
        flat = (instances.astype(np.int64) + 1).ravel()
        area = np.bincount(flat, minlength=size).astype(float)
        columns = np.tile(np.arange(width), height)
        rows = np.repeat(np.arange(height), width)
        across = np.bincount(flat, columns, size)
        down = np.bincount(flat, rows, size)
        names = colour_names(image).ravel()
        table = np.bincount(flat * len(COLOURS) + names, minlength=size * len(COLOURS))
        shares = table.reshape(-1, len(COLOURS)) / np.maximum(area, 1)[:, None]
        self.seen = tuple(
            Seen(
                each,
                None if each.category is None else concept_of(each.category),
                area[each.id + 1] / (height * width),
                across[each.id + 1] / area[each.id + 1] / width,
                down[each.id + 1] / area[each.id + 1] / height,
                shares[each.id + 1],
            )
            for each in objects
            if area[each.id + 1] > 0
        )

    def of(self, object_id: int) -> Seen | None:
        """What is visible of this object, if anything is."""
        return next((each for each in self.seen if each.about.id == object_id), None)

    def named(self, concept: str) -> list[Seen]:
        """Every visible object that this concept's own name denotes."""
        return [each for each in self.seen if each.concept == concept]

    def concepts(self) -> set[str]:
        return {each.concept for each in self.seen if each.concept is not None}

    def facts(self, one: Seen) -> list[Fact]:
        """Everything that may be said of this object beside its name."""
        if one.concept is None:
            return _colours(one, [])
        siblings = [each for each in self.named(one.concept) if each is not one]
        if any(each.about.semantic for each in (one, *siblings)):
            return _colours(one, siblings)
        facts = _colours(one, siblings) + _places(one, siblings)
        large = [each for each in siblings if each.area >= VISIBLE]
        return facts + _sizes(one, siblings) if len(large) == len(siblings) else facts


def describe(scene: Scene, one: Seen, rng: np.random.Generator, *, unique: bool) -> Phrase | None:
    """A phrase for one object. ``unique``: None where nothing singles it out among siblings."""
    facts = scene.facts(one)
    alone = one.concept is not None and len(scene.named(one.concept)) == 1
    chosen: list[Fact] = []
    if unique and not alone:
        telling = [fact for fact in facts if fact.unique]
        if not telling:
            return None
        chosen.append(telling[int(rng.integers(len(telling)))])
    others = [fact for fact in facts if not _clash(fact, chosen)]
    if others and rng.random() < (0.35 if chosen else 0.45):
        chosen.append(others[int(rng.integers(len(others)))])
    if one.concept is None:
        noun = str(rng.choice(["object", "thing", "one", "part"]))
    else:
        noun = _pick(words_for(one.concept), rng)
    return Phrase(_wording(noun, chosen, rng), (one.about.id,), _attributes(one.concept, chosen))


def name_all(scene: Scene, concept: str, rng: np.random.Generator) -> Phrase:
    """The bare category: it denotes every such object in the picture."""
    these = scene.named(concept)
    noun = _pick(words_for(concept), rng)
    several = len(these) > 1 or any(each.about.semantic for each in these)
    if several and rng.random() < 0.5:
        noun = plural_of(noun)
        prefix = str(rng.choice(["", "", "the ", "all ", "all the "]))
    else:
        prefix = str(rng.choice(["", "", "the ", "a "]))
    return Phrase(prefix + noun, tuple(each.about.id for each in these), (concept,))


def name_absent(scene: Scene, known: Sequence[str], rng: np.random.Generator) -> Phrase | None:
    """A concept out of ``known`` that nothing in the picture could be called by."""
    here = scene.concepts()
    for _ in range(8):
        concept = known[int(rng.integers(len(known)))]
        if not any(related(concept, other) for other in here):
            prefix = str(rng.choice(["", "", "the "]))
            return Phrase(prefix + _pick(words_for(concept), rng), (), (concept,))
    return None


def colour_names(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """H,W indices into `COLOURS`, by a table over the upper five bits of each channel."""
    bits = (image >> 3).astype(np.int64)
    names: NDArray[np.int64] = _colour_table()[
        (bits[..., 0] << 10) | (bits[..., 1] << 5) | bits[..., 2]
    ]
    return names


@functools.cache
def _colour_table() -> NDArray[np.int64]:
    levels = (np.arange(32) * 8 + 4) / 255.0
    red, green, blue = np.meshgrid(levels, levels, levels, indexing="ij")
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    safe = np.where(chroma == 0, 1.0, chroma)
    hue = np.where(
        value == red,
        ((green - blue) / safe) % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = hue * 60.0
    saturation = np.where(value > 0, chroma / np.maximum(value, 1e-6), 0)
    index = {name: place for place, name in enumerate(COLOURS)}
    warm = (hue >= 12) & (hue < 50)
    names = np.select(
        [
            value < 0.2,
            (saturation < 0.15) & (value > 0.75),
            (saturation < 0.15) & (value < 0.3),
            saturation < 0.15,
            warm & ((value < 0.7) | (saturation < 0.55)),
            warm & (hue < 40),
            (hue < 12) & (saturation < 0.5) & (value > 0.7),
            (hue < 12) | (hue >= 345),
            (hue < 68) & (value < 0.35),
            hue < 68,
            hue < 165,
            hue < 258,
            hue < 295,
        ],
        [
            index["black"],
            index["white"],
            index["black"],
            index["grey"],
            index["brown"],
            index["orange"],
            index["pink"],
            index["red"],
            index["brown"],
            index["yellow"],
            index["green"],
            index["blue"],
            index["purple"],
        ],
        index["pink"],
    )
    table: NDArray[np.int64] = names.astype(np.int64).ravel()
    return table


def _colours(one: Seen, siblings: Sequence[Seen]) -> list[Fact]:
    if one.concept in COLOURLESS:
        return []
    facts = []
    best = int(one.colours.argmax())
    if one.colours[best] >= COLOUR_SHOWN:
        unique = bool(siblings) and all(s.colours[best] < COLOUR_ABSENT for s in siblings)
        colour = COLOURS[best]
        spoken = ("grey", "gray") if colour == "grey" else (colour,)
        facts.append(Fact((colour,), before=spoken, unique=unique))
    first, second = (int(i) for i in np.argsort(one.colours)[::-1][:2])
    if min(one.colours[first], one.colours[second]) > 0.25 and not facts:
        pair = (COLOURS[first], COLOURS[second])
        if one.colours[first] + one.colours[second] > 0.8:
            facts.append(Fact(pair, before=(f"{pair[0]} and {pair[1]}",)))
    return facts


def _places(one: Seen, siblings: Sequence[Seen]) -> list[Fact]:
    facts: list[Fact] = []
    after: tuple[str, ...]
    if not siblings:
        for side, away in (("left", one.x < 0.35), ("right", one.x > 0.65)):
            if away:
                facts.append(Fact((side,), (side,), (f"on the {side}", f"on {side}", side)))
        if abs(one.x - 0.5) < 0.1:
            facts.append(Fact(("middle",), (), ("in the middle", "in the center", "middle")))
        return facts
    before = [each for each in siblings if each.x < one.x]
    if all(abs(each.x - one.x) >= APART for each in siblings):
        most = len(siblings) > 1
        for side, rank in (("left", len(before)), ("right", len(siblings) - len(before))):
            if rank == 0:
                adjectives: tuple[str, ...] = (side, f"{side}most", f"far {side}", f"{side} most")
                after = (f"on the {side}", f"on {side}", side, f"to the {side}", f"at far {side}")
                if not most:
                    adjectives, after = adjectives[:2], after[:4]
                facts.append(Fact((side,), adjectives, after, unique=True))
            elif rank <= len(ORDINALS) and most:
                ordinal = ORDINALS[rank - 1]
                after = (f"{ordinal} from the {side}", f"{ordinal} from {side}")
                facts.append(Fact((side,), (), after, unique=True))
        if len(siblings) == 2 and len(before) == 1:
            after = ("in the middle", "in the center", "middle")
            facts.append(Fact(("middle",), ("middle", "center"), after, unique=True))
    if all(abs(each.y - one.y) >= 2 * APART for each in siblings):
        above = sum(each.y < one.y for each in siblings)
        for side, rank in (("top", above), ("bottom", len(siblings) - above)):
            if rank == 0:
                after = (f"at the {side}", f"on {side}", f"at {side}")
                facts.append(Fact((side,), (side,), after, unique=True))
    return facts


def _sizes(one: Seen, siblings: Sequence[Seen]) -> list[Fact]:
    if not siblings:
        return []
    most = ("biggest", "largest"), ("smallest", "tiniest")
    plain = ("big", "large"), ("small", "little")
    facts = []
    for index, size in enumerate(("big", "small")):
        larger, smaller = (one.area, [s.area for s in siblings])
        stands_out = (
            all(larger > SIZE_RATIO * area for area in smaller)
            if size == "big"
            else all(larger * SIZE_RATIO < area for area in smaller)
        )
        if stands_out:
            words = most[index] + (plain[index] if len(siblings) == 1 else ())
            facts.append(Fact((size,), words, unique=True))
    return facts


def _clash(fact: Fact, chosen: Sequence[Fact]) -> bool:
    return any(fact is other or set(fact.attributes) & set(other.attributes) for other in chosen)


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _wording(noun: str, facts: Sequence[Fact], rng: np.random.Generator) -> str:
    """Noun and facts in one of the orders in which people say them."""
    before: list[str] = []
    after: list[str] = []
    for fact in facts:
        if fact.before and (not fact.after or rng.random() < 0.6):
            before.append(_pick(fact.before, rng))
        else:
            after.append(_pick(fact.after, rng))
    if rng.random() < 0.5:
        before.reverse()
    article = _pick(("", "", "", "the ", "the ", "a " if not facts else ""), rng)
    joined = article + " ".join([*before, noun, *after])
    if after and not before and rng.random() < 0.15:
        return " ".join([*after, noun])
    return joined


def _attributes(concept: str | None, facts: Sequence[Fact]) -> tuple[str, ...]:
    named = () if concept is None else (concept,)
    return (*named, *(name for fact in facts for name in fact.attributes))
