"""The objects of a picture, measured: what is visible of each, and which go by the same name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.data.sample import SampleObject
from training.prompts import facts
from training.prompts.colours import colour_names
from training.prompts.facts import Fact, Seen
from training.prompts.vocabulary import COLOURS, concept_of, is_part, may_be_called, words_for

__all__ = ["Fact", "Scene", "Seen"]


class Scene:
    """All objects visible in a picture, and what is true of them.

    siblings: whether others of the same kinds are annotated, too, so that one can be compared with
    all of them.
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
        size = max([int(instances.max(initial=0))] + [each.id for each in objects]) + 2
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
        for each in objects:
            label = each.id + 1
            if area[label] == 0:
                continue
            vertical, horizontal = boxes[label - 1]
            seen.append(
                Seen(
                    each,
                    None if each.category is None else concept_of(each.category),
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

    def of(self, object_id: int) -> Seen | None:
        """What is visible of this object, if anything is."""
        return next((each for each in self.seen if each.about.id == object_id), None)

    def named(self, concept: str) -> list[Seen]:
        """Every visible object of this concept."""
        return [each for each in self.seen if each.concept == concept]

    def called(self, word: str) -> list[Seen]:
        """Every visible object that is rightly called so."""
        return [each for each in self.seen if _is_called(each, word)]

    def perhaps_called(self, word: str) -> list[Seen]:
        """Those that somebody might call so: kin by category, and things without a name."""
        return [
            each
            for each in self.seen
            if not _is_called(each, word)
            and (each.concept is None or may_be_called(each.concept, word))
        ]

    def parts(self, concept: str) -> list[Seen]:
        """What is annotated by itself but belongs to things of this concept."""
        return [each for each in self.seen if each.concept and is_part(each.concept, concept)]

    def concepts(self) -> set[str]:
        return {each.concept for each in self.seen if each.concept is not None}

    def facts(self, one: Seen, rivals: Sequence[Seen] | None = None) -> list[Fact]:
        """Everything that may be said of this object beside its name.

        rivals: what it is told apart from, by default all others of its concept.
        """
        if rivals is None:
            rivals = [] if one.concept is None else self.named(one.concept)
        rivals = [each for each in rivals if each is not one]
        semantic = any(each.about.semantic for each in (one, *rivals))
        comparable = one.concept is not None and not semantic and self.siblings
        found = facts.facts_of(one, rivals, comparable=comparable)
        return found if self.siblings else [replace(fact, unique=False) for fact in found]


def _is_called(each: Seen, word: str) -> bool:
    return each.concept is not None and (word == each.concept or word in words_for(each.concept))
