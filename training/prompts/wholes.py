"""Data sets that take one thing apart, and what all its parts are together.

There one click has two right answers, and the phrase has to decide: the garment or the person, the
window or the house.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.prompts.vocabulary import CARRIED, WORN


@dataclass(frozen=True)
class Whole:
    """A thing that a data set annotates by its parts only.

    parts: categories of its parts, ``unsure`` ones of them may or may not belong to it. single: a
    category that must occur exactly once, or the parts may belong to several wholes; "" is none.
    """

    concept: str
    names: tuple[str, ...]
    parts: frozenset[str]
    unsure: frozenset[str]
    single: str = ""


PERSON = Whole(
    "person",
    ("person", "woman", "person", "girl", "the person", "the whole person", "human"),
    WORN,
    CARRIED,
)
BUILDING = Whole(
    "building",
    ("building", "house", "the building", "the whole building", "the house"),
    frozenset({"facade", "window", "balcony fence", "shop", "vegetation"}),
    frozenset({"vegetation"}),
    single="facade",
)
WHOLES = {"ccp": PERSON, "facade": BUILDING}
"""By source."""

# Sources that take one person apart.
DISSECTED = frozenset(source for source, whole in WHOLES.items() if whole is PERSON)
