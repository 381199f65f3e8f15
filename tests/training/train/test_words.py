"""A run's words: from a file, in the eight bits that are served, with the trained ones named."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model import checkpoint
from training.data import Dataset, open_dataset
from training.data.batch import word_batch
from training.train.initialisation import grown_network
from training.train.loop import main
from training.train.recipe import DataRecipe, Recipe, read_recipe
from training.train.words import choose_words, read_words, standardised

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

    network = grown_network(origin, RECIPE, ["dog"], new)

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


def test_the_recipe_names_them(recipe_file: Path) -> None:
    text = recipe_file.read_text().replace("[data]\n", '[data]\nwords = "glove.npz"\n')
    recipe_file.write_text(text)
    assert read_recipe(recipe_file).data.words == "glove.npz"
