"""Spellings of one English word that mean the same: plural and singular, possessive, compound.

A tokenizer with a small vocabulary knows "dog" and "tshirt"; annotators type "dogs'" and
"T-shirts". These simple rules are only used if the word itself is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence

IRREGULAR = {
    "cacti": "cactus",
    "calves": "calf",
    "children": "child",
    "dwarves": "dwarf",
    "elves": "elf",
    "feet": "foot",
    "fungi": "fungus",
    "geese": "goose",
    "halves": "half",
    "hooves": "hoof",
    "knives": "knife",
    "leaves": "leaf",
    "loaves": "loaf",
    "men": "man",
    "mice": "mouse",
    "nuclei": "nucleus",
    "oxen": "ox",
    "people": "person",
    "scarves": "scarf",
    "shelves": "shelf",
    "teeth": "tooth",
    "thieves": "thief",
    "wives": "wife",
    "wolves": "wolf",
    "women": "woman",
}
# Plurals of scientific words, which "singulars" need not know: their vectors are their own.
LEARNED_PLURALS = frozenset(
    re.findall(
        "[a-z]+",
        "algae alveoli antennae axes bacilli bacteria bronchi cilia cocci crystallites emboli "
        "flagella foci follicles ganglia hyphae larvae lice loci mitochondria nucleoli octopi ova "
        "pupae radii schemata spermatozoa stamina stimuli stomata strata thrombi vertebrae villi",
    )
)
PLURALS = {singular: plural for plural, singular in IRREGULAR.items()}
# Least length of a part of a compound; shorter ones match by chance ("is", "ha").
SHORTEST_PART = 3

# Words without a meaning of their own: a phrase is known if its other words are.
FUNCTION_WORDS = frozenset(
    re.findall(
        "[a-z]+",
        "a about across after against along also although am among an and any are around as at "
        "be because been before being beside by could did do does during each either for "
        "from give had has have he her here his how i if in into is it its just me much my next "
        "of off on onto or our out per please same she should since so such than that the their "
        "them then there these they this those though through to too toward towards until upon "
        "via was we were what when where whether which while who with would yet you your",
    )
)
# They turn the meaning of what follows round, which only a training with them teaches.
NEGATIONS = frozenset(
    re.findall("[a-z]+", "but except excluding neither never no none nor not nothing without")
)

# Nouns that end like a plural and are one thing; "glasses" are not many a glass.
ONE_THING = frozenset(
    re.findall(
        "[a-z]+",
        "accessories binoculars boxers clothes dungarees eyeglasses flats glasses goggles goods "
        "headphones heels jeans leggings loafers news overalls pajamas pants pliers pumps pyjamas "
        "scissors shades shorts slacks spectacles stairs sunglasses tights tongs trousers tweezers "
        "wedges woods",
    )
)
# Plurals of words that end in a hiss: "boxes" -> "box".
WITH_E = ("ches", "shes", "sses", "xes", "zes", "buses", "gases", "lenses")
# Singular words that end in a single s.
ENDING_IN_S = frozenset(
    re.findall(
        "[a-z]+",
        "alias always asbestos atlas bias canvas christmas crossroads gas headquarters iris lens "
        "pampas pancreas rhinoceros series species thermos",
    )
)
# Singular words in "ie": "cookies" -> "cookie", but "cherries" -> "cherry".
ENDING_IN_IE = frozenset(
    re.findall(
        "[a-z]+",
        "birdie brownie calorie collie cookie doggie genie goalie hoodie kiddie magpie movie pixie "
        "rookie selfie smoothie walkie zombie",
    )
)
ENDING_IN_OE = ("shoe", "canoe", "oboe", "aloe", "tiptoe", "mistletoe")
# Words in "use" that are not such as "virus" -> "viruses".
ENDING_IN_USE = ("ouse", "ause", "excuse")
# Endings of plurals, and those of singulars that are less likely than what `singular` says.
_OTHER_SINGULARS = {
    "ies": ("ie",),
    "ves": ("f", "fe"),
    "oes": ("oe",),
    "uses": ("use",),
    "ses": ("sis",),
    "xes": ("xis",),
    "ices": ("ex", "ix"),
    "ae": ("a",),
    "ata": ("a",),
    "a": ("um", "on"),
    "i": ("us",),
}
# Words that always ask for more than one thing.
ALL_WORDS = frozenset(
    re.findall(
        "[a-z]+",
        "all both each every few many multiple ones several these those",
    )
)
NUMBERS = frozenset(
    re.findall(
        "[a-z]+",
        "two three four five six seven eight nine ten eleven twelve dozen dozens hundred",
    )
)
ONE_WORDS = frozenset(["a", "an", "one", "this", "that", "another"])
# "A row of windows" are windows.
COLLECTIVES = frozenset(
    re.findall(
        "[a-z]+",
        "row rows column columns group groups pair pairs set line cluster bunch pile stack rest "
        "most lot lots plenty couple number crowd herd flock handful",
    )
)
SIDES = frozenset(["left", "right", "top", "bottom", "middle", "here", "there", "up", "down"])
# What follows these says where the thing is or what it has, not what it is.
AFTER_NOUN = frozenset(
    re.findall(
        "[a-z]+",
        "above against around at behind below beside between but by except from holding in inside "
        "near next nearest not of on outside over that to touching under wearing which who with "
        "without",
    )
)


def without_possessive(word: str) -> str:
    """ "dog's" -> "dog", "dogs'" -> "dogs"; other words as they are."""
    return word.removesuffix("'s").removesuffix("'")


def singulars(word: str) -> Iterator[str]:
    """Possible singulars of a word, most likely first."""
    if word in IRREGULAR:
        yield IRREGULAR[word]
    for plural, one in IRREGULAR.items():
        # "policemen", "grandchildren"
        if len(word) > len(plural) + 1 and word.endswith(plural):
            yield word.removesuffix(plural) + one
    if len(word) > 4 and word.endswith("ies"):
        yield word[:-3] + "y"
    short = len(word) == 3 and not set(word) & set("aeiou")  # "tvs"
    if (len(word) > 3 or short) and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        yield word[:-1]
        if word.endswith("es"):
            yield word[:-2]


def plurals(word: str) -> Iterator[str]:
    """Possible plurals of a word."""
    if word in PLURALS:
        yield PLURALS[word]
    if len(word) > 2:
        yield word + "s"
        yield word + "es"
        if word.endswith("y"):
            yield word[:-1] + "ies"


def compound_parts(word: str, known: Container[str]) -> tuple[str, str] | None:
    """Two known words that make up a word ("pottedplant"), with the longest first part; or None."""
    for cut in range(len(word) - SHORTEST_PART, SHORTEST_PART - 1, -1):
        if word[:cut] in known and word[cut:] in known:
            return word[:cut], word[cut:]
    return None


def singular(word: str) -> str:
    """The likeliest singular of a word in lower case; the word itself where it is no plural."""
    if word in ONE_THING or word in ENDING_IN_S:
        return word
    if word.removesuffix("es") in ENDING_IN_S:
        return word.removesuffix("es")
    if word[:-1] in ENDING_IN_IE:
        return word[:-1]
    us = len(word) > 6 and word.endswith("uses") and not word[:-1].endswith(ENDING_IN_USE)
    o = len(word) > 5 and word.endswith("oes") and not word[:-1].endswith(ENDING_IN_OE)
    if us or o or (len(word) > 4 and word.endswith(WITH_E)):
        return word[:-2]
    return next(singulars(word), word)


def singular_forms(word: str) -> tuple[str, ...]:
    """All words that a word in lower case may be the plural of, the likeliest first: also learned
    ones, as "metastases" and "vertebrae"."""
    forms = [singular(word)]
    if word in ONE_THING:  # "glasses", but of wine
        forms += [word[:-2] if word.endswith(WITH_E) else word.removesuffix("s")]
    elif forms[0] not in ENDING_IN_S:
        for ending, others in _OTHER_SINGULARS.items():
            if word.endswith(ending) and word != ending:
                forms += [word.removesuffix(ending) + other for other in others]
    return tuple(dict.fromkeys(forms))


def is_plural(words: Sequence[str]) -> bool:
    """Whether a phrase, in lower case words, asks for several things: "all nuclei", "3 red cups".

    The noun decides, not what is said of its place: "the dog between two cups" is one dog. Where
    a noun is the same in both numbers ("sheep") only "all", "both" or a number tells.
    """
    first = words[1:2] if words[:1] == ["the"] else words[:1]
    if set(words[:2]) & ALL_WORDS or (first and _is_number(first[0])):
        return True
    if words and words[0] in ONE_WORDS and not set(words[1:2]) & (COLLECTIVES | NUMBERS):
        return False
    place = _noun(words)
    return place is not None and _is_plural_noun(words[place])


def as_singular(words: Sequence[str]) -> list[str]:
    """The phrase about one of those that a plural phrase asks for: "two cups" -> "cup"."""
    place = _noun(words)
    said = list(words)
    if place is not None and _is_plural_noun(said[place]):
        said[place] = singular(said[place])
    start = 0
    while start < len(said) - 1 and (
        said[start] in ALL_WORDS or said[start] in ("the", "of") or _is_number(said[start])
    ):
        start += 1
    return said[start:]


def _noun(words: Sequence[str]) -> int | None:
    """Where the noun is that the phrase is about."""
    start = 0
    for place, word in enumerate(words):
        if word == "of" and place and words[place - 1] in COLLECTIVES | ALL_WORDS:
            start = place + 1
    end = start
    while end < len(words) and (words[end] not in AFTER_NOUN or end == start):
        end += 1
    # "dogs sitting on the grass", "cups left"
    while end - 1 > start and (words[end - 1].endswith(("ing", "ed")) or words[end - 1] in SIDES):
        end -= 1
    return end - 1 if end > start else None


def _is_plural_noun(word: str) -> bool:
    if word.endswith(("'s", "s'")):
        return False
    return word in LEARNED_PLURALS or word == "ones" or singular(word) != word


def _is_number(word: str) -> bool:
    return word in NUMBERS or (word.isdecimal() and int(word) > 1)
