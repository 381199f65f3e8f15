"""Which of several objects a phrase singles out: "left cat", "second red cup from the right".

The network finds objects of a kind, but of two cats it finds the "left" one only by chance. So the
words of side, order, size and colour are also read here: the phrase without them names the kind,
`model.instances` finds all objects of that kind, and these words choose one of them by its place,
extent and colours. What each word means is said in `model.word_geometry` alone.

Of a phrase in the plural the words of side are read alone: "left cups" are those in the left half
of the picture, "the two left cups" the two that are farthest left.

Phrases that relate two things ("cup left of the plate") are left to the network.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model import word_forms
from model.instances import Instance
from model.spelling import split
from model.word_geometry import DIMENSIONS, SCALE, entry, says, stretched_oklab

# "cup on the left": prepositions before a side, and what may stand around its word.
BEFORE_SIDE = frozenset(["at", "from", "in", "on", "to"])
AROUND_SIDE = frozenset(["the", "corner", "edge", "end", "half", "part", "side"])
DEGREES = frozenset(["far", "most", "very"])
# They do not say what to look for.
NO_KIND = frozenset(["one", "object", "thing", "item"])
ABOUT = ("about_place", "about_order", "about_size", "about_colour")
# A pixel's likeness to a named colour falls to .6 at this distance in stretched OKLab.
COLOUR_SPREAD = 0.5
# "dark blue" and "pale blue" differ from blue by this in lightness, and have less chroma.
SHADE = 0.4
# Colours below this chroma are grey.
GREY = 0.15
# Objects with at least this share of the best likeness are "red".
SAME_COLOUR = 0.5

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reference:
    """A phrase about one of several. codes: W,EXTRA entries of its W words of geometry.

    kind: the other words, which name the kind.
    """

    kind: str
    codes: Values

    def has(self, *dimensions: str) -> bool:
        """Whether a word says something of these dimensions."""
        return bool(_of(self.codes, *dimensions).any())

    def total(self, *dimensions: str) -> Values:
        """The sum over the words, one number per dimension."""
        total: Values = _of(self.codes, *dimensions).sum(0)
        return total

    @property
    def rank(self) -> int:
        """1 for "first", 3 for "third", -1 for "last"; 0 without such a word."""
        order = _of(self.codes, "about_order", "rank", "from_start")
        order = order[order[:, 0] == 1]
        if not len(order):
            return 0
        _, rank, from_start = order[0]
        return round(10 ** ((rank + 1) / 2)) if from_start > 0 else -1


@dataclass(frozen=True, eq=False)
class Appearance:
    """An object as these words see it. box: left, top, right, bottom. area: in its square units.

    colours: gives N,3 uint8 sRGB of some of its pixels.
    """

    box: tuple[float, float, float, float]
    area: float
    colours: Callable[[], NDArray[np.uint8]]

    @property
    def width(self) -> float:
        """Of the box."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """Of the box."""
        return self.box[3] - self.box[1]


@dataclass(frozen=True)
class Side:
    """A side of the picture, of which a phrase in the plural asks for the objects.

    kind: the phrase without it. across: -1 left, 1 right. down: -1 top, 1 bottom. count: how many
    of them, 0 for all in that half of the picture.
    """

    kind: str
    across: float
    down: float
    count: int

    def of(self, objects: Sequence[Instance]) -> list[Instance]:
        """Those of the objects that are meant, in their order."""
        if self.count:
            far = sorted(objects, key=lambda one: -sum(self._distances(one)))[: self.count]
            return [one for one in objects if one in far]
        return [one for one in objects if min(self._distances(one)) >= 0]

    def _distances(self, one: Instance) -> tuple[float, float]:
        """From the middle of the picture to the centre of its box, in halves of the picture."""
        box = one.box
        x, y = (box.left + box.right) / one.width - 1, (box.top + box.bottom) / one.height - 1
        return self.across * x, self.down * y


def read(phrase: str) -> Reference | None:
    """The reference in a phrase; None if it singles out nothing, or in another way than here."""
    words = split(phrase)
    parts = None if word_forms.is_plural(words) else _parts(words)
    if parts is None:
        return None
    chain, sides = parts
    while len(chain) > 1 and chain[-1].endswith(("ing", "ed")):
        chain.pop()
    *adjectives, noun = chain
    geometric = [word for word in (*adjectives, *sides) if _is_geometric(word)]
    plain = [word for word in adjectives if word not in word_forms.FUNCTION_WORDS]
    kind = [word for word in plain if not _is_geometric(word)] + [noun]
    codes = [_code(word) for word in geometric if word not in DEGREES]
    if not codes or noun in NO_KIND or noun in word_forms.FUNCTION_WORDS:
        return None
    return Reference(" ".join(kind), np.array(codes))


def side_of(phrase: str, own: Container[str] = ()) -> Side | None:
    """The side of the picture that a phrase in the plural asks for; None for other phrases.

    own: words of the kind's name, which say no side: "left lungs" may lie anywhere.
    """
    words = split(phrase)
    parts = _parts(words) if word_forms.is_plural(words) else None
    if parts is None:
        return None
    chain, after = parts
    named = {word: _side(word) for word in (*chain, *after) if word not in own}
    across, down = np.sign(np.sum([*named.values(), (0, 0)], 0))
    kind = [word for word in chain if word not in DEGREES and not any(named.get(word, ()))]
    if not (across or down) or not kind:
        return None
    if word_forms.singular(kind[-1]) in NO_KIND or says(kind[-1], "count"):
        return None
    counts = (_of(_code(word)[None], "count").item() for word in chain)
    count = round(10 ** max(counts))
    return Side(" ".join(kind), float(across), float(down), count if 1 < count < 10 else 0)


def choose(reference: Reference, objects: Sequence[Appearance]) -> int | None:
    """Which of the objects is meant; None where the words do not decide it."""
    if len(objects) < 2:
        return None
    criteria: list[Values] = []
    if reference.has("about_colour"):
        criteria.append(_likeness(reference, objects))
    if reference.has("size", "height", "width"):
        criteria.append(_extent(reference, objects))
    if reference.has("x", "y", "depth"):
        criteria.append(_position(reference.total("x", "y", "depth"), objects))
    elif reference.has("about_place"):
        if len(objects) < 3:
            return None
        criteria.append(_middle(objects))
    if reference.rank:
        return _ranked(reference, objects, criteria)
    if not criteria:  # "medium cup", "one cup"
        return None
    return int(np.argmax(np.sum([_spread(values) for values in criteria], 0)))


def _ranked(
    reference: Reference, objects: Sequence[Appearance], criteria: list[Values]
) -> int | None:
    """ "The third red one from the right": the colour says which ones count."""
    counted = np.ones(len(objects), np.bool_)
    if reference.has("about_colour"):
        likeness = criteria.pop(0)
        counted = likeness >= SAME_COLOUR * likeness.max()
    values = criteria[-1] if criteria else _position(np.array([-1.0, 0.0, 0.0]), objects)
    order = [int(index) for index in np.argsort(-values, kind="stable") if counted[index]]
    place = reference.rank - 1 if reference.rank > 0 else len(order) - 1
    return order[place] if place < len(order) else None


def _position(direction: Values, objects: Sequence[Appearance]) -> Values:
    """How far in a direction to the right, down and to the front. What is lower is nearer."""
    at = [
        ((left + right) / 2, (top + bottom) / 2, bottom)
        for left, top, right, bottom in (thing.box for thing in objects)
    ]
    return np.array(at) @ direction


def _middle(objects: Sequence[Appearance]) -> Values:
    """How near to the middle of the row, which runs across or down."""
    across, down = (_position(axis, objects) for axis in np.eye(3)[:2])
    along = across if np.ptp(across) >= np.ptp(down) else down
    return -np.abs(along - np.median(along))


def _extent(reference: Reference, objects: Sequence[Appearance]) -> Values:
    """Logarithms of area, height and width, weighted by what the words say."""
    sizes = [(thing.area, thing.height, thing.width) for thing in objects]
    return np.log(np.maximum(sizes, 1e-9)) @ reference.total("size", "height", "width")


def _likeness(reference: Reference, objects: Sequence[Appearance]) -> Values:
    """How much of each object has the named colour or shade, 0 to 1."""
    about = _of(reference.codes, "about_colour")[:, 0]
    colours = _of(reference.codes, "lightness", "green_red", "blue_yellow")
    shade = colours[(about > 0) & (about < 1), 0].sum()
    pixels = [stretched_oklab(thing.colours()) for thing in objects]
    if not (about == 1).any():
        return np.array([(1 + np.sign(shade) * colour[:, 0].mean()) / 2 for colour in pixels])
    named = colours[about == 1].mean(0)
    named = named * (1.0, 1.0 - SHADE * abs(shade), 1.0 - SHADE * abs(shade))
    named[0] += SHADE * shade
    # Light and shadow change the lightness of a coloured thing; of a grey one it is all there is.
    weights = np.array([0.5 if np.hypot(*named[1:]) > GREY else 1.0, 1.0, 1.0])
    squares = [((colour - named) ** 2 * weights).sum(1) for colour in pixels]
    return np.array([np.exp(-square / (2 * COLOUR_SPREAD**2)).mean() for square in squares])


def _spread(values: Values) -> Values:
    """0 for the least, 1 for the largest."""
    spread: Values = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
    return spread


def _parts(words: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """A phrase up to its noun, and the words of side after it; None if more is said there."""
    if not words:
        return None
    end = next((i for i, word in enumerate(words) if i and word in word_forms.AFTER_NOUN), None)
    chain, sides = list(words[:end]), _sides(words[end:] if end else [])
    if sides is None:
        return None
    # "cat left", "guy far right"; "red top" is a top.
    while len(chain) > 1 and _is_place(chain[-1]) and not all(map(_is_geometric, chain[:-1])):
        sides.append(chain.pop())
    return chain, sides


def _side(word: str) -> tuple[float, float]:
    """The side that a word says, x and y; "high" and "under" say another thing of several."""
    x, y = _of(_code(word.replace("-", ""))[None], "x", "y")[0].tolist()
    return (x, y) if max(abs(x), abs(y)) == 1 else (0.0, 0.0)


def _sides(after: Sequence[str]) -> list[str] | None:
    """The sides in what follows a noun ("on the far left"); None if that says anything else."""
    if not after:
        return []
    sides = [word for word in after[1:] if word not in AROUND_SIDE]
    named = [word for word in sides if word not in DEGREES]
    if after[0] not in BEFORE_SIDE or not named or not all(map(_is_place, named)):
        return None
    return sides


def _of(codes: Values, *dimensions: str) -> Values:
    """These columns of W,EXTRA codes."""
    return codes[:, [DIMENSIONS.index(name) for name in dimensions]]


def _code(word: str) -> Values:
    known = entry(word)
    return np.zeros(len(DIMENSIONS)) if known is None else np.array(known.values) / SCALE


def _is_geometric(word: str) -> bool:
    return says(word, *ABOUT) or word in DEGREES


def _is_place(word: str) -> bool:
    return says(word, "about_place") or word in DEGREES
