"""Which labels of the project a phrase speaks of: "the red cat" speaks of Cat.

Only what can be said for sure: the label's words (or alias's) stand in the phrase, in singular or
plural, or a common other word for them does. Everything finer is the model's business.
"""

import re
from collections.abc import Sequence

from backend.label_studio.config import BrushControl, Label

_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "people": "person",
    "persons": "person",
    "children": "child",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "oxen": "ox",
    "leaves": "leaf",
    "knives": "knife",
    "wolves": "wolf",
    "calves": "calf",
    "shelves": "shelf",
    "buses": "bus",
}
# Each group means the same class wherever a project has only one of its words as a label.
_SAME = (
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
_WORD = re.compile(r"[^\W_]+(?:['’]s)?")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# What follows these says where or with what the named thing is, not what it is.
_PLACES = """
on in at near by with under behind above below beside between of from next left right to without
holding wearing against over inside outside around
"""
_AFTER = frozenset(_PLACES.split())


def labels_named(
    phrase: str, labels: Sequence[tuple[BrushControl, Label]]
) -> tuple[tuple[BrushControl, Label], ...]:
    """The labels that a phrase names, the likeliest first: what stands before "on", "with" …,
    owners ("the dog's ear") last, and longer names before shorter ones in the same place."""
    words = _WORD.findall(phrase)
    possessive = [word.endswith(("'s", "’s")) for word in words]
    said = [_singular(re.sub(r"['’]s$", "", word).casefold()) for word in words]
    turn = next((at for at, word in enumerate(said) if word in _AFTER and at), len(said))
    found = []
    for order, (brush, label) in enumerate(labels):
        best: tuple[bool, bool, int, int, int] | None = None
        for exact, name in _names(label, labels):
            for at in range(len(said) - len(name) + 1):
                if said[at : at + len(name)] != name:
                    continue
                rank = (at >= turn, possessive[at + len(name) - 1], -len(name), not exact, at)
                best = min(best, rank) if best else rank
        if best is not None:
            found.append((best, order, (brush, label)))
    return tuple(entry for _, _, entry in sorted(found, key=lambda item: item[:2]))


def _names(
    label: Label, labels: Sequence[tuple[BrushControl, Label]]
) -> list[tuple[bool, list[str]]]:
    """How a label can be said: (its own words?, the words)."""
    own = [_split(text) for text in (label.value, label.alias) if text]
    names = [(True, words) for words in own if words]
    others = {tuple(_split(other.value)) for _, other in labels}
    for words in own:
        for group in _SAME if len(words) == 1 else ():
            if words[0] in group:
                names += [(False, [w]) for w in group if w != words[0] and (w,) not in others]
    return names


def _split(text: str) -> list[str]:
    return [_singular(word.casefold()) for word in _WORD.findall(_CAMEL.sub(" ", text))]


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
