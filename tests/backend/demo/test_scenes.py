"""How the demonstration judges and shows its steps, and that config and photographs fit them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.demo.scenes import (
    PHOTOGRAPHS,
    SCENES,
    PageState,
    Point,
    Scene,
    ShownRegion,
    Step,
    play,
    save_overlay,
)
from backend.demo.show import table
from backend.errors import DemoError
from backend.label_studio.config import parse_config

CONFIG = Path(__file__).parents[3] / "plugin_config" / "click_and_phrase.xml"


class Replay:
    """An annotator that gets the same mask after each action, or an error."""

    def __init__(self, mask: np.ndarray[Any, Any], error: str = "") -> None:
        self.points: list[Point] = []
        self._mask = mask
        self._error = error

    def click(self, point: Point) -> PageState:
        self.points.append(point)
        return self.type("")

    def type(self, phrase: str) -> PageState:
        if self._error:
            raise DemoError(self._error)
        return PageState((ShownRegion({}, self._mask),), "understood", 12.0)


def _played(actor: Replay, *points: Point) -> list[Step]:
    scene = Scene(PHOTOGRAPHS[0], tuple(("a click", point) for point in points))
    return list(play(scene, actor))  # type: ignore[arg-type]


@pytest.fixture
def left_half() -> np.ndarray[Any, Any]:
    mask = np.zeros((10, 20), bool)
    mask[:, :10] = True
    return mask


def test_a_mask_that_follows_every_click_passes(left_half: np.ndarray[Any, Any]) -> None:
    steps = _played(Replay(left_half), Point(3, 3), Point(15, 3, positive=False))
    assert [step.wrong for step in steps] == ["", ""]
    assert [step.iou for step in steps] == [None, 1.0]


@pytest.mark.parametrize(
    ("point", "wrong"),
    [
        (Point(15, 3), "the positive click is outside the mask"),
        (Point(3, 3, positive=False), "the negative click is inside the mask"),
    ],
)
def test_a_mask_that_ignores_a_click_is_wrong(
    left_half: np.ndarray[Any, Any], point: Point, wrong: str
) -> None:
    (step,) = _played(Replay(left_half), point)
    assert step.wrong == wrong


def test_a_step_without_mask_is_wrong_and_the_scene_goes_on(
    left_half: np.ndarray[Any, Any],
) -> None:
    steps = _played(Replay(left_half, "no mask. Nothing found here"), Point(1, 1), Point(2, 2))
    assert [step.wrong for step in steps] == ["no mask. Nothing found here"] * 2


def test_every_kind_of_step_is_shown_and_every_click_is_on_its_picture() -> None:
    names = [name for scene in SCENES for name, _ in scene.actions]
    for wanted in ("positive click", "second click", "negative click", "phrase", "phrase first"):
        assert wanted in names
    for scene in SCENES:
        height, width = scene.photograph.pixels().shape[:2]
        points = [action for _, action in scene.actions if isinstance(action, Point)]
        assert all(0 <= point.x < width and 0 <= point.y < height for point in points)


def test_photographs_come_without_a_download() -> None:
    for photograph in PHOTOGRAPHS:
        assert photograph.pixels().shape[2] == 3
        assert len(photograph.content()) > 10_000


def test_the_shipped_config_has_the_photographs_classes() -> None:
    image = parse_config(CONFIG.read_text()).images[0]
    brushes = {label.value for _, label in image.labels}
    clicks = {label.label.value for control in image.clicks for label in control.labels}
    assert {photograph.label for photograph in PHOTOGRAPHS} <= brushes & clicks


def test_an_overlay_tints_the_mask_alone(tmp_path: Path) -> None:
    # given
    pixels = np.full((100, 200, 3), 128, np.uint8)
    mask = np.zeros((100, 200), bool)
    mask[:, :100] = True
    step = Step("cat", "a click", "click at (3, 4)", None, 1.0, "well", "", mask, (Point(30, 40),))
    # when
    save_overlay(tmp_path / "overlay.png", pixels, step)
    # then
    drawn = np.asarray(Image.open(tmp_path / "overlay.png").convert("RGB")).astype(int)
    bluer = drawn[..., 2] - drawn[..., 0] > 40
    middle = drawn.shape[1] // 2
    assert bluer[:, :middle].sum() > 20 * bluer[:, middle + 10 :].sum()


def test_a_caption_shows_each_sign_of_the_status_line(tmp_path: Path) -> None:
    # given answers that differ in one sign
    pixels, mask = np.full((50, 200, 3), 128, np.uint8), np.zeros((50, 200), bool)
    drawn = set()
    for sign in ("→", "✓", "–", "…"):
        # when
        save_overlay(tmp_path / "a.png", pixels, Step("cat", "a", "b", answer=sign, mask=mask))
        drawn.add(np.asarray(Image.open(tmp_path / "a.png")).tobytes())
    # then their pictures differ, too: none is an empty box
    assert len(drawn) == 4


def test_the_table_shows_what_went_wrong_in_place_of_the_answer() -> None:
    from rich.console import Console

    good = Step("cat", "phrase", "'cat'", 0.5, 41.6, "'cat' → Cat; click on it")
    bad = Step("cat", "then click", "click at (1, 2)", None, 0.0, "", "the storage answered 401")
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table([good, bad]))
    text = console.export_text()
    assert "0.500" in text
    assert "42" in text
    assert "the storage answered 401" in text
    assert "click on it" not in text
