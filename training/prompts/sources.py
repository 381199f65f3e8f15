"""What the annotations of each source leave out, and which sources annotate parts of one thing.

A source that is not named here annotates some of its objects together with all others of the same
kinds. Nothing can be said about what is missing in its pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.prompts.vocabulary import CARRIED, WORN

CLICKABLE_REGIONS = frozenset({"msrc", "camvid", "ecssd", "bsds", "human"})
"""Sources whose semantic regions are one stuff or one thing, fit to be clicked as they are."""

COMPLETE = frozenset(
    {"voc", "sbd", "coco", "refcoco", "refcoco+", "refcocog", "grefcoco", "synthetic"}
)
"""Sources that annotate all of their categories wherever those occur: what else is absent."""

INCOMPLETE = frozenset({"coco_persons", "persons"})
"""Sources that annotate one object and leave others of its kind out: no phrase alone can be
answered, and nothing is said that compares it with the others."""


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
