"""Every word of every category gets a vector that knows its synonyms."""

from pathlib import Path

import numpy as np
import pytest

from model.tokenizer import Tokenizer
from training.errors import DataError
from training.prompts.vocabulary import SYNONYMS, words_for
from training.prompts.word_vectors import tokens, train_word_vectors

CATEGORIES = ["dog", "sofa", "couch", "t-shirt", "loafers", "potted plant", "cell phone"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    lines = ["left dog", "the dog on the left", "mispeled wrod"] * 4
    return Tokenizer(*train_word_vectors(lines, CATEGORIES, dim=16))


def test_every_name_of_every_category_is_known(tokenizer: Tokenizer) -> None:
    for category in CATEGORIES:
        assert tokenizer.knows(category)
    for name in (*words_for("sofa"), *words_for("t-shirt"), *words_for("loafers")):
        assert tokenizer.knows(name), name


def test_rare_words_of_people_do_not_become_known(tokenizer: Tokenizer) -> None:
    assert "mispeled" not in tokenizer.words
    assert "left" in tokenizer.words


def test_vectors_have_one_length_and_the_frequent_come_first() -> None:
    lines = ["dog"] * 300 + ["left"] * 8
    words, vectors = train_word_vectors(lines, ["sofa"], dim=8)
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.allclose(lengths, lengths[0], atol=1e-4)
    assert words[0] == "dog"


def test_the_same_seed_gives_the_same_vectors() -> None:
    one = train_word_vectors(["a dog"] * 9, ["dog"], dim=8, seed=3)
    same = train_word_vectors(["a dog"] * 9, ["dog"], dim=8, seed=3)
    assert one[0] == same[0]
    assert np.array_equal(one[1], same[1])


def test_a_missing_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt"):
        train_word_vectors(tmp_path / "gone.txt", ["dog"])


def test_tokens_are_those_that_the_reader_looks_up() -> None:
    assert tokens("The man's T-Shirt, left!") == ["the", "mans", "tshirt", "left"]
    assert all(tokens(name) for names in SYNONYMS.values() for name in names)
