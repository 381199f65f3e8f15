"""What some objects of a kind have in common and the others lack: "the red ones", "the top row".

As with facts of one object, anything neither clearly in nor clearly out is `unsure`: neither answer
is wrong there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.data.sample import pick
from training.prompts import facts
from training.prompts.facts import COLOUR_ABSENT, COLOUR_SHOWN, Extent, VisibleObject
from training.prompts.vocabulary import COLOURS, SIZES

# Centres up to here are on the left (or at the top), and from 1 - SIDE on the right.
SIDE = 0.4
SIDE_WORDS = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top", "in the top half"),
    "bottom": ("at the bottom", "in the bottom half"),
}
# Largest ratio of areas among things of one size.
SAME_SIZE = 3.0
# Rows are clear if the gaps between them are this many times the spread within a row.
ROW_APART = 2.0


@dataclass(frozen=True)
class Group:
    """Several things by their ids, and words before and after the noun. unsure: perhaps in it."""

    kind: Literal["colour", "pattern", "size", "light", "side", "row"]
    ids: tuple[int, ...]
    unsure: tuple[int, ...]
    attributes: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def said(self, noun: str, rng: np.random.Generator) -> str:
        """The plural noun with the group's words."""
        if self.before and (not self.after or rng.random() < 0.6):
            return f"{pick(self.before, rng)} {noun}"
        after = pick(self.after, rng)
        # "top row of windows" has its own place for the noun.
        return after.format(noun) if "{}" in after else f"{noun} {after}"

    def joined(self, other: Group) -> Group | None:
        """The intersection, with the words of both; None if the words do not go together."""
        if not self.before or set(self.attributes) & set(other.attributes):
            return None
        first, second = set(self.ids), set(other.ids)
        perhaps = (first | set(self.unsure)) & (second | set(other.unsure))
        both = first & second
        return Group(
            self.kind,
            tuple(sorted(both)),
            tuple(sorted(perhaps - both)),
            (*self.attributes, *other.attributes),
            tuple(f"{mine} {theirs}" for mine in self.before for theirs in other.before),
            tuple(f"{mine} {{}} {theirs}" for mine in self.before for theirs in other.after),
        )


def groups_of(these: Sequence[VisibleObject]) -> list[Group]:
    """Every group of two or more, but not all, of these things, which share a noun."""
    if len(these) < 3 or any(thing.about.semantic for thing in these):
        return []
    groups = [*_colours(these), *_patterns(these), *_sides(these), *_rows(these)]
    if all(thing.area >= facts.VISIBLE / 4 for thing in these):
        groups += _sizes(these)
        groups += _lights(these)
    return [group for group in groups if 2 <= len(group.ids) < len(these)]


def _ids(these: Iterable[VisibleObject]) -> tuple[int, ...]:
    return tuple(thing.about.id for thing in these)


def _colours(these: Sequence[VisibleObject]) -> list[Group]:
    if these[0].concept in facts.COLOURLESS:
        return []
    groups = []
    for place, colour in enumerate(COLOURS):
        inside = _ids(thing for thing in these if thing.colours[place] >= COLOUR_SHOWN)
        unsure = _ids(t for t in these if COLOUR_ABSENT <= t.colours[place] < COLOUR_SHOWN)
        groups.append(Group("colour", inside, unsure, (colour,), facts.colour_words(colour)))
    return groups


def _patterns(these: Sequence[VisibleObject]) -> list[Group]:
    unsure = _ids(thing for thing in these if not thing.about.traits)
    groups = []
    for trait, (before, after) in facts.PATTERN_WORDS.items():
        inside = _ids(thing for thing in these if trait in thing.about.traits)
        groups.append(Group("pattern", inside, unsure, (trait,), before, after))
    return groups


def _sizes(these: Sequence[VisibleObject]) -> list[Group]:
    """Small and big ones, if nothing has a size in between."""
    small, big, step = _halves(these, lambda thing: math.log(thing.area))
    alike = all(part[-1].area <= SAME_SIZE * part[0].area for part in (small, big))
    if step < math.log(facts.SIZE_RATIO) or not alike:
        return []
    return [_compared("small", small), _compared("big", big)]


def _lights(these: Sequence[VisibleObject]) -> list[Group]:
    dark, bright, step = _halves(these, lambda thing: thing.light)
    if step < facts.LIGHT_APART or these[0].concept in facts.COLOURLESS:
        return []
    return [_compared("dark", dark), _compared("bright", bright)]


def _compared(word: str, these: Sequence[VisibleObject]) -> Group:
    return Group("size" if word in SIZES else "light", _ids(these), (), (word,), facts.MORE[word])


def _halves(
    these: Sequence[VisibleObject], value: Callable[[VisibleObject], float]
) -> tuple[list[VisibleObject], list[VisibleObject], float]:
    """The things below and above the largest step of a value, and that step."""
    order = sorted(these, key=value)
    steps = [value(after) - value(before) for before, after in itertools.pairwise(order)]
    cut = int(np.argmax(steps)) + 1
    return order[:cut], order[cut:], steps[cut - 1]


def _sides(these: Sequence[VisibleObject]) -> list[Group]:
    groups = []
    for side, words in SIDE_WORDS.items():
        across = side in ("left", "right")
        places = {t.about.id: (t.across if across else t.down).middle for t in these}
        away = {i: p if side in ("left", "top") else 1 - p for i, p in places.items()}
        inside = tuple(i for i, far in away.items() if far <= SIDE)
        unsure = tuple(i for i, far in away.items() if SIDE < far < 1 - SIDE)
        groups.append(Group("side", inside, unsure, (side,), (), words))
    return groups


def _rows(these: Sequence[VisibleObject]) -> list[Group]:
    """Rows and columns, if the things form a grid or lines."""
    groups = []
    rows = _lines([(thing, thing.down) for thing in these])
    columns = _lines([(thing, thing.across) for thing in these])
    for name, ends, lines in (
        ("row", ("top", "bottom"), rows),
        ("column", ("left", "right"), columns),
    ):
        if len(lines) < 2 or min(len(line) for line in lines) < 2:
            continue
        for number, line in enumerate(lines):
            ids = _ids(line)
            for end, rank in zip(ends, (number, len(lines) - 1 - number), strict=True):
                if rank == 0:
                    words = (f"{end} {name} of {{}}", f"in the {end} {name}")
                    groups.append(Group("row", ids, (), (end,), (), words))
                elif rank <= len(facts.ORDINALS) and len(lines) > 2:
                    words = (
                        f"{facts.ORDINALS[rank - 1]} {name} of {{}} from the {end}",
                        f"in the {facts.ORDINALS[rank - 1]} {name} from the {end}",
                    )
                    groups.append(Group("row", ids, (), (end,), (), words))
    return groups


def _lines(extents: Sequence[tuple[VisibleObject, Extent]]) -> list[list[VisibleObject]]:
    """The things by row or column, in order; empty if the lines are not clear."""
    order = sorted(extents, key=lambda item: item[1].middle)
    steps = np.diff([extent.middle for _, extent in order])
    size = float(np.median([extent.end - extent.start for _, extent in order]))
    breaks = [0, *(np.flatnonzero(steps > 0.7 * size) + 1).tolist(), len(order)]
    lines = [order[start:stop] for start, stop in itertools.pairwise(breaks)]
    widest = max(line[-1][1].middle - line[0][1].middle for line in lines)
    gaps = [steps[place - 1] for place in breaks[1:-1]]
    clear = bool(gaps) and min(gaps) >= ROW_APART * max(widest, 0.01)
    return [[thing for thing, _ in line] for line in lines] if clear else []
