"""Extra dimensions for words of side, order, size, colour and number.

Word vectors are learned from context, and "left" and "right" have the same contexts: their cosine
in GloVe is .78. Their meaning in a picture is geometric, so each of these words has an *entry*, a
short numeric code that is appended to its word vector. Other words have zeros there. The word
vector before an entry is damped, so that "left" and "right" differ clearly, and so that an
untrained colour is understood by its place among the others.

The codes are a *choice* and do not depend on the source of the word vectors. All values are in
about [-1, 1], before `SCALE`:

======================================  =========================================================
about_place, x, y, depth                x: -1 left, 1 right. y: -1 top, 1 bottom. depth: 1 front
degree                                  .5 comparative ("larger"), 1 superlative ("leftmost")
about_order, rank, from_start           rank: -1 first, log-spaced to 1 tenth. from_start: -1 "last"
about_size, size, height, width         -1 small, short, thin to 1 large, tall, thick
about_colour, lightness, green_red,     OKLab (Ottosson 2020), stretched
blue_yellow
plural, count                           plural: 1 several, -1 one. count: log10 of a number
======================================  =========================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = (
    "about_place", "x", "y", "depth", "degree",
    "about_order", "rank", "from_start",
    "about_size", "size", "height", "width",
    "about_colour", "lightness", "green_red", "blue_yellow",
    "plural", "count",
)  # fmt: skip
EXTRA = len(DIMENSIONS)
# Word vectors have about a half per coordinate; an entry with a few ones must weigh as much.
SCALE = 2.0
# The factor of the word vector before an entry; larger for words with other meanings.
DAMPING = 0.3
AMBIGUOUS_DAMPING = 0.6
# Least cosine at which a plural noun is read as its singular ("news", "new": .54).
PLURAL_COSINE = 0.6

AMBIGUOUS = frozenset(
    re.findall(
        "[a-z]+",
        "top back light second short long last orange rose gold silver salmon olive navy peach "
        "cream chocolate lime plum violet lavender coral mint mustard ivory rust lemon cherry wine "
        "sand over under above below between a an the this that",
    )
)

# x, y, depth, degree
_SIDES: dict[str, tuple[float, float, float, float]] = {
    "left": (-1, 0, 0, 0),
    "right": (1, 0, 0, 0),
    "top": (0, -1, 0, 0),
    "bottom": (0, 1, 0, 0),
    "upper": (0, -1, 0, 0.5),
    "lower": (0, 1, 0, 0.5),
    "up": (0, -0.7, 0, 0),
    "down": (0, 0.7, 0, 0),
    "above": (0, -0.7, 0, 0),
    "over": (0, -0.7, 0, 0),
    "below": (0, 0.7, 0, 0),
    "under": (0, 0.7, 0, 0),
    "beneath": (0, 0.7, 0, 0),
    "underneath": (0, 0.7, 0, 0),
    "high": (0, -0.7, 0, 0),
    "higher": (0, -0.7, 0, 0.5),
    "highest": (0, -1, 0, 1),
    "low": (0, 0.7, 0, 0),
    "lowest": (0, 1, 0, 1),
    "middle": (0, 0, 0, 0),
    "center": (0, 0, 0, 0),
    "centre": (0, 0, 0, 0),
    "central": (0, 0, 0, 0),
    "centered": (0, 0, 0, 0),
    "mid": (0, 0, 0, 0),
    "between": (0, 0, 0, 0),
    "inbetween": (0, 0, 0, 0),
    "middlemost": (0, 0, 0, 1),
    "centermost": (0, 0, 0, 1),
    "front": (0, 0, 1, 0),
    "infront": (0, 0, 1, 0),
    "foreground": (0, 0, 1, 0),
    "near": (0, 0, 0.7, 0),
    "close": (0, 0, 0.7, 0),
    "nearer": (0, 0, 0.7, 0.5),
    "closer": (0, 0, 0.7, 0.5),
    "nearest": (0, 0, 1, 1),
    "closest": (0, 0, 1, 1),
    "frontmost": (0, 0, 1, 1),
    "foremost": (0, 0, 1, 1),
    "back": (0, 0, -1, 0),
    "rear": (0, 0, -1, 0),
    "behind": (0, 0, -1, 0),
    "background": (0, 0, -1, 0),
    # "far left" is the leftmost: a degree, besides the depth of "the far one".
    "far": (0, 0, -0.7, 1),
    "distant": (0, 0, -0.7, 0),
    "farther": (0, 0, -0.7, 0.5),
    "further": (0, 0, -0.7, 0.5),
    "farthest": (0, 0, -1, 1),
    "furthest": (0, 0, -1, 1),
    "rearmost": (0, 0, -1, 1),
    "uppermost": (0, -1, 0, 1),
    "lowermost": (0, 1, 0, 1),
    "topmost": (0, -1, 0, 1),
    "bottommost": (0, 1, 0, 1),
    "leftmost": (-1, 0, 0, 1),
    "rightmost": (1, 0, 0, 1),
    "leftest": (-1, 0, 0, 1),
    "rightest": (1, 0, 0, 1),
}
for _across, _x in (("left", -1.0), ("right", 1.0), ("middle", 0.0), ("center", 0.0)):
    for _ending in ("hand", "side", "ward", "wards", "ish"):
        _SIDES[_across + _ending] = (_x, 0, 0, 0)
    for _down, _y in (("top", -1.0), ("bottom", 1.0), ("upper", -1.0), ("lower", 1.0)):
        _SIDES[_down + _across] = (_x, _y, 0, 0)

# size, height, width; degree follows from the form, see `_graded`.
_SIZES: dict[str, tuple[float, float, float]] = {
    "tiny": (-1, 0, 0),
    "mini": (-1, 0, 0),
    "miniature": (-1, 0, 0),
    "small": (-0.7, 0, 0),
    "little": (-0.7, 0, 0),
    "medium": (0, 0, 0),
    "big": (0.7, 0, 0),
    "large": (0.7, 0, 0),
    "huge": (1, 0, 0),
    "giant": (1, 0, 0),
    "enormous": (1, 0, 0),
    "tall": (0.3, 1, 0),
    "short": (-0.3, -1, 0),
    "long": (0.5, 0.5, -0.3),
    "thin": (-0.3, 0, -1),
    "slim": (-0.3, 0, -1),
    "narrow": (-0.3, 0, -1),
    "skinny": (-0.3, 0, -1),
    "thick": (0.3, 0, 1),
    "wide": (0.3, 0, 1),
    "broad": (0.3, 0, 1),
    "fat": (0.3, 0, 1),
}
_DEGREES = {"most": 1.0, "least": 1.0, "more": 0.5, "less": 0.5, "very": 0.7}

# sRGB; what CSS calls by the same name, where it has one.
_COLOURS = {
    "black": 0x000000, "white": 0xFFFFFF, "grey": 0x808080, "gray": 0x808080, "red": 0xE00000,
    "orange": 0xFF8C00, "yellow": 0xFFE600, "green": 0x109020, "blue": 0x1040E0,
    "purple": 0x800090, "pink": 0xFF90B8, "brown": 0x7A4520,
    "crimson": 0xDC143C, "scarlet": 0xE02010, "maroon": 0x800000, "burgundy": 0x800020,
    "ruby": 0xC01040, "cherry": 0xC01030, "wine": 0x722F37, "coral": 0xFF7F50,
    "salmon": 0xFA8072, "rose": 0xF06090, "magenta": 0xFF00FF, "fuchsia": 0xFF00FF,
    "violet": 0x8F40E0, "lavender": 0xC8B8F0, "lilac": 0xC8A2C8, "mauve": 0xC090C8,
    "plum": 0x8E4585, "indigo": 0x4B0082, "navy": 0x000080, "azure": 0x3090F0,
    "cobalt": 0x0047AB, "turquoise": 0x40E0D0, "teal": 0x008080, "cyan": 0x00E0E0,
    "aqua": 0x00E0E0, "mint": 0x98F0C0, "lime": 0x90F000, "olive": 0x707800,
    "emerald": 0x109060, "khaki": 0xC0B080, "beige": 0xE0D4B8, "cream": 0xFFF6D8,
    "ivory": 0xFFFFF0, "tan": 0xD2B48C, "sand": 0xD8C090, "peach": 0xFFCBA4,
    "gold": 0xE0B000, "golden": 0xE0B000, "blonde": 0xE8D090, "blond": 0xE8D090,
    "mustard": 0xD0A810, "amber": 0xFFB000, "lemon": 0xFFF040, "copper": 0xB87333,
    "bronze": 0xCD7F32, "rust": 0xB7410E, "chocolate": 0x5A3010, "silver": 0xC0C0C0,
    "charcoal": 0x36454F,
}  # fmt: skip
_ISH = {
    "reddish": "red", "bluish": "blue", "blueish": "blue", "greenish": "green",
    "yellowish": "yellow", "whitish": "white", "blackish": "black", "greyish": "grey",
    "grayish": "grey", "brownish": "brown", "pinkish": "pink", "purplish": "purple",
    "orangish": "orange", "redish": "red",
}  # fmt: skip
# Lightness alone: they shade the colour that follows.
_SHADES = {"dark": -1.0, "dim": -0.7, "light": 0.7, "pale": 0.8, "bright": 0.9}

_ORDINALS = re.findall("[a-z]+", "first second third fourth fifth sixth seventh eighth ninth tenth")
_NUMBERS = re.findall(
    "[a-z]+", "zero one two three four five six seven eight nine ten eleven twelve"
)
_SEVERAL = re.findall(
    "[a-z]+", "all both every several many some few these those they them pair couple group"
)
_SINGLE = re.findall("[a-z]+", "a an this that single only it")
_NONE = re.findall("[a-z]+", "no none")


@dataclass(frozen=True)
class Entry:
    """values: `EXTRA` numbers, scaled. damping: factor of the word vector in front of them."""

    values: tuple[float, ...]
    damping: float


def entry(word: str) -> Entry | None:
    """The entry of a word in its normal form, None for an ordinary one.

    All numbers ("3") and ordinals ("3rd", "12th") up to four digits have entries.
    """
    known = entries().get(word)
    return known if known is not None or not word[:1].isdigit() else _numeric(word)


@cache
def entries() -> dict[str, Entry]:
    """All words that have an entry, but for numerals."""
    made: dict[str, Entry] = {}
    for word, (x, y, depth, degree) in _SIDES.items():
        made[word] = _entry(word, about_place=1, x=x, y=y, depth=depth, degree=degree)
    for plain, (size, height, width) in _SIZES.items():
        for word, degree in _graded(plain):
            made[word] = _entry(
                word, about_size=1, size=size, height=height, width=width, degree=degree
            )
    for word, degree in _DEGREES.items():
        made[word] = _entry(word, degree=degree)
    for word, colour in _COLOURS.items():
        made[word] = _colour(word, colour)
    for word, plain in _ISH.items():
        made[word] = _colour(word, _COLOURS[plain])
    for word, lightness in _SHADES.items():
        made[word] = _entry(word, about_colour=0.5, lightness=lightness)
    for rank, word in enumerate(_ORDINALS, 1):
        made[word] = _ordinal(word, rank)
    for word in ("last", "final"):
        made[word] = _entry(word, about_order=1, rank=-1, from_start=-1)
    for number, word in enumerate(_NUMBERS):
        made[word] = _number(word, number)
    for word in _SEVERAL:
        count = math.log10(2) if word in ("both", "pair", "couple") else 0.0
        made[word] = _entry(word, plural=1, count=count)
    for word in _SINGLE:
        made[word] = _entry(word, plural=-1)
    for word in _NONE:
        made[word] = _number(word, 0)
    return made


def says(word: str, *dimensions: str) -> bool:
    """Whether its entry says something of one of these dimensions."""
    known = entry(word)
    return known is not None and any(known.values[DIMENSIONS.index(name)] for name in dimensions)


def phrase_entries(
    words: Sequence[str], plural: Sequence[bool]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Entries L,EXTRA and damping L of the words of a phrase. plural: which are plural nouns.

    "the" is singular unless a plural follows it: "the dog", but "the two dogs".
    """
    values = np.zeros((len(words), EXTRA), np.float32)
    damping = np.ones(len(words), np.float32)
    number = DIMENSIONS.index("plural")
    for place, word in enumerate(words):
        own = entry(word)
        if own is not None:
            values[place], damping[place] = own.values, own.damping
        if plural[place]:
            values[place, number] = SCALE
    for place, word in enumerate(words):
        if word == "the" and place + 1 < len(words) and not values[place + 1 :, number].max() > 0:
            values[place, number] = -SCALE
    return values, damping


