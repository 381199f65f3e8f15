"""Spellings of one English word that mean the same: plural and singular, possessive, compound.

A tokenizer with a small vocabulary knows "dog" and "tshirt"; annotators type "dogs'" and
"T-shirts". These are plain rules of the language, tried only where the word itself is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

IRREGULAR = {
    "cacti": "cactus",
    "children": "child",
    "feet": "foot",
    "fungi": "fungus",
    "geese": "goose",
    "knives": "knife",
    "leaves": "leaf",
    "men": "man",
    "mice": "mouse",
    "nuclei": "nucleus",
    "oxen": "ox",
    "people": "person",
    "shelves": "shelf",
    "teeth": "tooth",
    "wolves": "wolf",
    "women": "woman",
}
PLURALS = {singular: plural for plural, singular in IRREGULAR.items()}
# A part of a compound shorter than this is more often chance than a word ("is", "ha").
SHORTEST_PART = 3

# Words without a thing of their own: a phrase is known when the others are.
FUNCTION_WORDS = frozenset(
    re.findall(
        "[a-z]+",
        "a an and are as at be by for from he her his i in is it its me my of on or our she that "
        "the their them these they this those to was we which who with you your",
    )
)


def without_possessive(word: str) -> str:
    """ "dog's" -> "dog", "dogs'" -> "dogs"; other words as they are."""
    return word.removesuffix("'s").removesuffix("'")


def singulars(word: str) -> Iterator[str]:
    """What "word" may be the plural of, the likeliest first."""
    if word in IRREGULAR:
        yield IRREGULAR[word]
    for plural, singular in IRREGULAR.items():
        # "policemen", "grandchildren"
        if len(word) > len(plural) + 1 and word.endswith(plural):
            yield word.removesuffix(plural) + singular
    if len(word) > 4 and word.endswith("ies"):
        yield word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        yield word[:-1]
        if word.endswith("es"):
            yield word[:-2]


def plurals(word: str) -> Iterator[str]:
    """What "word" may be the singular of."""
    if word in PLURALS:
        yield PLURALS[word]
    if len(word) > 2:
        yield word + "s"
        yield word + "es"
        if word.endswith("y"):
            yield word[:-1] + "ies"


def compound_parts(word: str, known: Container[str]) -> tuple[str, str] | None:
    """Two known words that "word" is made of ("pottedplant"), the longest first part that does."""
    for cut in range(len(word) - SHORTEST_PART, SHORTEST_PART - 1, -1):
        if word[:cut] in known and word[cut:] in known:
            return word[:cut], word[cut:]
    return None
