"""Which attributes a phrase that somebody wrote holds: the attribute loss learns from its words.

A phrase holds the attribute "person" when it says "guys", and "red" when it says so of whatever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from model.word_forms import singulars
from training.prompts.vocabulary import COLOURS, PLACES, every_word_for, words_for

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
    """Words to attributes, for data that know these concepts."""

    def __init__(self, concepts: Iterable[str] = ()) -> None:
        self._attribute: dict[tuple[str, ...], str] = {(word,): name for word, name in SAID.items()}
        known = sorted(set(concepts))
        # A word of several concepts ("bag") is that of the one it names, else of the first.
        for names in (lambda c: (c, words_for(c)[0]), every_word_for):
            for concept in known:
                for name in names(concept):
                    self._attribute.setdefault(tuple(_tokens(name)), concept)

    def held(self, phrase: str) -> tuple[str, ...]:
        """The attributes that the phrase names, each once, in the order of its words."""
        tokens = _tokens(phrase)
        found: dict[str, None] = {}
        place = 0
        while place < len(tokens):
            length, name = self._longest(tokens[place : place + LONGEST])
            if name is not None:
                found[name] = None
            place += length
        return tuple(found)

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
