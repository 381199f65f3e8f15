"""Which labels of the project a phrase names: "the red cat" names Cat.

Only what is certain: the label's words (or alias's) are in the phrase, in singular or plural, or a
common other word for them is, with blanks between them or without. In scripts without blanks, a
label's characters in a row are, and Korean words may have particles. The rest is up to the model.
"""

import re
import unicodedata
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from functools import lru_cache

from backend.label_studio.controls import BrushControl, Label, normal_form
from model.spelling import HANGUL, UNSPACED, plural, stems, words_of
from model.word_forms import singular, singular_forms

# The words of a group mean the label that is one of them: where several are, the first word's, or
# none. Of groups that share a word, the first with a label counts: a girl is a child first.
_SAME = (
    ("child", "kid", "toddler", "boy", "girl"),
    ("man", "guy", "gentleman", "boy"),
    ("woman", "lady", "girl"),
    ("person", "man", "woman", "boy", "girl", "kid", "child", "guy", "lady", "human", "pedestrian"),
    ("cat", "kitten", "kitty"),
    ("dog", "puppy", "hound"),
    ("horse", "pony", "foal"),
    ("cow", "cattle", "bull", "calf"),
    ("sheep", "lamb"),
    ("bicycle", "bike", "cycle"),
    ("motorcycle", "motorbike"),
    ("car", "automobile"),
    ("airplane", "aeroplane", "plane", "aircraft", "jet"),
    ("boat", "ship", "vessel"),
    ("sofa", "couch"),
    ("tv", "television", "tvmonitor", "monitor", "screen"),
    ("phone", "cellphone", "smartphone"),
    ("plant", "pottedplant"),
    ("table", "diningtable", "desk"),
    ("trousers", "pants"),
    ("shoe", "sneaker"),
    ("bag", "handbag", "purse"),
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_JOINED = re.compile(r"\s*(?:[,;&+/]|\b(?:and|or)\b)\s*(?:and\b\s*)?", re.IGNORECASE)
# What follows these says where or with what the named thing is, not what it is.
_PLACES = """
on in at near by with under behind above below beside between of from next left right to without
holding wearing against over inside outside around
"""
_AFTER = frozenset(_PLACES.split())
# Characters. Longer names are none that a phrase contains, and longer phrases name things early.
_LONGEST_NAME, _LONGEST_PHRASE = 200, 1_000

# What labels are called, each time: the label's place, whether the words are its own, how many.
_Names = Mapping[str, Sequence[tuple[int, bool, int]]]


def labels_named(
    phrase: str, labels: Sequence[tuple[BrushControl, Label]]
) -> tuple[tuple[BrushControl, Label], ...]:
    """The labels that a phrase names, the likeliest first: what stands before "on", "with" …,
    owners ("the dog's ear") last, and longer names before shorter ones in the same place."""
    return tuple(labels[place] for place in _places_named(phrase, _names_of(labels)))


def _names_of(labels: Sequence[tuple[BrushControl, Label]]) -> _Names:
    others = _other_words({"".join(_split(label.text)) for _, label in labels})
    names: dict[str, list[tuple[int, bool, int]]] = {}
    for place, (_, label) in enumerate(labels):
        for exact, name in _names(label, others):
            names.setdefault("".join(name), []).append((place, exact, len(name)))
    return names


def _places_named(phrase: str, names: _Names) -> list[int]:
    """As ``labels_named``, the labels' places."""
    words = _parts(_CAMEL.sub(" ", normal_form(phrase[:_LONGEST_PHRASE])))
    possessive = [word.endswith("'s") for word in words]
    forms = [singular_forms(word.removesuffix("'s")) for word in words]
    said = [one for one, *_ in forms]
    turn = next((at for at, word in enumerate(said) if word in _AFTER and at), len(said))
    best: dict[int, tuple[bool, bool, int, bool, int]] = {}
    for at, last, wanted, ending, likely in _said(forms, names):
        owner = possessive[last] or ending.endswith("의")
        for place, exact, length in names[wanted]:
            rank = (at >= turn, owner, -length, not (exact and likely), at)
            best[place] = min(best.get(place, rank), rank)
    return sorted(best, key=lambda place: (best[place], place))


def asks_for_all(phrase: str, labels: Sequence[tuple[BrushControl, Label]]) -> bool:
    """Whether a phrase means every one of a kind: it is in the plural, a label's bare name, or
    names several labels."""
    whole = {stem for stem, _ in stems("".join(_split(phrase)))}
    return (
        plural(phrase)
        or bool(kinds_named(phrase, labels))
        or any(
            "".join(_split(name)) in whole
            for _, label in labels
            for name in (label.text, label.alias)
            if _split(name)
        )
    )


def kinds_named(
    phrase: str, labels: Sequence[tuple[BrushControl, Label]]
) -> dict[str, tuple[BrushControl, Label]]:
    """The parts of a phrase that names several labels side by side, as "cups and dogs", each with
    its label; nothing for other phrases."""
    parts = _JOINED.split(phrase[:_LONGEST_PHRASE])
    if len(parts) < 2:
        return {}
    names = _names_of(labels)
    first = {part: places[0] for part in parts if (places := _places_named(part, names))}
    several = len(set(first.values())) == len(parts)
    if not several or _places_named(phrase, names)[0] not in first.values():
        return {}
    return {part: labels[place] for part, place in first.items()}


def _said(
    forms: Sequence[Sequence[str]], names: Container[str]
) -> Iterator[tuple[int, int, str, str, bool]]:
    """Where names are said: the numbers of their first and last word, the name, its Korean
    particles, and whether this is likely. forms: of each word, what it may be the plural of."""
    for at, (word, *_) in enumerate(forms):
        # The head of a compound comes last: a red-cat is a cat.
        for stem, ending in stems(word) if HANGUL.search(word) else ():
            for start in range(max(1, len(stem) - _LONGEST_NAME), len(stem) - 1):
                if stem[start:] in names and HANGUL.search(stem, start):
                    yield at, at, stem[start:], ending, True
        joined = ""
        for last in range(at, len(forms)):
            if len(joined) + len(forms[last][0]) > _LONGEST_NAME:
                break
            for form in forms[last]:
                for stem, ending in stems(joined + form):
                    if stem in names:
                        yield at, last, stem, ending, form is forms[last][0]
            joined += forms[last][0]


def _parts(text: str) -> list[str]:
    """The words of a text, with what is written without blanks taken apart into characters."""
    return [
        part
        for word in words_of(text)
        for part in (_characters(word) if UNSPACED.search(word) else [word])
    ]


def _characters(word: str) -> list[str]:
    """The characters of scripts without blanks, each with its vowel signs and tone marks, and what
    is between them as a whole."""
    parts: list[str] = []
    in_run = False
    for character in word:
        unspaced = UNSPACED.match(character) is not None
        if parts and (unicodedata.category(character)[0] == "M" or (in_run and not unspaced)):
            parts[-1] += character
        else:
            parts.append(character)
            in_run = not unspaced
    return parts


def _names(label: Label, others: Mapping[str, Sequence[str]]) -> list[tuple[bool, list[str]]]:
    """How a label can be said: (its own words?, the words). others: see :func:`_other_words`."""
    own = [words for text in (label.text, label.alias) if (words := _split(text))]
    names = [(True, words) for words in own]
    for words in own:
        names += [(False, [*words[:-1], form]) for form in singular_forms(words[-1])[1:]]
        names += [(False, [word]) for word in others.get(words[0], ()) if len(words) == 1]
    return names


def _other_words(labels: Set[str]) -> dict[str, list[str]]:
    """Common other words for the labels of one word."""
    others: dict[str, list[str]] = {}
    taken = set(labels)
    for group in _SAME:
        meant = [word for word in group if word in labels]
        if len(meant) == 1 or group[0] in meant:
            others.setdefault(meant[0], []).extend(word for word in group if word not in taken)
            taken.update(group)
    return others


@lru_cache(maxsize=20_000)
def _split_once(text: str) -> tuple[str, ...]:
    return tuple(singular(word) for word in _parts(_CAMEL.sub(" ", normal_form(text))))


def _split(text: str) -> list[str]:
    return list(_split_once(text[:_LONGEST_NAME]))
