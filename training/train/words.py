"""The words of a run: vectors from a file, from the checkpoint it starts from, or learned from
text.

They are chosen when the run first starts and kept in its folder, quantised to eight bits as in a
checkpoint, so that training uses the vectors that will be served.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import keyed_vectors
from model.checkpoint import Checkpoint, dequantise, quantise
from model.files import atomic_file
from model.tokenizer import Tokenizer
from training.data import Dataset
from training.data.wrappers import endless
from training.prompts.vocabulary import phrase_words
from training.prompts.word_vectors import DIM, composed_words, train_word_vectors
from training.train.initialisation import categories_of, trained_on
from training.train.recipe import Recipe

WORDS = "word_vectors.npz"
# Words kept of a larger file, the most frequent ones; a hundred thousand take 5 MB or more.
MOST_WORDS = 60_000
# Length of a vector per square root of its dimension; the LSTM starts well with a half. *choice*
PER_COORDINATE = 0.5
# Words that people typed count as trained from this many phrases on.
FEWEST = 3


def choose_words(
    folder: Path, recipe: Recipe, dataset: Dataset, data: Path, origin: Checkpoint | None
) -> None:
    """Write the run's words into its folder, unless they are there.

    dataset: the training data, whose names and phrases are the trained words. origin: the
    checkpoint that the run starts from. Raises WordVectorsError, DataError.
    """
    if (folder / WORDS).exists():
        return
    categories = categories_of(dataset)
    geometry = bool(recipe.model.get("word_geometry", bool(recipe.data.words)))
    if recipe.data.words:
        file = data / recipe.data.words
        words, vectors = keyed_vectors.load(file if file.exists() else recipe.data.words)
        vectors = standardised(vectors[:MOST_WORDS])
        before = trained_of(origin) if origin else ()
        tokenizer = Tokenizer(words[:MOST_WORDS], vectors, trained=before, geometry=geometry)
    elif origin:
        tokenizer = origin.tokenizer()
    else:
        text: Path | list[str] = data / recipe.data.text if recipe.data.text else []
        dim = int(recipe.model.get("word_dim", DIM))
        learned = train_word_vectors(text, categories, dim=dim)
        _write(folder, Tokenizer(*learned, geometry=geometry))
        return
    tokenizer = tokenizer.extended(*composed_words(tokenizer, categories))
    _write(folder, tokenizer.extended(trained=trained_words(tokenizer, categories, dataset)))


def read_words(folder: Path) -> Tokenizer:
    """The run's own words."""
    with np.load(folder / WORDS, allow_pickle=False) as stored:
        trained = [str(word) for word in stored["trained"]] if "trained" in stored else None
        return Tokenizer(
            [str(word) for word in stored["words"]],
            dequantise(stored["values"], stored["scales"]),
            trained=trained,
            geometry=bool(stored["geometry"]),
        )


def standardised(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """V,D vectors that differ in meaning only: centred, of equal length.

    The mean and the directions of largest variance encode word frequency; one direction per hundred
    dimensions is removed ("All-but-the-Top", Mu and Viswanath 2018).
    """
    exact = np.asarray(vectors, np.float32)
    exact = exact - exact.mean(0)
    dim = exact.shape[1]
    _, directions = np.linalg.eigh(exact.T @ exact)
    shared = directions[:, dim - math.ceil(dim / 100) :]
    exact = exact - (exact @ shared) @ shared.T
    length = PER_COORDINATE * np.sqrt(dim)
    scaled: NDArray[np.float32] = (
        exact * (length / np.linalg.norm(exact, axis=1, keepdims=True).clip(1e-6))
    ).astype(np.float32)
    return scaled


def trained_words(tokenizer: Tokenizer, categories: Iterable[str], dataset: Dataset) -> set[str]:
    """Words of the vocabulary in training phrases, generated or typed at least FEWEST times.

    Data sets that generate their pictures have only generated phrases.
    """
    said = {word for text in phrase_words(categories) for word in tokenizer.read(text).words}
    typed: Counter[str] = Counter()
    for index in range(len(dataset)):
        if endless(dataset, index) is not None:
            continue
        texts = [text for about in dataset.objects(index) for text in about.phrases]
        texts += [expression.text for expression in dataset.expressions(index)]
        for text in texts:
            tokens = tokenizer.read(text)
            corrected = {word for _, word in tokens.corrected}
            typed.update(word for word in set(tokens.words) if word not in corrected)
    return said | {word for word, count in typed.items() if count >= FEWEST}


def trained_of(origin: Checkpoint) -> frozenset[str]:
    """The trained words of a checkpoint; if it does not list them, those of its categories."""
    if origin.trained is not None:
        return origin.trained
    tokenizer = origin.tokenizer()
    texts = phrase_words(trained_on(origin))
    return frozenset(word for text in texts for word in tokenizer.read(text).words)


def _write(folder: Path, tokenizer: Tokenizer) -> None:
    values, scales = quantise(tokenizer.vectors)
    parts: dict[str, Any] = {"words": np.array(tokenizer.words), "values": values, "scales": scales}
    if tokenizer.trained is not None:
        parts["trained"] = np.array(sorted(tokenizer.trained), np.str_)
    with atomic_file(folder / WORDS, single_writer=True) as file:
        np.savez(file, geometry=np.array(tokenizer.geometry), **parts)
