"""What a made phrase claims is true of the mask it names, and of no sibling when it says so."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.datasets.sample import SampleObject
from training.phrases import COLOURS, Scene, colour_names, describe, name_absent, name_all
from training.vocabulary import (
    attributes_for,
    concept_of,
    plural_of,
    related,
    words_for,
)

RED, BLUE = (215, 25, 25), (25, 45, 215)
Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


def scene_of(
    draw: Draw,
    shapes: Sequence[tuple[int, tuple[int, int, int, int], tuple[int, int, int]]],
    names: dict[int, str | None],
) -> Scene:
    picture, instances = draw(shapes, 200, 120)
    objects = [SampleObject(number, name) for number, name in names.items()]
    return Scene(picture, instances.astype(np.int16), objects)


def said(scene: Scene, number: int, *, unique: bool, count: int = 60) -> set[str]:
    one = scene.of(number)
    assert one is not None
    phrases = [describe(scene, one, np.random.default_rng(i), unique=unique) for i in range(count)]
    return {phrase.text for phrase in phrases if phrase is not None}


def test_two_of_a_kind_are_told_apart_by_place_colour_and_size(drawn: Draw) -> None:
    # given
    shapes = [(1, (10, 30, 90, 110), RED), (2, (150, 60, 180, 90), BLUE)]
    scene = scene_of(drawn, shapes, {1: "dog", 2: "dog"})
    # when
    first, second = said(scene, 1, unique=True), said(scene, 2, unique=True)
    # then
    assert any("left" in text for text in first)
    assert any("red" in text for text in first)
    assert any("big" in text or "large" in text for text in first)
    assert any("right" in text for text in second)
    assert any("blue" in text for text in second)
    for wrong in ("right", "blue", "small", "little", "tiniest"):
        assert not any(wrong in text for text in first)
    for wrong in ("left", "red", "big", "large"):
        assert not any(wrong in text for text in second)
    assert not first & second


def test_three_in_a_row_are_counted_from_both_sides(drawn: Draw) -> None:
    shapes = [
        (1, (5, 40, 45, 80), RED),
        (2, (80, 40, 120, 80), RED),
        (3, (155, 40, 195, 80), RED),
    ]
    scene = scene_of(drawn, shapes, {1: "cow", 2: "cow", 3: "cow"})
    middle = said(scene, 2, unique=True, count=120)
    assert any("middle" in text or "center" in text for text in middle)
    assert any("second" in text for text in middle)
    assert any("third from" in text and "right" in text for text in said(scene, 1, unique=True))


def test_twins_side_by_side_cannot_be_told_apart(drawn: Draw) -> None:
    shapes = [(1, (90, 10, 110, 30), RED), (2, (88, 32, 108, 52), RED)]
    scene = scene_of(drawn, shapes, {1: "cat", 2: "cat"})
    # given no room between them in x, one above the other is all that can be said
    assert all("top" in text for text in said(scene, 1, unique=True))
    # and nothing at all where they also share a row
    shapes = [(1, (90, 30, 102, 42), RED), (2, (94, 44, 106, 56), RED)]
    scene = scene_of(drawn, shapes, {1: "cat", 2: "cat"})
    assert said(scene, 1, unique=True) == set()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_unique_phrase_holds_for_its_object_alone(seed: int) -> None:
    # given random rectangles of two kinds and colours
    rng = np.random.default_rng(seed)
    picture = np.full((120, 200, 3), 128, np.uint8)
    instances = np.zeros((120, 200), np.int16)
    for number in range(1, 6):
        x, y = rng.integers(0, 170), rng.integers(0, 90)
        wide, high = rng.integers(6, 50, 2)
        picture[y : y + high, x : x + wide] = RED if rng.random() < 0.5 else BLUE
        instances[y : y + high, x : x + wide] = number
    kinds = {n: str(rng.choice(["dog", "cat"])) for n in range(1, 6)}
    scene = Scene(picture, instances, [SampleObject(n, kind) for n, kind in kinds.items()])
    for one in scene.seen:
        # when
        phrase = describe(scene, one, rng, unique=True)
        if phrase is None:
            continue
        siblings = [o for o in scene.named(one.concept or "") if o is not one]
        words = phrase.text.split()
        # then whatever word it uses is true, measured anew
        pixels = instances == one.about.id
        centre = np.argwhere(pixels).mean(0)
        others = [np.argwhere(instances == o.about.id).mean(0) for o in siblings]
        side = {"left": -1, "leftmost": -1, "right": 1, "rightmost": 1}
        if others and not {"second", "third", "fourth"} & set(words):
            for word in set(words) & set(side):
                assert all(side[word] * (centre[1] - o[1]) > 0 for o in others)
        if set(words) & {"biggest", "largest", "big", "large"}:
            assert all(pixels.sum() > (instances == o.about.id).sum() for o in siblings)
        if set(words) & {"smallest", "tiniest", "small", "little"}:
            assert all(pixels.sum() < (instances == o.about.id).sum() for o in siblings)
        for colour, value in (("red", RED), ("blue", BLUE)):
            if colour in words:
                assert (picture[pixels] == value).all(1).mean() >= 0.5
        assert phrase.ids == (one.about.id,)
        assert phrase.attributes[0] == one.concept


def test_a_bare_name_denotes_every_one_of_its_kind(drawn: Draw) -> None:
    shapes = [(n, (60 * n - 50, 40, 60 * n - 10, 80), RED) for n in (1, 2, 3)]
    scene = scene_of(drawn, shapes, {1: "tvmonitor", 2: "tv", 3: "dog"})
    phrase = name_all(scene, "tv", np.random.default_rng(0))
    assert phrase.ids == (1, 2)
    assert phrase.attributes == ("tv",)


def test_the_absent_is_neither_there_nor_by_another_name(drawn: Draw) -> None:
    shapes = [(1, (10, 10, 50, 50), RED), (2, (100, 10, 150, 60), BLUE)]
    scene = scene_of(drawn, shapes, {1: "motorbike", 2: "person"})
    known = ("bicycle", "hair", "motorcycle", "person", "sheep")
    for seed in range(20):
        phrase = name_absent(scene, known, np.random.default_rng(seed))
        assert phrase is None or phrase.attributes == ("sheep",)
        assert phrase is None or phrase.ids == ()


@pytest.mark.parametrize(
    ("pixel", "name"),
    [
        ((250, 250, 250), "white"),
        ((12, 12, 14), "black"),
        ((128, 128, 128), "grey"),
        ((220, 20, 20), "red"),
        ((30, 60, 200), "blue"),
        ((40, 160, 40), "green"),
        ((240, 220, 40), "yellow"),
        ((110, 70, 30), "brown"),
        ((250, 140, 10), "orange"),
        ((240, 130, 180), "pink"),
        ((120, 50, 190), "purple"),
    ],
)
def test_colours_are_called_what_people_call_them(pixel: tuple[int, int, int], name: str) -> None:
    assert COLOURS[int(colour_names(np.array([[pixel]], np.uint8))[0, 0])] == name


def test_plurals() -> None:
    plurals = {"potted plant": "potted plants", "person": "people", "bus": "buses"}
    plurals |= {"sheep": "sheep", "pants": "pants", "puppy": "puppies", "bench": "benches"}
    plurals |= {"dress": "dresses", "boy": "boys", "knife": "knives", "glass": "glasses"}
    assert {word: plural_of(word) for word in plurals} == plurals


def test_names_for_one_thing_are_related_and_attributes_are_unique() -> None:
    assert concept_of("couch") == concept_of("sofa") == "sofa"
    assert related("shirt", "blouse")
    assert related("person", "skirt")
    assert not related("dog", "cat")
    names = attributes_for(["orange", "top", "dog", "dog"])
    assert len(names) == len(set(names))
    assert {"orange", "top", "dog", "left", "big"} <= set(names)
    assert words_for("unheard of") == ("unheard of",)
