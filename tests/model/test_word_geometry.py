"""Words of side, order, size, colour and number say what they mean in numbers."""

from __future__ import annotations

import numpy as np
import pytest

from model import word_geometry
from model.tokenizer import Tokenizer

WORDS = ["the", "a", "left", "right", "dog", "dogs", "cup", "news", "new", "two"]
# "left" and "right" alike, "dog" and "dogs" alike, "new" and "news" not.
VECTORS = np.eye(10, 4, dtype=np.float32) + 0.1
VECTORS[3] = VECTORS[2]
VECTORS[4:6] = [0, 0, 3, 1]


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer(WORDS, VECTORS, geometry=True)


def value(word: str, name: str) -> float:
    entry = word_geometry.entry(word)
    assert entry is not None, word
    return entry.values[word_geometry.DIMENSIONS.index(name)]


def test_orders_are_kept() -> None:
    assert value("left", "x") < value("middle", "x") < value("right", "x")
    assert value("topmost", "y") < value("center", "y") < value("bottom", "y")
    assert value("tiny", "size") < value("small", "size") < value("largest", "size")
    assert value("first", "rank") < value("2nd", "rank") < value("third", "rank")
    assert value("two", "count") < value("3", "count") < value("12", "count") + 0.01
    assert value("large", "degree") < value("larger", "degree") < value("largest", "degree")
    assert value("navy", "lightness") < value("blue", "lightness") < value("azure", "lightness")


def test_a_colour_without_training_is_near_its_like() -> None:
    def code(word: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        entry = word_geometry.entry(word)
        assert entry is not None
        return np.array(entry.values)

    for rare, plain, other in (("crimson", "red", "blue"), ("beige", "white", "black")):
        near = np.linalg.norm(code(rare) - code(plain))
        assert near < 0.5 * np.linalg.norm(code(rare) - code(other))


def test_words_with_equal_vectors_differ_by_their_entries(tokenizer: Tokenizer) -> None:
    left, right = (tokenizer.read(word).vectors[0] for word in ("left", "right"))
    cosine = float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))

    assert tokenizer.dim == 4 + word_geometry.EXTRA == left.shape[0]
    assert cosine < 0.3


def test_a_plural_is_its_singular_with_the_number_set(tokenizer: Tokenizer) -> None:
    plural = word_geometry.DIMENSIONS.index("plural") + 4
    one, many = (tokenizer.read(word).vectors[0] for word in ("dog", "dogs"))
    unlisted = tokenizer.read("cups").vectors[0]

    assert many[plural] == unlisted[plural] == word_geometry.SCALE
    assert one[plural] == 0
    assert np.array_equal(np.delete(one, plural), np.delete(many, plural))
    assert tokenizer.read("news").vectors[0, plural] == 0


def test_the_article_is_singular_unless_a_plural_follows(tokenizer: Tokenizer) -> None:
    plural = word_geometry.DIMENSIONS.index("plural") + 4

    def article(phrase: str) -> float:
        return float(tokenizer.read(phrase).vectors[0, plural])

    assert article("a dog") < 0
    assert article("the dog") < 0
    assert article("the dogs") == article("the two dogs") == 0


def test_a_word_with_an_entry_needs_no_vector(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.read("leftmost crimson 3rd dog")

    assert tokens.words == ("leftmost", "crimson", "3rd", "dog")
    assert tokenizer.knows("leftmost crimson dog")


def test_words_that_begin_with_a_digit_do_not_fill_memory() -> None:
    for number in range(3_000):
        assert word_geometry.entry(f"{number}x") is None

    assert word_geometry._numeric.cache_info().currsize < 3_000
