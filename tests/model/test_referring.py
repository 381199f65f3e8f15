"""Words of side, order, size and colour choose one of several objects."""

import numpy as np
import pytest

from model import referring
from model.crop import Box
from model.instances import Instance
from model.referring import Appearance

RED, BLUE, DARK_BLUE, GREY = (200, 40, 30), (40, 80, 210), (10, 25, 90), (128, 128, 128)


def thing(
    x: float, y: float, size: float = 10.0, colour: tuple[int, int, int] = GREY
) -> Appearance:
    """A square with its centre at x, y."""
    pixels = np.tile(np.array(colour, np.uint8), (20, 1))
    half = size / 2
    return Appearance((x - half, y - half, x + half, y + half), size * size, lambda: pixels)


def chosen(phrase: str, *objects: Appearance) -> int | None:
    reference = referring.read(phrase)
    assert reference is not None, phrase
    return referring.choose(reference, objects)


@pytest.mark.parametrize(
    ("phrase", "kind"),
    [
        ("left cat", "cat"),
        ("the cat on the left", "cat"),
        ("cat at the far right side", "cat"),
        ("guy far left", "guy"),
        ("second coffee cup from the right", "coffee cup"),
        ("the striped red shirt", "striped shirt"),
        ("man standing on the right", "man"),
        ("biggest dog", "dog"),
        ("red top", "top"),
        ("3rd orange orange", "orange"),
    ],
)
def test_what_is_not_geometry_names_the_kind(phrase: str, kind: str) -> None:
    reference = referring.read(phrase)

    assert reference is not None
    assert reference.kind == kind


@pytest.mark.parametrize(
    "phrase",
    [
        "",
        "cat",
        "striped shirt",
        "left cats",
        "two red cups",
        "cup left of the plate",
        "person in red shirt",
        "dog next to the left chair",
        "the left one",
        "orange",
        "left",
        "top",
    ],
)
def test_other_phrases_are_left_to_the_network(phrase: str) -> None:
    assert referring.read(phrase) is None


@pytest.mark.parametrize(
    ("phrase", "index"),
    [
        ("left cup", 0),
        ("rightmost cup", 2),
        ("cup in the middle", 1),
        ("second cup", 1),
        ("third cup", 2),
        ("second cup from the right", 1),
        ("first cup from the right", 2),
        ("last cup", 2),
        ("top cup", 2),
        ("bottom left cup", 0),
        ("biggest cup", 1),
        ("second biggest cup", 0),
        ("smaller cup", 2),
        ("red cup", 1),
        ("blue cup on the right", 2),
        ("left blue cup", 0),
        ("dark blue cup", 2),
        ("second blue cup", 2),
        ("dark cup", 2),
    ],
)
def test_one_of_three_is_chosen(phrase: str, index: int) -> None:
    row = (thing(10, 60, 20, BLUE), thing(50, 50, 30, RED), thing(90, 40, 10, DARK_BLUE))

    assert chosen(phrase, *row) == index


@pytest.mark.parametrize(
    "phrase", ["fourth cup", "left cup", "cup in the middle", "medium cup", "one cup"]
)
def test_what_the_words_do_not_decide_is_left_to_the_network(phrase: str) -> None:
    one, two = thing(10, 10), thing(30, 10)
    objects = (one,) if phrase == "left cup" else (one, two)

    assert chosen(phrase, *objects) is None


def test_the_middle_of_a_column_is_chosen() -> None:
    assert chosen("middle cup", thing(10, 90), thing(12, 10), thing(11, 45)) == 2


@pytest.mark.parametrize(
    ("phrase", "kind", "meant"),
    [
        ("left cups", "cups", [0, 1]),
        ("the left-hand red cups", "the red cups", [0, 1]),
        ("cups on the right", "cups", [2, 3]),
        ("cups standing at the top left", "cups standing", [0]),
        ("the two right cups", "the two cups", [2, 3]),
        ("3 cups to the left", "3 cups", [0, 1, 2]),
        # of one thing, of a middle, beside another thing, of no kind, or of the name itself
        ("left cup", None, None),
        ("cups in the middle", None, None),
        ("left and right cups", None, None),
        ("cups left of the plate", None, None),
        ("high chairs", None, None),
        ("left ones", None, None),
        ("the left lungs", None, None),
    ],
)
def test_of_several_a_side_means_those_in_that_half(
    phrase: str, kind: str | None, meant: list[int] | None
) -> None:
    # given four objects from left to right, the first and the third at the top
    boxes = [(0, 0), (30, 80), (55, 0), (90, 80)]
    things = [
        Instance(100, 100, Box(x, y, x + 10, y + 10), np.ones((10, 10), np.bool_), 0.9)
        for x, y in boxes
    ]
    # when
    side = referring.side_of(phrase, own=["left", "lung"] if "lung" in phrase else ())
    # then
    assert (side and side.kind) == kind
    assert (side and [things.index(one) for one in side.of(things)]) == meant
