"""What the demonstration does at each picture, and how each step is judged."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.demo.annotator import Annotator, Point
from backend.demo.photographs import ASTRONAUT, CAT, MOTORCYCLE, Photograph
from model.errors import PhraseClickError

Action = Point | str  # a click, or a phrase


@dataclass(frozen=True)
class Scene:
    """One photograph and what is done at it, in this order."""

    photograph: Photograph
    actions: tuple[tuple[str, Action], ...]  # what the table calls it, and what is sent


@dataclass(frozen=True)
class Step:
    """One line of the table. ``wrong`` says what is not as it should be; '' where all is well."""

    photograph: str
    name: str
    sent: str
    iou: float | None  # with the step before; None: there was none
    milliseconds: float
    answer: str
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
    Scene(MOTORCYCLE, (("phrase first", "red motorcycle"), ("then click", Point(384, 198)))),
)


def play(scene: Scene, annotator: Annotator) -> Iterator[Step]:
    """Act the scene, step by step; a step that fails is a step with ``wrong`` filled."""
    before: NDArray[np.bool_] | None = None
    for name, action in scene.actions:
        sent = _words(action)
        try:
            shown = annotator.type(action) if isinstance(action, str) else annotator.click(action)
        except PhraseClickError as error:
            yield Step(scene.photograph.name, name, sent, None, 0.0, "", str(error))
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


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def _wrong(points: list[Point], mask: NDArray[np.bool_]) -> str:
    """What any annotator would object to at once."""
    for point in points:
        if bool(mask[point.y, point.x]) != point.positive:
            held = "positive click is outside" if point.positive else "negative click is inside"
            return f"the {held} the mask"
    return ""


def _words(action: Action) -> str:
    if isinstance(action, str):
        return f"'{action}'"
    return f"{'' if action.positive else 'Alt-'}click at ({action.x}, {action.y})"
