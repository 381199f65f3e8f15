"""A view and everything that can be said of it: measured on first use, or written by people.

Written phrases are used as long as they are true: mirrored with a mirrored picture, without place
words in a part of it, without colours in a grey version of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.data.sample import SampleObject
from training.data.transforms import Tint, View
from training.prompts.phrases import Phrase
from training.prompts.scenes import INCOMPLETE, Scene
from training.prompts.vocabulary import COLOURS
from training.prompts.written_phrases import AttributeWords, mirrored, names_place

# Scenes are measured at about this many pixels per side, enough for colour, place and size.
MEASURED = 160


class PictureScene:
    """The scenes of one view, measured on first use, and the phrases that people wrote of them.

    tint: the tint that the view's picture already has.
    """

    def __init__(
        self,
        view: View,
        tint: Tint | None = None,
        words: AttributeWords | None = None,
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
