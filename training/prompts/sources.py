"""What the annotations of each source leave out, and which sources annotate parts of one thing.

A source that is not named here annotates some of its objects together with all others of the same
kinds. Nothing can be said about what is missing in its pictures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from training.prompts.vocabulary import CARRIED, WORN, concept_of

CLICKABLE_REGIONS = frozenset({"msrc", "camvid", "ecssd", "bsds", "human"})
"""Sources whose semantic regions are one thing or one kind of stuff, so a click can mean them."""

COMPLETE = frozenset(
    {"voc", "sbd", "coco", "refcoco", "refcoco+", "refcocog", "grefcoco", "synthetic"}
)
"""Sources that annotate every object of their categories, so that a category can be absent."""

INCOMPLETE = frozenset({"coco_persons", "persons"})
"""Sources that annotate one object and leave out others of its kind. A phrase alone has no right
answer there, and nothing that compares the object with others may be said."""


@dataclass(frozen=True)
class Whole:
    """A thing that a data set annotates by its parts only, such as a person by garments.

    One click then has two right answers, and the phrase decides. parts: categories of its parts, of
    which the ``unsure`` ones may or may not belong to it. single: a category that must occur
    exactly once, since otherwise the parts may belong to several wholes; "" for none.
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


def annotated_concepts(
    categories: Mapping[str, Collection[str]],
) -> dict[str, tuple[str, ...]]:
    """By source, its concepts in a fixed order; only sources that annotate all of their objects.

    categories: by source, those that occur.
    """
    return {
        source: tuple(sorted({concept_of(name) for name in names}))
        for source, names in categories.items()
        if source in COMPLETE
    }