def _entry(word: str, **values: float) -> Entry:
    unknown = set(values) - set(DIMENSIONS)
    assert not unknown, unknown
    damping = AMBIGUOUS_DAMPING if word in AMBIGUOUS else DAMPING
    return Entry(tuple(SCALE * values.get(name, 0.0) for name in DIMENSIONS), damping)


def _graded(word: str) -> list[tuple[str, float]]:
    """An adjective with its comparative and superlative."""
    stem = word
    if word.endswith("y"):
        stem = word[:-1] + "i"
    elif word.endswith("e"):
        stem = word[:-1]
    elif word in ("big", "thin", "slim", "fat"):
        stem = word + word[-1]
    return [(word, 0.0), (stem + "er", 0.5), (stem + "est", 1.0)]


def _ordinal(word: str, rank: int) -> Entry:
    return _entry(word, about_order=1, rank=2 * _log(rank) - 1, from_start=1)


def _number(word: str, number: int) -> Entry:
    if number == 0:
        return _entry(word, count=-1)
    plural = -1 if number == 1 else 1
    # "number 3" and "the 3" also say a place in an order.
    return _entry(word, about_order=0.3, rank=0.6 * _log(number) - 0.3, plural=plural,
                  count=_log(number))  # fmt: skip


def _log(number: int) -> float:
    """0 for 1, 1 for ten and beyond."""
    return min(1.0, math.log10(number))


