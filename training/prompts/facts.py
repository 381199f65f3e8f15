"""What can be said of an object besides its name: colour, place, size, light and pattern.

A fact is unique if it holds for its object and clearly fails for everything else that might be
meant. Between clearly true and clearly false is a wide margin in which nothing is said: people
disagree there, and a misleading phrase costs more than a missing one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.data.sample import SampleObject
from training.prompts.vocabulary import COLOURS

# Objects below this share of the picture are not compared by size.
VISIBLE = 0.002
# How far apart two centres must be (share of width) before "left" is said. Twice as far
# for height, since things on the same floor differ in height just by their distance.
APART = 0.08
# A colour is said from this share of the mask on; a rival below the other share does not have it.
COLOUR_SHOWN = 0.5
COLOUR_ABSENT = 0.2
SIZE_RATIO = 1.7
# Concepts whose colour is not said: "white person" rarely means the shirt.
COLOURLESS = frozenset({"person", "face", "skin", "body", "human", "bicyclist", "tv", "sign"})
ORDINALS = ("second", "third", "fourth", "fifth")
# Boxes with at least this gap (share of the picture) are in order, however near their centres.
GAP = 0.02
SIDED = frozenset({"left", "right", "front", "back"})
# Least difference in mean level between something darker or brighter and the others.
LIGHT_APART = 40.0
# Up to where something is in a corner, and from where it clearly is not (share of width, height).
CORNER, NO_CORNER = 0.4, 0.55
PATTERN_WORDS = {
    "striped": (("striped", "striped", "stripy"), ("with stripes",)),
    "dotted": (("dotted", "spotted"), ("with dots", "with spots")),
    "checkered": (("checkered", "checked"), ()),
    "plain": (("plain",), ()),
}
"""Words before and after the noun for each surface trait of a data set."""


# Words for one of two things or for several of many, and words for one of any number.
MORE = {
    "big": ("big", "large", "bigger", "larger"),
    "small": ("small", "little", "smaller"),
    "dark": ("dark", "darker"),
    "bright": ("bright", "brighter"),
}
MOST = {
    "big": ("biggest", "largest"),
    "small": ("smallest", "tiniest"),
    "dark": ("darkest",),
    "bright": ("brightest",),
}


def colour_words(colour: str) -> tuple[str, ...]:
    return ("grey", "gray") if colour == "grey" else (colour,)


@dataclass(frozen=True)
class Fact:
    """Something true of one object, and the words for it.

    before, after: words before or after the noun. around: words on both sides of it. unique: true
    of nothing else that was compared. counted: it counts among the others ("second"), so adding
    another word could change what is counted.
    """

    attributes: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    around: tuple[tuple[str, str], ...] = ()
    unique: bool = False
    counted: bool = False


class Extent(NamedTuple):
    """Where something begins, has its centre and ends, as shares of the picture."""

    start: float
    middle: float
    end: float


@dataclass(frozen=True)
class VisibleObject:
    """The visible part of one object.

    area: share of the picture. across, down: from left to right, from top to bottom. colours: the
    share of its pixels of each of `COLOURS`. light: mean level, 0 to 255.
    """

    about: SampleObject
    concept: str | None
    area: float
    across: Extent
    down: Extent
    colours: NDArray[np.float64]
    light: float


def facts_of(
    one: VisibleObject, rivals: Sequence[VisibleObject], *, comparable: bool
) -> list[Fact]:
    """Everything that can be said of an object besides its name.

    rivals: the objects to distinguish it from. comparable: whether all rivals are annotated, named
    and single things, so that place and size can be compared.
    """
    facts = _colours(one, rivals)
    if comparable:
        # A name with a side in it ("left mirror") gets no second one.
        if not set((one.concept or "").split()) & SIDED:
            facts += _places(one, rivals)
        facts += _patterns(one, rivals)
        if all(thing.area >= VISIBLE for thing in (one, *rivals)):
            facts += _extremes(one, rivals)
    return facts


def _colours(one: VisibleObject, rivals: Sequence[VisibleObject]) -> list[Fact]:
    if one.concept in COLOURLESS:
        return []
    # A region of several objects may contain one of any colour.
    tellable = bool(rivals) and not any(rival.about.semantic for rival in rivals)
    first, second = (int(i) for i in np.argsort(one.colours)[::-1][:2])
    shown = [first]
    if one.colours[first] < COLOUR_SHOWN:
        if one.colours[second] <= 0.25 or one.colours[first] + one.colours[second] <= 0.8:
            return []
        shown.append(second)
    names = tuple(COLOURS[place] for place in shown)
    words = colour_words(names[0])
    if len(names) == 2:
        words = (" and ".join(names), " and ".join(reversed(names)))
    unique = tellable and all(rival.colours[shown].min() < COLOUR_ABSENT for rival in rivals)
    return [Fact(names, words, unique=unique)]


def _places(one: VisibleObject, rivals: Sequence[VisibleObject]) -> list[Fact]:
    if not rivals:
        return _place_in_picture(one)
    facts: list[Fact] = []
    many = len(rivals) > 1
    for order, (first, last) in (
        ([_order(one.across, rival.across, APART) for rival in rivals], ("left", "right")),
        ([_order(one.down, rival.down, 2 * APART) for rival in rivals], ("top", "bottom")),
    ):
        if not all(order):
            continue
        before = order.count(1)
        for side, rank in ((first, before), (last, len(rivals) - before)):
            if rank == 0:
                facts.append(_outermost(side, many=many))
            elif many and rank <= len(ORDINALS):
                facts.append(_counted(ORDINALS[rank - 1], side))
        if first == "left" and len(rivals) == 2 and before == 1:
            after = ("in the middle", "in the center", "middle")
            facts.append(Fact(("middle",), ("middle", "center"), after, unique=True, counted=True))
    return facts + _corners(one, rivals)


def _corners(one: VisibleObject, rivals: Sequence[VisibleObject]) -> list[Fact]:
    """The corner of the picture that the object is in, if no rival is near that corner."""
    for down, height in (("top", "upper"), ("bottom", "lower")):
        for across in ("left", "right"):
            if _from_corner(one, down, across) >= CORNER:
                continue
            if any(_from_corner(rival, down, across) < NO_CORNER for rival in rivals):
                continue
            words = (f"{down} {across}", f"{height} {across}")
            after = (f"at the {words[0]}", f"in the {words[0]} corner", words[1])
            return [Fact((down, across), words, after, unique=True)]
    return []


def _from_corner(thing: VisibleObject, down: str, across: str) -> float:
    """The larger distance of its centre from the two sides, as a share of the picture."""
    x, y = thing.across.middle, thing.down.middle
    return max(x if across == "left" else 1 - x, y if down == "top" else 1 - y)


def _place_in_picture(one: VisibleObject) -> list[Fact]:
    facts = []
    x = one.across.middle
    for side, away in (("left", x < 0.35), ("right", x > 0.65)):
        if away:
            after = (f"on the {side}", f"on {side}", side)
            facts.append(Fact((side,), (side,), after))
    if abs(x - 0.5) < 0.1:
        after = ("in the middle", "in the center", "middle")
        facts.append(Fact(("middle",), (), after))
    return facts


def _outermost(side: str, *, many: bool) -> Fact:
    adjectives: tuple[str, ...] = (side, f"{side}most")
    after: tuple[str, ...] = (f"on the {side}", f"on {side}", side, f"to the {side}")
    if side in ("top", "bottom"):
        adjectives = (side, "upper" if side == "top" else "lower")
        after = (f"at the {side}", f"at {side}", f"on the {side}")
        if many:
            adjectives = (side, f"{side}most", "highest" if side == "top" else "lowest")
    elif many:
        adjectives += (f"far {side}", f"{side} most")
        after += (f"at far {side}", f"on the far {side}")
    if many:
        after += (f"first from the {side}",)
    return Fact((side,), adjectives, after, unique=True)


def _counted(ordinal: str, side: str) -> Fact:
    after = (f"{ordinal} from the {side}", f"{ordinal} from {side}")
    around = ((ordinal, f"from the {side}"), (ordinal, f"from {side}"))
    return Fact((side,), (), after, around, unique=True, counted=True)


def _order(one: Extent, other: Extent, apart: float) -> int:
    """-1 if ``one`` is clearly before the other, by centre and both edges; 1 after; 0 neither.

    By centres alone, a dog in front of a longer dog would be "the left one".
    """
    (low, middle, high), (other_low, other_middle, other_high) = one, other
    if other_low - high >= GAP:
        return -1
    if low - other_high >= GAP:
        return 1
    if other_middle - middle >= apart and low <= other_low and high <= other_high:
        return -1
    return int(middle - other_middle >= apart and low >= other_low and high >= other_high)


def _extremes(one: VisibleObject, rivals: Sequence[VisibleObject]) -> list[Fact]:
    """Of the objects the biggest or smallest, the darkest or brightest.

    "Bright" is never black, "dark" never white.
    """
    if not rivals:
        return []
    main = COLOURS[int(one.colours.argmax())] if one.concept not in COLOURLESS else ""
    darker = [rival.light - one.light for rival in rivals]
    holds = {
        "big": all(one.area > SIZE_RATIO * rival.area for rival in rivals),
        "small": all(one.area * SIZE_RATIO < rival.area for rival in rivals),
        "dark": main not in ("", "white") and min(darker) >= LIGHT_APART,
        "bright": main not in ("", "black") and -max(darker) >= LIGHT_APART,
    }
    return [
        Fact((word,), MOST[word] + (MORE[word] if len(rivals) == 1 else ()), unique=True)
        for word, true in holds.items()
        if true
    ]


def _patterns(one: VisibleObject, rivals: Sequence[VisibleObject]) -> list[Fact]:
    """Surface traits from the data set; unique if all rivals have another known trait."""
    facts = []
    for trait in one.about.traits:
        if trait not in PATTERN_WORDS:
            continue
        others = [rival.about.traits for rival in rivals]
        if trait == "plain" and all(trait in traits or not traits for traits in others):
            continue
        before, after = PATTERN_WORDS[trait]
        unique = bool(others) and all(traits and trait not in traits for traits in others)
        facts.append(Fact((trait,), before, after, unique=unique))
    return facts
