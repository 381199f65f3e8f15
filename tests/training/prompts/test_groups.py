"""What is said of several things is true of each of them and of none of the rest."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.training.conftest import BLUE, RED
from training.data.sample import SampleObject
from training.prompts.phrases import name_all, name_some
from training.prompts.scenes import Scene
from training.prompts.vocabulary import COLOURS


def drawn(
    boxes: list[tuple[int, int, int, int, tuple[int, int, int]]],
    traits: dict[int, str] | None = None,
) -> Scene:
    """Windows at these boxes (left, top, right, bottom, colour)."""
    image = np.full((120, 200, 3), 128, np.uint8)
    instances = np.zeros((120, 200), np.int16)
    objects = []
    for number, (left, top, right, bottom, colour) in enumerate(boxes, 1):
        image[top:bottom, left:right] = colour
        instances[top:bottom, left:right] = number
        trait = (traits or {}).get(number)
        objects.append(SampleObject(number, "window", traits=(trait,) if trait else ()))
    return Scene(image, instances, objects)


def some(scene: Scene) -> dict[str, tuple[int, ...]]:
    phrases = (name_some(scene, "window", np.random.default_rng(seed)) for seed in range(900))
    return {phrase.text: phrase.ids for phrase in phrases if phrase is not None}


def grid(colours: list[list[tuple[int, int, int]]]) -> Scene:
    return drawn(
        [
            (20 + 40 * column, 10 + 40 * row, 40 + 40 * column, 30 + 40 * row, colour)
            for row, line in enumerate(colours)
            for column, colour in enumerate(line)
        ]
    )


def test_rows_and_columns_are_counted_from_either_end() -> None:
    said = some(grid([[RED] * 4] * 3))

    assert said["top row of windows"] == (1, 2, 3, 4)
    assert said["windows in the bottom row"] == (9, 10, 11, 12)
    assert said["second row of windows from the top"] == (5, 6, 7, 8)
    assert said["left column of windows"] == (1, 5, 9)
    assert said["windows in the second column from the right"] == (3, 7, 11)


def test_scattered_things_are_not_a_row() -> None:
    places = [(10, 10), (60, 25), (110, 42), (30, 60), (90, 75), (150, 90)]
    scene = drawn([(x, y, x + 20, y + 20, RED) for x, y in places])

    assert not any("row" in text or "column" in text for text in some(scene))


def test_colours_sizes_and_patterns_tell_some_from_the_rest() -> None:
    boxes = [
        (10, 10, 40, 40, RED),
        (60, 10, 90, 40, RED),
        (110, 10, 140, 40, BLUE),
        (10, 70, 22, 82, BLUE),
        (60, 70, 72, 82, BLUE),
    ]
    said = some(drawn(boxes, {1: "striped", 2: "plain", 3: "striped", 4: "plain", 5: "plain"}))

    assert said["red windows"] == (1, 2)
    assert said["both red windows"] == (1, 2)
    assert said["the blue windows"] == (3, 4, 5)
    assert said["three blue windows"] == (3, 4, 5)
    assert said["small windows"] == (4, 5)
    assert said["striped windows"] == (1, 3)
    assert said["red ones"] == (1, 2)


def test_what_is_half_red_is_left_open() -> None:
    scene = drawn(
        [(10 + 40 * i, 10, 40 + 40 * i, 40, RED) for i in range(3)] + [(10, 60, 40, 90, BLUE)]
    )
    half = scene.seen[0].colours.copy()
    half[COLOURS.index("red")], half[COLOURS.index("blue")] = 0.4, 0.6
    object.__setattr__(scene.seen[0], "colours", half)
    for seed in range(100):
        phrase = name_some(scene, "window", np.random.default_rng(seed))
        if phrase is not None and "red" in phrase.attributes:
            assert 1 not in phrase.ids
            assert 1 in phrase.unsure


@pytest.mark.parametrize(("count", "words"), [(2, "both"), (3, "all three"), (5, "five"), (9, "")])
def test_the_number_of_things_is_said_where_it_is_small(count: int, words: str) -> None:
    scene = drawn([(2 + 20 * i, 10, 14 + 20 * i, 40, RED) for i in range(count)])
    texts = {name_all(scene, "window", np.random.default_rng(seed)).text for seed in range(200)}
    numbers = "both|two|three|four|five|six"

    if words:
        assert f"{words} windows" in texts
    assert any(re.search(numbers, text) for text in texts) == bool(words)
