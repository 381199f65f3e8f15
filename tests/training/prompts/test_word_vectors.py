"""Word vectors learned from text, and new words of a data set."""

from pathlib import Path

import numpy as np
import pytest

from model.tokenizer import Tokenizer
from training.data.sample import Dataset, Record, RecordDataset, SampleObject
from training.errors import DataError
from training.prompts.vocabulary import SYNONYMS, words_for
from training.prompts.word_vectors import new_words, tokens, train_word_vectors, with_new_words

CATEGORIES = ["dog", "sofa", "couch", "t-shirt", "loafers", "potted plant", "cell phone"]


@pytest.fixture(scope="module")
def learned() -> Tokenizer:
    lines = ["left dog", "the dog on the left", "mispeled wrod"] * 4
    return Tokenizer(*train_word_vectors(lines, CATEGORIES, dim=16))


def test_every_name_of_every_category_is_known(learned: Tokenizer) -> None:
    for category in CATEGORIES:
        assert learned.knows(category)
    for name in (*words_for("sofa"), *words_for("t-shirt"), *words_for("loafers")):
        assert learned.knows(name), name


def test_rare_words_of_people_do_not_become_known(learned: Tokenizer) -> None:
    assert "mispeled" not in learned.words
    assert "left" in learned.words


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


def labels(*objects: SampleObject) -> Dataset:
    """A data set with these objects, whose picture is never decoded."""
    return RecordDataset("team", [Record("", (10, 10), objects)])


@pytest.fixture
def tokenizer() -> Tokenizer:
    words = ["the", "dog", "catch", "left", "red", "traffic", "light"]
    vectors = np.random.default_rng(0).normal(size=(len(words), 32)).astype(np.float32)
    vectors *= 5.0 / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Tokenizer(words, vectors)


def test_known_labels_need_no_words(tokenizer: Tokenizer) -> None:
    known = labels(SampleObject(1, "Dog"), SampleObject(2, "traffic_light"))
    assert with_new_words(tokenizer, known) is tokenizer


def test_a_label_is_a_word_even_where_it_looks_like_a_slip(tokenizer: Tokenizer) -> None:
    # given: "latch" would be read as "catch", one letter away
    assert tokenizer.read("latch").words == ("catch",)
    # when
    grown = with_new_words(tokenizer, labels(SampleObject(1, "Latch")))
    # then
    assert grown.read("the latch").words == ("the", "latch")
    assert not grown.read("latch").corrected
    # and all else is read as before
    assert grown.words[: len(tokenizer.words)] == tokenizer.words
    assert np.array_equal(grown.vectors[: len(tokenizer.vectors)], tokenizer.vectors)
    assert np.linalg.norm(grown.vectors[-1]) == pytest.approx(5.0, rel=1e-3)


def test_a_new_word_has_the_same_vector_beside_other_new_words(tokenizer: Tokenizer) -> None:
    one = with_new_words(tokenizer, labels(SampleObject(1, "scratch")))
    other = with_new_words(tokenizer, labels(SampleObject(1, "dent"), SampleObject(2, "scratch")))
    ours = one.read("scratch").vectors
    assert np.array_equal(ours, other.read("scratch").vectors)
    dent = other.read("dent").vectors
    cosine = float((ours * dent).sum() / np.linalg.norm(ours) / np.linalg.norm(dent))
    assert abs(cosine) < 0.6


def test_of_typed_words_only_those_typed_again_and_again_are_learned(tokenizer: Tokenizer) -> None:
    typed = ["rusty dog", "rusty dog", "rusty red dog", "shiny dog"]
    objects = [SampleObject(i, "dog", phrases=(text,)) for i, text in enumerate(typed, 1)]
    assert new_words(tokenizer, labels(*objects)) == ["rusty"]
