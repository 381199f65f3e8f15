"""Phrases that people wrote: the same phrase for the mirrored picture, and its attributes.

Generated phrases are made after the flip and need none of this. A phrase whose mirror image is
unclear ("first dog" counts from the left without saying so) is dropped rather than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from model.word_forms import singulars
from training.prompts.vocabulary import COLOURS, PLACES, every_word_for, words_for

# Spellings that people use, with the frequent typos of ReferIt.
LEFT = ("left", "lft", "lt", "lef", "elft", "leftt", "lefft", "lfet")
RIGHT = ("right", "rt", "rgt", "righ", "rght", "rigth", "rigt", "riht", "rihgt", "rightt")
# "far left" is often typed as one word, but "upright" and "bright" are different words.
JOINED_BEFORE = "top|bottom|upper|lower|far|mid|middle|center|centre|front|back|on|to|from|the"
JOINED_AFTER = "most|hand|handed|side|ish|er|est|ward|wards|y|s"
SIDE = re.compile(
    rf"(?P<before>{JOINED_BEFORE})?(?:(?P<left>{'|'.join(LEFT)})|(?P<right>{'|'.join(RIGHT)}))"
    rf"(?P<after>{JOINED_AFTER})?"
)
WORD = re.compile(r"[^\W_]+(?:'[^\W\d_]+)?")

# "Right behind the cart" names no side; "on the right behind the cart" does.
CLOSELY = frozenset(
    re.findall(
        "[a-z]+",
        "above below under beneath underneath behind beside next over after before between up down "
        "outside inside against into at where there here now away off angle angles",
    )
)
CLOSELY_IN = frozenset({"front", "the"})  # "right in front", "right in the middle"
PLACED_BY = frozenset(
    re.findall(
        "[a-z]+",
        "on at to from the far most top bottom upper lower mid middle center centre front back "
        "its their his her my your in of very more other either immediate",
    )
)

ORDINALS = frozenset(
    re.findall(r"\w+", "first second third fourth fifth sixth last 1st 2nd 3rd 4th 5th 6th")
)
# Counts that do not go from left to right: "second row", "third from the top".
COUNTED_OTHERWISE = re.compile(
    r"\b(?:row|floor|level|shelf|story|storey|base|place|class|from (?:the )?"
    r"(?:top|bottom|front|back|end)|\w+est)\b"
)
UNTOLD = re.compile(
    r"\b(?:o'?clock|\d+ ?oclock|clockwise|counterclockwise|east|west|eastern|western|[lr])\b"
)
PLACE = re.compile(
    r"\b(?:middle|center|centre|top|bottom|upper|lower|corner|edge|side|end|front|back|rear|"
    r"foreground|background|far|farthest|furthest|near|nearest|close|closest|first|second|third|"
    r"fourth|fifth|last|1st|2nd|3rd|4th|5th|above|below|behind|between|beside|next|mid|high|low|"
    r"higher|highest|lowest|row|half|o'?clock|outer|inner|inside|outside|up|down|\w+most)\b"
)


def mirrored(phrase: str) -> str | None:
    """The phrase that is true of the mirrored picture; None if that is unclear."""
    low = phrase.casefold()
    if UNTOLD.search(low):
        return None
    words = list(WORD.finditer(phrase))
    sides = [place for place in range(len(words)) if _side(words, place) is not None]
    counted = any(match[0].casefold() in ORDINALS for match in words)
    if counted and not sides and not COUNTED_OTHERWISE.search(low):
        return None
    pieces, end = [], 0
    for place in sides:
        match = words[place]
        pieces += [phrase[end : match.start()], _other(match[0])]
        end = match.end()
    return "".join([*pieces, phrase[end:]])


def names_place(phrase: str) -> bool:
    """Whether the phrase says where something is, which may be untrue in a part of the picture."""
    words = list(WORD.finditer(phrase))
    if any(_side(words, place) is not None for place in range(len(words))):
        return True
    low = phrase.casefold()
    return bool(PLACE.search(low) or UNTOLD.search(low))


def _side(words: list[re.Match[str]], place: int) -> re.Match[str] | None:
    """The match of a word that means a side; None if it means something else."""
    side = SIDE.fullmatch(_bare(words[place][0]))
    if side is None or side["left"] or side["before"] or side["after"]:
        return side
    before = _bare(words[place - 1][0]) if place else ""
    following = [_bare(match[0]) for match in words[place + 1 : place + 3]]
    if following and not _adjoining(words[place], words[place + 1]):
        return side
    closely = bool(following) and (
        following[0] in CLOSELY
        or (following[0] == "in" and bool(CLOSELY_IN.intersection(following[1:])))
    )
    return None if closely and before not in PLACED_BY else side


def _adjoining(one: re.Match[str], other: re.Match[str]) -> bool:
    """Whether only space is between two words; a comma starts something new."""
    return one.string[one.end() : other.start()].isspace()


def _other(word: str) -> str:
    """The same word with the other side, in the same case."""
    match = SIDE.fullmatch(_bare(word))
    assert match is not None
    kept = "left" if match["left"] else "right"
    start, end = match.span(kept)
    side = "right" if kept == "left" else "left"
    if word[start:end].isupper() and len(word) > 1:
        side = side.upper()
    elif word[start : start + 1].isupper():
        side = side.capitalize()
    return word[:start] + side + word[end:]


def _bare(word: str) -> str:
    return word.casefold().partition("'")[0]


SAID = {
    "gray": "grey",
    "leftmost": "left",
    "rightmost": "right",
    "center": "middle",
    "centre": "middle",
    "upper": "top",
    "topmost": "top",
    "lower": "bottom",
    "bottommost": "bottom",
    **dict.fromkeys(("big", "bigger", "biggest", "large", "larger", "largest"), "big"),
    **dict.fromkeys(("small", "smaller", "smallest", "little", "tiny", "tiniest"), "small"),
    **{word: word for word in (*COLOURS, *PLACES)},
}
LONGEST = 3


class AttributeWords:
    """Maps words of a phrase to attributes, for data with these concepts."""

    def __init__(self, concepts: Iterable[str] = ()) -> None:
        self._attribute: dict[tuple[str, ...], str] = {(word,): name for word, name in SAID.items()}
        known = sorted(set(concepts))
        # A word of several concepts ("bag") belongs to the one with this name, else to the first.
        for names in (lambda c: (c, words_for(c)[0]), every_word_for):
            for concept in known:
                for name in names(concept):
                    self._attribute.setdefault(tuple(_tokens(name)), concept)

    def held(self, phrase: str) -> tuple[str, ...]:
        """The attributes that the phrase names, in the order of its words, without repetition."""
        tokens = _tokens(phrase)
        held: dict[str, None] = {}
        place = 0
        while place < len(tokens):
            length, name = self._longest(tokens[place : place + LONGEST])
            if name is not None:
                held[name] = None
            place += length
        return tuple(held)

    def _longest(self, tokens: list[str]) -> tuple[int, str | None]:
        for length in range(len(tokens), 0, -1):
            *head, last = tokens[:length]
            for form in (last, *singulars(last)):
                name = self._attribute.get((*head, form))
                if name is not None:
                    return length, name
        return 1, None


def _tokens(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.casefold().replace("-", ""))
