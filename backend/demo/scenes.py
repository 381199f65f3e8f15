"""What the demonstration does with each photograph, how each step is judged, and its picture.

The photographs are part of scikit-image's package: nothing is downloaded.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.io import imread

from backend.demo.annotator import Annotator, Point
from model.errors import PhraseClickError
from training.evaluation.overlay import overlay
from training.evaluation.protocol import overlap

Action = Point | str  # a click, or a phrase


@dataclass(frozen=True)
class Photograph:
    """One picture of ``skimage.data`` and the label of its main object."""

    name: str
    file: str
    label: str

    def content(self) -> bytes:
        """The file's bytes, for an upload."""
        return self._path.read_bytes()

    def pixels(self) -> NDArray[np.uint8]:
        """H x W x 3."""
        return np.asarray(imread(self._path))[..., :3]

    @property
    def _path(self) -> Path:
        return Path(skimage.__file__).parent / "data" / self.file


ASTRONAUT = Photograph("astronaut", "astronaut.png", "Person")
CAT = Photograph("cat", "chelsea.png", "Cat")
MOTORCYCLE = Photograph("motorcycle", "motorcycle_left.png", "Motorcycle")
COFFEE = Photograph("coffee", "coffee.png", "Cup")

PHOTOGRAPHS = (ASTRONAUT, CAT, MOTORCYCLE, COFFEE)


@dataclass(frozen=True)
class Scene:
    """One photograph and the actions on it, in order."""

    photograph: Photograph
    actions: tuple[tuple[str, Action], ...]  # what the table calls it, and what is sent


@dataclass(frozen=True)
class Step:
    """One row of the table. ``wrong`` is the problem, or ''; ``iou`` is with the step before."""

    photograph: str
    name: str
    sent: str
    iou: float | None = None
    milliseconds: float = 0.0
    answer: str = ""
    wrong: str = ""
    mask: NDArray[np.bool_] | None = None
    points: tuple[Point, ...] = ()


SCENES = (
    Scene(
        ASTRONAUT,
        (
            ("positive click", Point(150, 400)),
            ("second click", Point(225, 85)),
            ("negative click", Point(420, 440, positive=False)),
            ("phrase", "the woman in the orange suit"),
        ),
    ),
    Scene(CAT, (("phrase first", "cat"), ("then click", Point(110, 200)))),
    # By the phrase alone the shipped model is not sure enough to draw anything.
    Scene(MOTORCYCLE, (("positive click", Point(384, 198)), ("phrase", "red motorcycle"))),
)


def play(scene: Scene, annotator: Annotator) -> Iterator[Step]:
    """Do the actions one by one; the error of a failed step is in its ``wrong``."""
    before: NDArray[np.bool_] | None = None
    for name, action in scene.actions:
        sent = _words(action)
        try:
            shown = annotator.type(action) if isinstance(action, str) else annotator.click(action)
        except PhraseClickError as error:
            yield Step(scene.photograph.name, name, sent, wrong=str(error))
            continue
        iou = None if before is None else overlap(before, shown.mask)
        yield Step(
            scene.photograph.name,
            name,
            sent,
            iou,
            shown.milliseconds,
            shown.status,
            _wrong(annotator.points, shown.mask),
            shown.mask,
            tuple(annotator.points),
        )
        before = shown.mask


def _wrong(points: list[Point], mask: NDArray[np.bool_]) -> str:
    """A click that the mask does not follow, or ''."""
    for point in points:
        if bool(mask[point.y, point.x]) != point.positive:
            position = "positive click is outside" if point.positive else "negative click is inside"
            return f"the {position} the mask"
    return ""


def _words(action: Action) -> str:
    if isinstance(action, str):
        return f"'{action}'"
    return f"{'' if action.positive else 'Alt-'}click at ({action.x}, {action.y})"


def save_overlay(path: Path, pixels: NDArray[np.uint8], step: Step) -> None:
    """Save one step on its photograph, below a caption of what was sent and answered."""
    drawn = overlay(pixels, step.mask, [(p.x, p.y, p.positive) for p in step.points])
    said = (f"{step.name}: {step.sent}", step.wrong or step.answer)
    lines = [line for text in said for line in textwrap.wrap(text, drawn.width // 7)]
    height = 10 + 17 * len(lines)
    image = Image.new("RGB", (drawn.width, height + drawn.height), "white")
    ImageDraw.Draw(image).text((8, 5), "\n".join(lines), "black", ImageFont.load_default(13))
    image.paste(drawn, (0, height))
    image.save(path)
