"""What can be said of the objects of a picture, measured: colour, place and size, and of whom else.

A fact is unique where it holds for its object and clearly fails for everything else that might be
meant. Between clearly true and clearly false lies a wide band in which nothing is said: people
disagree there, and a phrase that misleads costs more than one that is not made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.data.sample import SampleObject
from training.prompts.colours import colour_names
from training.prompts.vocabulary import COLOURS, concept_of, is_part, may_be_called, words_for

# Below this share of the picture an object is not compared with by size.
VISIBLE = 0.002
# How far apart (share of width) two centres must be before "left" tells them apart; of height,
# twice as far, since things that stand on one floor differ in height by their distance alone.
APART = 0.08
# A colour is claimed from this share of the mask on, and denied to a rival below the other.
COLOUR_SHOWN = 0.5
COLOUR_ABSENT = 0.2
SIZE_RATIO = 1.7
# Whoever calls a person "white" rarely means the shirt.
COLOURLESS = frozenset({"person", "face", "skin", "body", "human", "bicyclist", "tv", "sign"})
ORDINALS = ("second", "third", "fourth")


@dataclass(frozen=True)
class Fact:
    """Something true of one object, and the words for it.

    before, after: words before or after the noun. around: words on both its sides. unique: of
    nothing else that was compared. counted: it counts among the others ("second"), so that a
    further word, which might leave some of them out, would change what is counted.
    """

    kind: Literal["colour", "place", "size"]
    attributes: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    around: tuple[tuple[str, str], ...] = ()
    unique: bool = False
    counted: bool = False


@dataclass(frozen=True)
class Seen:
    """What is visible of one object. x, y: centre; x0, x1, y0, y1: box; shares of the picture."""

    about: SampleObject
    concept: str | None
    area: float
    x: float
    y: float
    x0: float
    x1: float
    y0: float
    y1: float
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
        labels = instances.astype(np.int64) + 1
        flat = labels.ravel()
        area = np.bincount(flat, minlength=size).astype(float)
        columns = np.tile(np.arange(width) + 0.5, height)
        rows = np.repeat(np.arange(height) + 0.5, width)
        across = np.bincount(flat, columns, size)
        down = np.bincount(flat, rows, size)
        names = colour_names(image).ravel()
        table = np.bincount(flat * len(COLOURS) + names, minlength=size * len(COLOURS))
        shares = table.reshape(-1, len(COLOURS)) / np.maximum(area, 1)[:, None]
        boxes = ndimage.find_objects(labels)
        seen = []
        for each in objects:
            label = each.id + 1
            if area[label] == 0:
                continue
            vertical, horizontal = boxes[label - 1]
            seen.append(
                Seen(
                    each,
                    None if each.category is None else concept_of(each.category),
                    area[label] / (height * width),
                    across[label] / area[label] / width,
                    down[label] / area[label] / height,
                    horizontal.start / width,
                    horizontal.stop / width,
                    vertical.start / height,
                    vertical.stop / height,
                    shares[label],
                )
            )
        self.seen = tuple(seen)

    def of(self, object_id: int) -> Seen | None:
        """What is visible of this object, if anything is."""
        return next((each for each in self.seen if each.about.id == object_id), None)

    def named(self, concept: str) -> list[Seen]:
        """Every visible object of this concept."""
        return [each for each in self.seen if each.concept == concept]

    def called(self, word: str) -> list[Seen]:
        """Every visible object that is rightly called so."""
        return [each for each in self.seen if _is_called(each, word)]

    def perhaps_called(self, word: str) -> list[Seen]:
        """Those that somebody might call so: kin by category, and things without a name."""
        return [
            each
            for each in self.seen
            if not _is_called(each, word)
            and (each.concept is None or may_be_called(each.concept, word))
        ]

    def parts(self, concept: str) -> list[Seen]:
        """What is annotated by itself but belongs to things of this concept."""
        return [each for each in self.seen if each.concept and is_part(each.concept, concept)]

    def concepts(self) -> set[str]:
        return {each.concept for each in self.seen if each.concept is not None}

    def facts(self, one: Seen, rivals: Sequence[Seen] | None = None) -> list[Fact]:
        """Everything that may be said of this object beside its name.

        rivals: what it is told apart from, by default all others of its concept.
        """
        if rivals is None:
            rivals = [] if one.concept is None else self.named(one.concept)
        rivals = [each for each in rivals if each is not one]
        facts = _colours(one, rivals)
        if one.concept is None or any(each.about.semantic for each in (one, *rivals)):
            return facts
        facts += _places(one, rivals)
        if all(each.area >= VISIBLE for each in (one, *rivals)):
            facts += _sizes(one, rivals)
        return facts


def _is_called(each: Seen, word: str) -> bool:
    return each.concept is not None and (word == each.concept or word in words_for(each.concept))


def _colours(one: Seen, rivals: Sequence[Seen]) -> list[Fact]:
    if one.concept in COLOURLESS:
        return []
    # A region of several may hold one of any colour.
    tellable = bool(rivals) and not any(each.about.semantic for each in rivals)
    first, second = (int(i) for i in np.argsort(one.colours)[::-1][:2])
    absent = [each.colours < COLOUR_ABSENT for each in rivals]
    if one.colours[first] >= COLOUR_SHOWN:
        colour = COLOURS[first]
        return [
            Fact(
                "colour",
                (colour,),
                before=("grey", "gray") if colour == "grey" else (colour,),
                unique=tellable and all(bool(each[first]) for each in absent),
            )
        ]
    both = one.colours[first] + one.colours[second]
    if one.colours[second] > 0.25 and both > 0.8:
        pair = (COLOURS[first], COLOURS[second])
        return [
            Fact(
                "colour",
                pair,
                before=(f"{pair[0]} and {pair[1]}", f"{pair[1]} and {pair[0]}"),
                unique=tellable and all(bool(each[first] or each[second]) for each in absent),
            )
        ]
    return []


def _places(one: Seen, rivals: Sequence[Seen]) -> list[Fact]:
    if not rivals:
        return _place_in_picture(one)
    facts: list[Fact] = []
    order = [_across(one, each) for each in rivals]
    if all(order):
        before, many = order.count(1), len(rivals) > 1
        for side, rank in (("left", before), ("right", len(rivals) - before)):
            if rank == 0:
                facts.append(_outermost(side, many=many))
            elif rank <= len(ORDINALS) and many:
                facts.append(_counted(ORDINALS[rank - 1], side))
        if len(rivals) == 2 and before == 1:
            after = ("in the middle", "in the center", "middle")
            facts.append(
                Fact("place", ("middle",), ("middle", "center"), after, unique=True, counted=True)
            )
    order = [_down(one, each) for each in rivals]
    if all(order):
        for side, wanted in (("top", -1), ("bottom", 1)):
            if order.count(wanted) == len(rivals):
                after = (f"at the {side}", f"at {side}", f"on the {side}")
                facts.append(Fact("place", (side,), (side,), after, unique=True))
    return facts


def _place_in_picture(one: Seen) -> list[Fact]:
    facts = []
    for side, away in (("left", one.x < 0.35), ("right", one.x > 0.65)):
        if away:
            after = (f"on the {side}", f"on {side}", side)
            facts.append(Fact("place", (side,), (side,), after))
    if abs(one.x - 0.5) < 0.1:
        after = ("in the middle", "in the center", "middle")
        facts.append(Fact("place", ("middle",), (), after))
    return facts


def _outermost(side: str, *, many: bool) -> Fact:
    adjectives: tuple[str, ...] = (side, f"{side}most")
    after: tuple[str, ...] = (f"on the {side}", f"on {side}", side, f"to the {side}")
    if many:
        adjectives += (f"far {side}", f"{side} most")
        after += (f"at far {side}", f"on the far {side}")
    return Fact("place", (side,), adjectives, after, unique=True)


def _counted(ordinal: str, side: str) -> Fact:
    after = (f"{ordinal} from the {side}", f"{ordinal} from {side}")
    around = ((ordinal, f"from the {side}"), (ordinal, f"from {side}"))
    return Fact("place", (side,), (), after, around, unique=True, counted=True)


def _across(one: Seen, other: Seen) -> int:
    """-1 where one is clearly left of the other, by centre and by both edges; 1 right; 0 neither.

    Centres alone would call a dog in front of a longer dog "the left one".
    """
    if other.x - one.x >= APART and one.x0 <= other.x0 and one.x1 <= other.x1:
        return -1
    return int(one.x - other.x >= APART and one.x0 >= other.x0 and one.x1 >= other.x1)


def _down(one: Seen, other: Seen) -> int:
    """-1 where one is clearly above the other, 1 below, 0 neither."""
    if other.y - one.y >= 2 * APART and one.y0 <= other.y0 and one.y1 <= other.y1:
        return -1
    return int(one.y - other.y >= 2 * APART and one.y0 >= other.y0 and one.y1 >= other.y1)


def _sizes(one: Seen, rivals: Sequence[Seen]) -> list[Fact]:
    if not rivals:
        return []
    plain = len(rivals) == 1
    if all(one.area > SIZE_RATIO * each.area for each in rivals):
        words = ("biggest", "largest") + (("big", "large") if plain else ())
        return [Fact("size", ("big",), words, unique=True)]
    if all(one.area * SIZE_RATIO < each.area for each in rivals):
        words = ("smallest", "tiniest") + (("small", "little") if plain else ())
        return [Fact("size", ("small",), words, unique=True)]
    return []
