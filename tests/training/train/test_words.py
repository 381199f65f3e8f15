"""A run's words: from a file or learned from text, and new words of a data set."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model import checkpoint
from model.tokenizer import Tokenizer
from training.data import Dataset, open_dataset
from training.data.sample import Record, RecordDataset, SampleObject
from training.errors import DataError
from training.prompts.questions import word_batch
from training.prompts.vocabulary import SYNONYMS, words_for
from training.train.initialisation import first_network
from training.train.loop import main
from training.train.recipe import DataRecipe, Recipe
from training.train.words import (
    choose_words,
    new_words,
    read_words,
    standardised,
    tokens,
    train_word_vectors,
    with_new_words,
)

WORDS = re.findall(
    "[a-z]+",
    "the dog cat left right red blue green dress person hound table kitty doggy kitten puppy",
)


@pytest.fixture
def vectors(tmp_path: Path) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    made = rng.normal(size=(len(WORDS), 10)).astype(np.float32) + 1.0
    made[WORDS.index("hound")] = made[WORDS.index("dog")] + 0.1
    np.savez(tmp_path / "words.npz", words=np.array(WORDS), vectors=made)
    return made


@pytest.fixture
def dataset(shard: Path) -> Dataset:
    return open_dataset((shard.name,), shard.parent)


RECIPE = Recipe(data=DataRecipe(words="words.npz"))


def test_words_of_categories_and_of_geometry_are_trained_and_others_near_them(
    vectors: NDArray[np.float32], dataset: Dataset, tmp_path: Path
) -> None:
    choose_words(tmp_path, RECIPE, dataset, tmp_path, None)
    tokenizer = read_words(tmp_path)

    assert tokenizer.geometry
    assert tokenizer.knows("left red dog")
    (near,) = tokenizer.read("hound").near
    assert (near.word, near.trained) == ("hound", "dog")
    assert near.cosine > 0.9


def test_what_is_stored_is_what_a_checkpoint_serves(
    vectors: NDArray[np.float32], dataset: Dataset, recipe_file: Path, tmp_path: Path
) -> None:
    text = recipe_file.read_text().replace("[data]\n", '[data]\nwords = "words.npz"\n')
    recipe_file.write_text(text.replace("steps = 6", "steps = 1"))

    latest = main(recipe_file, out=tmp_path / "run", data=tmp_path, report=lambda entry: None)

    served, own = checkpoint.load(latest).tokenizer(), read_words(tmp_path / "run")
    assert np.array_equal(served.vectors, own.vectors)
    assert served.trained == own.trained
    assert np.array_equal(served.read("left hound").vectors, own.read("left hound").vectors)


def test_a_name_that_the_file_lacks_is_composed_of_its_synonyms(
    vectors: NDArray[np.float32], tmp_path: Path, dataset: Dataset
) -> None:
    words = [word for word in WORDS if word != "cat"]
    np.savez(tmp_path / "words.npz", words=np.array(words), vectors=vectors[: len(words)])

    choose_words(tmp_path, RECIPE, dataset, tmp_path, None)
    tokenizer = read_words(tmp_path)

    assert tokenizer.knows("cat")
    cat, kitty = tokenizer.source_vector("cat"), tokenizer.source_vector("kitty")
    assert cat is not None
    assert kitty is not None
    assert cat @ kitty / np.linalg.norm(cat) / np.linalg.norm(kitty) > 0.5


def test_a_run_that_starts_with_other_words_answers_phrases_as_before(
    vectors: NDArray[np.float32], dataset: Dataset, unlearned: Path, tmp_path: Path
) -> None:
    origin = checkpoint.load(unlearned)
    choose_words(tmp_path, RECIPE, dataset, tmp_path, origin)
    new, old = read_words(tmp_path), origin.tokenizer()

    network = first_network(origin, RECIPE, ["dog"], new, tmp_path)

    assert network.config.word_dim == new.dim
    for phrase in ("dog", "left dog", "right dog"):
        before = origin.network().phrase(word_batch([phrase], old))
        after = network.phrase(word_batch([phrase], new))
        assert float((before - after).detach().norm() / before.detach().norm()) < 0.2, phrase


def test_without_words_of_its_own_a_run_keeps_those_that_it_starts_with(
    dataset: Dataset, unlearned: Path, tmp_path: Path
) -> None:
    origin = checkpoint.load(unlearned)
    choose_words(
        tmp_path, dataclasses.replace(RECIPE, data=DataRecipe()), dataset, tmp_path, origin
    )
    kept = read_words(tmp_path)

    assert kept.words[: len(origin.words)] == origin.words
    assert np.allclose(kept.vectors[: len(origin.words)], origin.vectors, atol=1e-6)
    assert not kept.geometry


def test_vectors_differ_by_meaning_alone(vectors: NDArray[np.float32]) -> None:
    scaled = standardised(vectors)

    assert np.allclose(np.linalg.norm(scaled, axis=1), 0.5 * 10**0.5, rtol=1e-4)
    directions = vectors - vectors.mean(0)
    assert float((scaled @ directions.T).diagonal().min()) > 0


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
