"""The objects of a picture, measured: place, size and colour of each, and which share a name.

Also what the annotations of each source leave out, and which sources annotate parts of one thing.

A source that is not named here annotates some of its objects together with all others of the same
kinds. Nothing can be said about what is missing in its pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2hsv

from training.data.sample import SampleObject
from training.data.transforms import Tint, View
from training.prompts import facts
from training.prompts.facts import Extent, Fact, VisibleObject
from training.prompts.vocabulary import (
    CARRIED,
    COLOURS,
    WORN,
    concept_of,
    is_part,
    may_be_called,
    words_for,
)
from training.prompts.written_phrases import AttributeWords, mirrored, names_place

CLICKABLE_REGIONS = frozenset({"msrc", "camvid", "ecssd", "bsds", "human"})
"""Sources whose semantic regions are one thing or one kind of stuff, so a click can mean them."""

TEAM = "team"
"""A team's own pictures: who accepts an annotation has looked for all labels of the project."""

COMPLETE = frozenset(
    {"voc", "sbd", "coco", "refcoco", "refcoco+", "refcocog", "grefcoco", "synthetic", TEAM}
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


def annotated_concepts(categories: Mapping[str, Collection[str]]) -> dict[str, tuple[str, ...]]:
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
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(1, -1, 3)
    hue, saturation, value = rgb2hsv(cube)[0].T
    hue = hue * 360.0
    warm = (hue >= 12) & (hue < 50)
    # The first name whose condition holds.
    rules = (
        ("black", value < 0.2),
        ("white", (saturation < 0.15) & (value > 0.75)),
        ("black", (saturation < 0.15) & (value < 0.3)),
        ("grey", saturation < 0.15),
        ("brown", warm & ((value < 0.7) | (saturation < 0.55))),
        ("orange", warm & (hue < 40)),
        ("pink", (hue < 12) & (saturation < 0.5) & (value > 0.7)),
        ("red", (hue < 12) | (hue >= 345)),
        ("brown", (hue < 68) & (value < 0.35)),
        ("yellow", hue < 68),
        ("green", hue < 165),
        ("blue", hue < 258),
        ("purple", hue < 295),
        ("pink", hue >= 295),
    )
    places = [COLOURS.index(name) for name, _ in rules]
    return np.select([holds for _, holds in rules], places).astype(np.int64)


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
            rows_seen, columns_seen = boxes[label - 1]
            middle = across[label] / area[label], down[label] / area[label]
            seen.append(
                VisibleObject(
                    about,
                    about.concept,
                    area[label] / (height * width),
                    _extent(columns_seen, middle[0], width),
                    _extent(rows_seen, middle[1], height),
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


def _extent(seen: slice, middle: float, size: int) -> Extent:
    """Of pixels along one side of the picture, as shares of it."""
    return Extent(seen.start / size, middle / size, seen.stop / size)


def _is_called(thing: VisibleObject, word: str) -> bool:
    return thing.concept is not None and (word == thing.concept or word in words_for(thing.concept))


@dataclass(frozen=True)
class Phrase:
    """A phrase, the ids it denotes (none: something absent), and the attributes it names.

    unsure: ids of objects that some people would include and others not; both answers are right.
    """

    text: str
    ids: tuple[int, ...]
    attributes: tuple[str, ...]
    unsure: tuple[int, ...] = ()


# Scenes are measured at about this many pixels per side, enough for colour, place and size.
MEASURED = 160


class PictureScene:
    """The scenes of one view, measured on first use, and the phrases that people wrote of them.

    Written phrases are used as long as they are true: mirrored with a mirrored picture, without
    place words in a part of it, without colours in a grey version of it. tint: the tint that the
    view's picture already has.
    """

    def __init__(
        self, view: View, tint: Tint | None = None, words: AttributeWords | None = None
    ) -> None:
        self.view = view
        self._tint = tint
        self._words = words or AttributeWords()

    @cached_property
    def shown(self) -> Scene:
        """The objects in view."""
        return self._measured(self.view.image, self.view.instances)

    @cached_property
    def whole(self) -> Scene:
        """The objects in the whole picture, of which a close view keeps the phrases."""
        sample = self.view.sample
        if self.view.kind == "whole":
            return self.shown
        image, instances = sample.image, sample.instances
        if self.view.mirrored:
            image, instances = image[:, ::-1], instances[:, ::-1]
        return self._measured(image, instances, self._tint)

    def human(self, about: SampleObject, *, of_picture: bool = False) -> list[Phrase]:
        """Written phrases for this object alone that are true in this view.

        of_picture: place words may refer to the whole picture although a part of it is shown.
        """
        places = of_picture or self.view.kind == "whole"
        texts = [self._still_true(text, places=places) for text in about.phrases]
        return [Phrase(text, (about.id,), self._words.held(text)) for text in texts if text]

    def expressions(self) -> list[Phrase]:
        """Written phrases for several objects or none; for views of the whole picture only."""
        if self.view.kind != "whole":
            return []
        said = self.view.sample.expressions
        texts = [
            (self._still_true(expression.text, places=True), expression.ids) for expression in said
        ]
        return [Phrase(text, ids, self._words.held(text)) for text, ids in texts if text]

    def _still_true(self, text: str, *, places: bool) -> str | None:
        if not places and names_place(text):
            return None
        if self._tint and not self._tint.saturation and set(COLOURS) & set(self._words.held(text)):
            return None
        return mirrored(text) if self.view.mirrored else text

    def _measured(
        self, image: NDArray[np.uint8], instances: NDArray[np.int16], tint: Tint | None = None
    ) -> Scene:
        """The scene of every n-th pixel of a picture, with this tint applied first."""
        step = max(max(instances.shape) // MEASURED, 1)
        lattice = (slice(step // 2, None, step), slice(step // 2, None, step))
        pixels = np.ascontiguousarray(image[lattice])
        return Scene(
            tint(pixels) if tint else pixels,
            instances[lattice],
            self._objects(),
            siblings=self.view.sample.source not in INCOMPLETE,
        )

    def _objects(self) -> Sequence[SampleObject]:
        """The picture's objects; in a mirrored one, left doors are right doors."""
        objects = self.view.sample.objects
        if not self.view.mirrored:
            return objects
        return [
            replace(about, category=mirrored(about.category) or about.category)
            if about.category and names_place(about.category)
            else about
            for about in objects
        ]
