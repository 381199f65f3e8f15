"""Phrases that people wrote: mirrored, and their attributes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.prompts.written_phrases import AttributeWords, mirrored, names_place


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("left dog", "right dog"),
        ("the rightmost cat", "the leftmost cat"),
        ("left-hand side, lower-left", "right-hand side, lower-right"),
        ("right handed batter", "left handed batter"),
        ("man to the right of the left car", "man to the left of the right car"),
        ("second from left", "second from right"),
        ("3rd person from the Right", "3rd person from the Left"),
        ("TOP LEFT sheep", "TOP RIGHT sheep"),
        ("farleft rock, topright sky", "farright rock, topleft sky"),
        ("guy on rt", "guy on left"),
        ("rigth bird", "left bird"),
        ("left's hat", "right's hat"),
        ("blue shirt", "blue shirt"),
        ("man on right in front", "man on left in front"),
        ("water, right, under the sign", "water, left, under the sign"),
        ("bottom right under the tree", "bottom left under the tree"),
        ("the one on the right behind the cart", "the one on the left behind the cart"),
    ],
)
def test_sides_change_places(phrase: str, expected: str) -> None:
    assert mirrored(phrase) == expected


@pytest.mark.parametrize(
    "phrase",
    [
        "guy right behind the cart",
        "right next to the dog",
        "pole right above the grass",
        "mud right in front of him",
        "cup right in the middle",
        "upright piano",
        "bright light at night",
        "leftovers on a plate",
        "second row",
        "third shelf from the top",
        "second biggest dog",
    ],
)
def test_other_senses_stay(phrase: str) -> None:
    assert mirrored(phrase) == phrase


@pytest.mark.parametrize(
    "phrase", ["first dog", "2nd person", "man at 3 o'clock", "guy on l", "last one", "west wall"]
)
def test_a_phrase_with_an_unclear_mirror_image_is_dropped(phrase: str) -> None:
    assert mirrored(phrase) is None


@pytest.mark.parametrize(
    ("phrase", "place"),
    [
        ("woman in red", False),
        ("big white dog", False),
        ("guy with his back to us", True),
        ("leftmost sheep", True),
        ("dog in the middle", True),
        ("car at top", True),
        ("closest to us", True),
        ("bright lamp", False),
        ("guy on l", True),
    ],
)
def test_place_words_are_found(phrase: str, place: bool) -> None:
    assert names_place(phrase) == place


SAID = ("left", "right", "Leftmost", "rightside", "dog", "of", "the", "behind", "on", "in", "next")


@given(st.lists(st.sampled_from(SAID), min_size=1, max_size=7).map(" ".join))
def test_mirroring_twice_gives_back_what_is_said_of_sides(phrase: str) -> None:
    # given a phrase without "right" in doubt
    once = mirrored(phrase)
    assert once is not None
    # then every other word is where it was
    assert len(once.split()) == len(phrase.split())
    for one, other in zip(phrase.split(), once.split(), strict=True):
        low = one.casefold()
        if "left" in low:
            assert other.casefold() == low.replace("left", "right")
        elif "right" not in low:
            assert other == one
        else:
            assert other.casefold() in (low, low.replace("right", "left"))
    if "right" not in phrase.casefold():
        assert names_place(phrase) >= ("left" in phrase.casefold())


WORDS = AttributeWords(["person", "dog", "wine glass", "handbag", "bag", "t-shirt", "tv", "orange"])


@pytest.mark.parametrize(
    ("phrase", "held"),
    [
        ("the two guys in red", {"person", "red"}),
        ("Leftmost gray dog", {"left", "grey", "dog"}),
        ("wine glasses at the center", {"wine glass", "middle"}),
        ("woman with a purse", {"person", "handbag"}),
        ("biggest bag", {"big", "bag"}),
        ("blue T-shirt", {"blue", "t-shirt"}),
        ("the television", {"tv"}),
        ("an orange", {"orange"}),
        ("whatever it is", set()),
        ("", set()),
    ],
)
def test_attributes_are_found_in_words(phrase: str, held: set[str]) -> None:
    assert set(WORDS.held(phrase)) == held


def test_what_the_data_do_not_know_is_no_attribute() -> None:
    assert AttributeWords(["dog"]).held("red cat") == ("red",)
