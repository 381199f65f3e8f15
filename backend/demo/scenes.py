"""What the demonstration does with each photograph, how each step is judged, and its picture.

The photographs are part of scikit-image's package: nothing is downloaded. The simulated annotator
sends the requests of Label Studio's page and receives its answers. With Auto-Accept off, the page
sends all clicks of one label with each new one, and a phrase alone. The answer replaces the
suggestion on the canvas.
"""

import secrets
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.io import imread

from backend.errors import DemoError
from backend.label_studio import rle
from backend.label_studio.client import LabelStudio
from backend.label_studio.controls import ClickControl, ImageControls
from backend.label_studio.probe import read_answer
from model.errors import PhraseClickError
from training.evaluation.overlay import overlay
from training.evaluation.protocol import overlap


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


# -- scenes

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
PORTRAIT = Photograph("portrait", "astronaut.png", "Person")
COFFEE = Photograph("coffee", "coffee.png", "Cup")

PHOTOGRAPHS = (ASTRONAUT, CAT, PORTRAIT, COFFEE)


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
    # A click says where: on a person's hair. The phrase says what of all that is there.
    Scene(PORTRAIT, (("click on hair", Point(225, 85)), ("phrase", "hair"))),
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
    lines = [line for text in said for line in textwrap.wrap(text, drawn.width // 8)]
    height = 10 + 17 * len(lines)
    image = Image.new("RGB", (drawn.width, height + drawn.height), "white")
    # Pillow's own font has no arrow and no tick.
    font = ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), 13)
    ImageDraw.Draw(image).text((8, 5), "\n".join(lines), "black", font)
    image.paste(drawn, (0, height))
    image.save(path)
