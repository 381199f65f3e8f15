"""What some objects of a kind have in common and the others lack: "the red ones", "the top row".

As with facts of one object, anything neither clearly in nor clearly out is `unsure`: neither answer
is wrong there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.prompts.facts import (
    COLOUR_ABSENT,
    COLOUR_SHOWN,
    COLOURLESS,
    LIGHT_APART,
    ORDINALS,
    PATTERN_WORDS,
    SIZE_RATIO,
    VISIBLE,
    VisibleObject,
)
from training.prompts.vocabulary import COLOURS

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
            return f"{self.before[int(rng.integers(len(self.before)))]} {noun}"
        after = self.after[int(rng.integers(len(self.after)))]
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
    if all(thing.area >= VISIBLE / 4 for thing in these):
        groups += _sizes(these)
        groups += _lights(these)
    return [group for group in groups if 2 <= len(group.ids) < len(these)]


def _ids(these: Sequence[VisibleObject], holds: Callable[[VisibleObject], bool]) -> tuple[int, ...]:
    return tuple(thing.about.id for thing in these if holds(thing))


def _colours(these: Sequence[VisibleObject]) -> list[Group]:
    if these[0].concept in COLOURLESS:
        return []
    groups = []
    for place, colour in enumerate(COLOURS):
        shares = {thing.about.id: float(thing.colours[place]) for thing in these}
        inside = tuple(i for i, share in shares.items() if share >= COLOUR_SHOWN)
        unsure = tuple(i for i, s in shares.items() if COLOUR_ABSENT <= s < COLOUR_SHOWN)
        words = ("grey", "gray") if colour == "grey" else (colour,)
        groups.append(Group("colour", inside, unsure, (colour,), words))
    return groups


def _patterns(these: Sequence[VisibleObject]) -> list[Group]:
    unsure = _ids(these, lambda thing: not thing.about.traits)
    groups = []
    for trait, (before, after) in PATTERN_WORDS.items():
        inside = tuple(thing.about.id for thing in these if trait in thing.about.traits)
        groups.append(Group("pattern", inside, unsure, (trait,), before, after))
    return groups


def _sizes(these: Sequence[VisibleObject]) -> list[Group]:
    """Small and big ones, if nothing has a size in between."""
    order = sorted(these, key=lambda thing: thing.area)
    ratios = [after.area / before.area for before, after in itertools.pairwise(order)]
    cut = int(np.argmax(ratios)) + 1
    areas = [thing.area for thing in order]
    alike = areas[cut - 1] <= SAME_SIZE * areas[0] and areas[-1] <= SAME_SIZE * areas[cut]
    if ratios[cut - 1] < SIZE_RATIO or not alike:
        return []
    small, big = ("small", "smaller", "little"), ("big", "large", "bigger", "larger")
    return [
        Group("size", tuple(thing.about.id for thing in order[:cut]), (), ("small",), small),
        Group("size", tuple(thing.about.id for thing in order[cut:]), (), ("big",), big),
    ]


def _lights(these: Sequence[VisibleObject]) -> list[Group]:
    order = sorted(these, key=lambda thing: thing.light)
    steps = [after.light - before.light for before, after in itertools.pairwise(order)]
    cut = int(np.argmax(steps)) + 1
    if steps[cut - 1] < LIGHT_APART or these[0].concept in COLOURLESS:
        return []
    dark, bright = order[:cut], order[cut:]
    return [
        Group("light", tuple(e.about.id for e in dark), (), ("dark",), ("dark", "darker")),
        Group("light", tuple(e.about.id for e in bright), (), ("bright",), ("bright", "brighter")),
    ]


def _sides(these: Sequence[VisibleObject]) -> list[Group]:
    groups = []
    for side, words in SIDE_WORDS.items():
        places = {
            thing.about.id: thing.x if side in ("left", "right") else thing.y for thing in these
        }
        away = {i: p if side in ("left", "top") else 1 - p for i, p in places.items()}
        inside = tuple(i for i, far in away.items() if far <= SIDE)
        unsure = tuple(i for i, far in away.items() if SIDE < far < 1 - SIDE)
        groups.append(Group("side", inside, unsure, (side,), (), words))
    return groups


def _rows(these: Sequence[VisibleObject]) -> list[Group]:
    """Rows and columns, if the things form a grid or lines."""
    groups = []
    for name, ends, at in (("row", ("top", "bottom"), "y"), ("column", ("left", "right"), "x")):
        lines = _lines(these, at)
        if len(lines) < 2 or min(len(line) for line in lines) < 2:
            continue
        for number, line in enumerate(lines):
            ids = tuple(thing.about.id for thing in line)
            for end, rank in zip(ends, (number, len(lines) - 1 - number), strict=True):
                if rank == 0:
                    words = (f"{end} {name} of {{}}", f"in the {end} {name}")
                    groups.append(Group("row", ids, (), (end,), (), words))
                elif rank <= len(ORDINALS) and len(lines) > 2:
                    words = (
                        f"{ORDINALS[rank - 1]} {name} of {{}} from the {end}",
                        f"in the {ORDINALS[rank - 1]} {name} from the {end}",
                    )
                    groups.append(Group("row", ids, (), (end,), (), words))
    return groups


def _lines(
    these: Sequence[VisibleObject], at: Literal["x", "y"] | str
) -> list[list[VisibleObject]]:
    """The things by row or column, in order; empty if the lines are not clear."""
    order = sorted(these, key=lambda thing: float(getattr(thing, at)))
    places = np.array([getattr(thing, at) for thing in order])
    steps = np.diff(places)
    low, high = f"{at}0", f"{at}1"
    size = float(np.median([getattr(thing, high) - getattr(thing, low) for thing in order]))
    breaks = np.flatnonzero(steps > 0.7 * size) + 1
    lines = [list(line) for line in np.split(np.array(order, object), breaks)]
    spread = max(float(getattr(line[-1], at) - getattr(line[0], at)) for line in lines)
    gaps = steps[breaks - 1]
    clear = len(gaps) > 0 and float(gaps.min()) >= ROW_APART * max(spread, 0.01)
    return lines if clear else []
