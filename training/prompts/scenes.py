"""The objects of a picture, measured: place, size and colour of each, and which share a name.

Also what the annotations of each source leave out, and which sources annotate parts of one thing.

A source that is not named here annotates some of its objects together with all others of the same
kinds. Nothing can be said about what is missing in its pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.data.sample import SampleObject
from training.prompts import facts
from training.prompts.facts import Fact, VisibleObject
from training.prompts.vocabulary import (
    CARRIED,
    COLOURS,
    WORN,
    concept_of,
    is_part,
    may_be_called,
    words_for,
)

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
class WholeObject:
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


PERSON = WholeObject(
    "person",
    ("person", "woman", "person", "girl", "the person", "the whole person", "human"),
    WORN,
    CARRIED,
)
BUILDING = WholeObject(
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


# Least share of the picture of an object that a phrase alone asks for.
LARGE_ENOUGH = 0.003


def colour_names(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """H,W indices into `COLOURS` of an H,W,3 picture, by a table of five bits per channel."""
    bits = (image >> 3).astype(np.int64)
    names: NDArray[np.int64] = _colour_table()[
        (bits[..., 0] << 10) | (bits[..., 1] << 5) | bits[..., 2]
    ]
    return names


@functools.cache
def _colour_table() -> NDArray[np.int64]:
    levels = (np.arange(32) * 8 + 4) / 255.0
    red, green, blue = np.meshgrid(levels, levels, levels, indexing="ij")
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    safe = np.where(chroma == 0, 1.0, chroma)
    hue = np.where(
        value == red,
        ((green - blue) / safe) % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = hue * 60.0
    saturation = np.where(value > 0, chroma / np.maximum(value, 1e-6), 0)
    index = {name: place for place, name in enumerate(COLOURS)}
    warm = (hue >= 12) & (hue < 50)
    names = np.select(
        [
            value < 0.2,
            (saturation < 0.15) & (value > 0.75),
            (saturation < 0.15) & (value < 0.3),
            saturation < 0.15,
            warm & ((value < 0.7) | (saturation < 0.55)),
            warm & (hue < 40),
            (hue < 12) & (saturation < 0.5) & (value > 0.7),
            (hue < 12) | (hue >= 345),
            (hue < 68) & (value < 0.35),
            hue < 68,
            hue < 165,
            hue < 258,
            hue < 295,
        ],
        [
            index["black"],
            index["white"],
            index["black"],
            index["grey"],
            index["brown"],
            index["orange"],
            index["pink"],
            index["red"],
            index["brown"],
            index["yellow"],
            index["green"],
            index["blue"],
            index["purple"],
        ],
        index["pink"],
    )
    table: NDArray[np.int64] = names.astype(np.int64).ravel()
    return table


__all__ = ["Fact", "Scene", "VisibleObject"]


class Scene:
    """All objects visible in a picture, and what is true of them.

    siblings: whether all others of the same kinds are annotated, so that objects can be compared.
    """

    def __init__(
        self,
        image: NDArray[np.uint8],
        instances: NDArray[np.int16],
        objects: Sequence[SampleObject],
        *,
        siblings: bool = True,
    ) -> None:
        self.siblings = siblings
        height, width = instances.shape
        size = max([int(instances.max(initial=0))] + [about.id for about in objects]) + 2
        labels = instances.astype(np.int64) + 1
        flat = labels.ravel()
        area = np.bincount(flat, minlength=size).astype(float)
        columns = np.tile(np.arange(width) + 0.5, height)
        rows = np.repeat(np.arange(height) + 0.5, width)
        across = np.bincount(flat, columns, size)
        down = np.bincount(flat, rows, size)
        names = colour_names(image).ravel()
        table = np.bincount(flat * len(COLOURS) + names, minlength=size * len(COLOURS))
        light = np.bincount(flat, image.mean(2, dtype=np.float32).ravel(), size)
        shares = table.reshape(-1, len(COLOURS)) / np.maximum(area, 1)[:, None]
        boxes = ndimage.find_objects(labels)
        seen = []
        for about in objects:
            label = about.id + 1
            if area[label] == 0:
                continue
            vertical, horizontal = boxes[label - 1]
            seen.append(
                VisibleObject(
                    about,
                    None if about.category is None else concept_of(about.category),
                    area[label] / (height * width),
                    across[label] / area[label] / width,
                    down[label] / area[label] / height,
                    horizontal.start / width,
                    horizontal.stop / width,
                    vertical.start / height,
                    vertical.stop / height,
                    shares[label],
                    light[label] / area[label],
                )
            )
        self.seen = tuple(seen)

    def of(self, object_id: int) -> VisibleObject | None:
        """The visible part of this object, or None."""
        return next((thing for thing in self.seen if thing.about.id == object_id), None)

    def named(self, concept: str) -> list[VisibleObject]:
        """Every visible object of this concept."""
        return [thing for thing in self.seen if thing.concept == concept]

    def called(self, word: str) -> list[VisibleObject]:
        """Every visible object that the word is right for."""
        return [thing for thing in self.seen if _is_called(thing, word)]

    def perhaps_called(self, word: str) -> list[VisibleObject]:
        """Visible objects that people might call so: related categories, unnamed things."""
        return [
            thing
            for thing in self.seen
            if not _is_called(thing, word)
            and (thing.concept is None or may_be_called(thing.concept, word))
        ]

    def parts(self, concept: str) -> list[VisibleObject]:
        """Visible objects that are annotated separately but are parts of this concept."""
        return [thing for thing in self.seen if thing.concept and is_part(thing.concept, concept)]

    def is_worth_naming(self, one: VisibleObject) -> bool:
        """Whether a phrase alone may ask for it: it, or all of its concept, is large."""
        same = self.named(one.concept or "")
        return one.area > LARGE_ENOUGH or sum(other.area for other in same) > 2 * LARGE_ENOUGH

    def concepts(self) -> set[str]:
        return {thing.concept for thing in self.seen if thing.concept is not None}

    def facts(
        self, one: VisibleObject, rivals: Sequence[VisibleObject] | None = None
    ) -> list[Fact]:
        """Everything that can be said of this object besides its name.

        rivals: the objects to distinguish it from, by default all others of its concept.
        """
        if rivals is None:
            rivals = [] if one.concept is None else self.named(one.concept)
        rivals = [rival for rival in rivals if rival is not one]
        semantic = any(thing.about.semantic for thing in (one, *rivals))
        comparable = one.concept is not None and not semantic and self.siblings
        true = facts.facts_of(one, rivals, comparable=comparable)
        return true if self.siblings else [replace(fact, unique=False) for fact in true]


def _is_called(thing: VisibleObject, word: str) -> bool:
    return thing.concept is not None and (word == thing.concept or word in words_for(thing.concept))
