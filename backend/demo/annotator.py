"""A simulated annotator: sends the requests of Label Studio's page and receives its answers.

With Auto-Accept off, the page sends all clicks of one label with each new one, and a phrase alone.
The answer replaces the suggestion on the canvas.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import DemoError
from backend.label_studio import rle
from backend.label_studio.client import LabelStudio
from backend.label_studio.controls import ClickControl, ImageControls
from backend.label_studio.probe import read_answer


@dataclass(frozen=True)
class Point:
    """A click at (x, y) in pixels; Alt-click makes it negative."""

    x: int
    y: int
    positive: bool = True


@dataclass(frozen=True)
class ShownRegion:
    """One region of an answer. region: as received; mask: H,W bool."""

    region: dict[str, Any] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True)
class PageState:
    """What the page shows after an answer: one region, or one for each object of a kind."""

    regions: tuple[ShownRegion, ...]
    status: str
    milliseconds: float

    @property
    def region(self) -> dict[str, Any]:
        """The first region as received."""
        return self.regions[0].region

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The first region's mask, H,W."""
        return self.regions[0].mask


class Annotator:
    """Works on one task with one label."""

    def __init__(
        self,
        label_studio: LabelStudio,
        backend: int,
        task: int,
        image: ImageControls,
        label: str,
        size: tuple[int, int],
    ) -> None:
        self._label_studio = label_studio
        self._backend = backend
        self._task = task
        self._image = image
        self._control = _control_of(image, label)
        self._label = label
        self._width, self._height = size
        self._clicks: list[dict[str, Any]] = []
        self._phrases: list[dict[str, Any]] = []
        self._shown: PageState | None = None
        self.points: list[Point] = []

    @property
    def shown(self) -> PageState:
        """What is on the canvas. Raises DemoError before the first mask."""
        if self._shown is None:
            raise DemoError("No mask has been shown yet.")
        return self._shown

    def click(self, point: Point) -> PageState:
        """Click, or Alt-click."""
        self.points.append(point)
        self._clicks.append(
            {
                "id": _region_id(),
                "type": "keypointlabels",
                "from_name": self._control.name,
                "to_name": self._image.name,
                "origin": "manual",
                "is_positive": point.positive,
                "original_width": self._width,
                "original_height": self._height,
                "image_rotation": 0,
                "value": {
                    "x": 100 * point.x / self._width,
                    "y": 100 * point.y / self._height,
                    "width": 0.3,
                    "keypointlabels": [self._label],
                },
            }
        )
        return self._ask(self._clicks)

    def type(self, phrase: str) -> PageState:
        """Type a phrase and press Enter; a second phrase edits the first."""
        region_id = self._phrases[0]["id"] if self._phrases else _region_id()
        self._phrases = [
            {
                "id": region_id,
                "type": "textarea",
                "from_name": self._image.phrase,
                "to_name": self._image.name,
                "origin": "manual",
                "value": {"text": [phrase]},
            }
        ]
        return self._ask(self._phrases)

    def submit(self) -> dict[str, Any]:
        """Accept the mask and submit; returns the annotation."""
        accepted = {**self.shown.region, "origin": "manual"}
        return self._label_studio.create_annotation(self._task, [accepted, *self._phrases])

    def _ask(self, items: Sequence[dict[str, Any]]) -> PageState:
        started = time.perf_counter()
        answer = self._label_studio.interactive_annotating(
            self._backend, self._task, {"result": list(items)}
        )
        milliseconds = (time.perf_counter() - started) * 1000
        has_mask, sentence = read_answer(answer)
        if not has_mask:
            raise DemoError(sentence)
        result = answer["data"]["result"]
        regions = tuple(
            ShownRegion(
                item,
                rle.decode(item["value"]["rle"], item["original_width"], item["original_height"]),
            )
            for item in result
            if "rle" in item["value"]
        )
        status = " ".join(item["value"]["text"][0] for item in result if item["type"] == "textarea")
        self._shown = PageState(regions, status, milliseconds)
        return self._shown


def _control_of(image: ImageControls, label: str) -> ClickControl:
    for control in image.clicks:
        if control.label(label):
            return control
    raise DemoError(f"The labeling config has no key point label '{label}'.")


def _region_id() -> str:
    """Ten letters, like the page's ids."""
    return secrets.token_urlsafe(8)[:10]