# Anyone can type any number of words that begin with a digit.
@lru_cache(maxsize=1024)
def _numeric(word: str) -> Entry | None:
    parts = re.fullmatch(r"([0-9]{1,4})(st|nd|rd|th)?", word)
    if parts is None:
        return None
    number = int(parts[1])
    return _ordinal(word, number) if parts[2] and number else _number(word, number)


def _colour(word: str, rgb: int) -> Entry:
    channels = np.array([[rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255]], np.uint8)
    lightness, green_red, blue_yellow = stretched_oklab(channels)[0].tolist()
    return _entry(
        word,
        about_colour=1,
        lightness=lightness,
        green_red=green_red,
        blue_yellow=blue_yellow,
    )


def stretched_oklab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """N,3 sRGB as lightness, green to red and blue to yellow, each in about [-1, 1].

    OKLab (Björn Ottosson, "A perceptual color space", 2020), stretched.
    """
    channels = rgb / 255
    linear = np.where(channels > 0.04045, ((channels + 0.055) / 1.055) ** 2.4, channels / 12.92)
    cones = np.cbrt(
        linear
        @ np.array([
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]).T
    )  # fmt: skip
    lab = (
        cones
        @ np.array([
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]).T
    )  # fmt: skip
    stretched: NDArray[np.float64] = lab * (2.0, 4.0, 4.0) - (1.0, 0.0, 0.0)
    return stretched
