"""A team at work on pictures whose truth is known: clicks until a mask is good, mends it, submits.

What is sent is what Label Studio's page would send; where to click next is the protocol's answer
(``training.evaluation.protocol``), as a careful annotator would.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.demo.annotator import Annotator, Point
from backend.demo.story import overlap
from backend.demo.workshop import LABEL, Bench
from backend.label_studio import rle
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import ImageControls
from backend.label_studio.host import Json
from training.evaluation.protocol import Target, next_click

# Good enough to be mended by hand rather than clicked on.
GOOD_ENOUGH = 0.85
_MOST_CLICKS = 6


@dataclass(frozen=True)
class Labeled:
    """One submitted picture: clicks for each ring, and how good the first and last masks were."""

    clicks: tuple[int, ...]
    first_ious: tuple[float, ...]
    last_ious: tuple[float, ...]


class Team:
    """At work in one project."""

    def __init__(self, studio: LabelStudio, backend: int, image: ImageControls) -> None:
        self._studio = studio
        self._backend = backend
        self._image = image

    def label(self, task: int, bench: Bench) -> Labeled:
        """Label every ring of a picture and submit it."""
        started = time.monotonic()
        results, clicks, first, last = [], [], [], []
        for mask in bench.masks:
            region, ious = self._ring(task, bench, mask)
            results.append(region)
            clicks.append(len(ious))
            first.append(ious[0])
            last.append(ious[-1])
        seconds = time.monotonic() - started
        self._studio.create_annotation(task, results, lead_time=round(seconds, 3))
        return Labeled(tuple(clicks), tuple(first), tuple(last))

    def _ring(self, task: int, bench: Bench, mask: NDArray[np.bool_]) -> tuple[Json, list[float]]:
        """Click until the mask is good; then draw what is still wrong by hand."""
        height, width = mask.shape
        annotator = Annotator(
            self._studio, self._backend, task, self._image, LABEL, (width, height)
        )
        target = Target(mask, np.zeros_like(mask), "")
        shown = np.zeros_like(mask)
        ious: list[float] = []
        spots: list[tuple[float, float, bool]] = []
        while len(ious) < _MOST_CLICKS and (not ious or ious[-1] < GOOD_ENOUGH):
            spot = next_click(target, shown, spots)
            assert spot is not None, "a mask that is not good has something to click on"
            spots.append(spot)
            x, y, positive = spot
            shown = annotator.click(Point(int(x), int(y), positive=positive)).mask
            ious.append(overlap(shown, mask))
        region = annotator.shown.region
        value = {**region["value"], "rle": rle.encode(mask)}
        return {**region, "value": value, "origin": "manual"}, ious
