"""The words of people hold attributes under whatever name they use."""

import pytest

from training.prompts.attributes import AttributeWords

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
