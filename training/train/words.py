"""The words of a run: from a file, from the checkpoint that it starts from, or learned from text.

They are chosen when the run first starts and kept in its folder, quantised to eight bits as in a
checkpoint, so that training uses the vectors that will be served.

A corpus of referring expressions knows "left", "guy" and "shirt" well but never saw "loafers". So
sentences made from the vocabulary are mixed in. They place every name of a category beside its
synonyms and where nouns stand.

Without a vector, the label "scratch" would be ignored or read as a word of similar spelling, and no
label could ever teach it. A new word starts as the mean of its known synonyms, or in a random
direction that depends on the word only; masks teach the network its meaning. New words come after
the known ones, whose vectors stay as they are.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import keyed_vectors
from model.checkpoint import Checkpoint, dequantise, quantise
from model.files import atomic_file
from model.spelling import split
from model.tokenizer import Tokenizer
from training.data import Dataset
from training.data.wrappers import categories_of, endless
from training.errors import DataError
from training.prompts.vocabulary import (
    COLOURS,
    RELATED,
    WORN,
    concept_of,
    every_word_for,
    phrase_words,
    plural_of,
    words_for,
)
from training.train.recipe import Recipe

WORDS = "word_vectors.npz"
# Words kept of a larger file, the most frequent ones; a hundred thousand take 5 MB or more.
MOST_WORDS = 60_000
# Length of a vector per square root of its dimension; the LSTM starts well with a half. *choice*
PER_COORDINATE = 0.5
# A typed word counts as trained, and is no typo, from this many phrases or objects on. Labels are
# never typos.
FEWEST_TYPED = 3
# Most new words of a data set, so that typed serial numbers do not fill the vocabulary.
MOST_NEW = 200

# Words learned from text: size of their vectors.
DIM = 100
# Rarer words of a text are most likely typos, which must not become known words.
FEWEST_WRITTEN = 5
# Repetitions of the generated sentences, so that words that occur only in them are learned.
REPEATS = 12
# Length of every vector after scaling: a half per coordinate suits the LSTM. *choice*
LENGTH = 5.0
FRAMES = (
    "{0} {1}",
    "the {0} {1}",
    "{0} {1} on the left",
    "{0} {1} on the right",
    "left {1}",
    "right {1}",
    "the {1} in the middle",
    "biggest {1}",
    "small {0} {1}",
    "second {1} from the left",
    "{1} in front",
    "{1} in the back",
)


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
        before = origin.trained if origin else None
        tokenizer = Tokenizer(words[:MOST_WORDS], vectors, trained=before or (), geometry=geometry)
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
    return said | {word for word, count in typed.items() if count >= FEWEST_TYPED}


def trained_before(start: Checkpoint) -> list[str]:
    """The categories that a checkpoint was trained on, as its metrics list them."""
    return [str(category) for category in start.metrics.get("metrics", {}).get("categories", ())]


def _write(folder: Path, tokenizer: Tokenizer) -> None:
    values, scales = quantise(tokenizer.vectors)
    parts: dict[str, Any] = {"words": np.array(tokenizer.words), "values": values, "scales": scales}
    if tokenizer.trained is not None:
        parts["trained"] = np.array(sorted(tokenizer.trained), np.str_)
    with atomic_file(folder / WORDS, single_writer=True) as file:
        np.savez(file, geometry=np.array(tokenizer.geometry), **parts)


def tokens(text: str) -> list[str]:
    """Words of an expression, as the tokenizer looks them up."""
    return re.findall(r"[a-z]+", text.lower().replace("-", "").replace("'", ""))


def made_sentences(categories: Iterable[str], rng: np.random.Generator) -> list[list[str]]:
    """Sentences with every name of every category in the places of nouns."""
    sentences = []
    concepts = sorted({concept_of(category) for category in categories})
    for concept in concepts:
        names = sorted({*every_word_for(concept), concept})
        groups = [group for group in RELATED if concept in group]
        kin = sorted(
            {name for group in groups for other in group for name in every_word_for(other)}
        )
        for _ in range(REPEATS):
            for name in names:
                frame = str(rng.choice(FRAMES))
                noun = plural_of(name) if rng.random() < 0.3 else name
                sentences.append(tokens(frame.format(rng.choice(COLOURS), noun)))
                if concept in WORN:
                    sentences.append(tokens(f"person wearing {rng.choice(COLOURS)} {name}"))
                near = [*names, *(str(word) for word in rng.permutation(kin)[:2])]
                sentences.append(tokens(" ".join(rng.permutation(near))))
    return sentences


def framed(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Each name in four typical phrases."""
    return [
        str(rng.choice(FRAMES)).format(rng.choice(COLOURS), name)
        for name in names
        for _ in range(4)
    ]


def train_word_vectors(
    expressions: Path | Sequence[str], categories: Iterable[str], *, dim: int = DIM, seed: int = 1
) -> tuple[list[str], NDArray[np.float32]]:
    """Train word2vec; returns V words, most frequent first, and V,D vectors of equal length.

    expressions: a text file with one expression a line, or the lines. The result depends on the
    arguments only. Raises DataError if the file is missing.
    """
    from gensim.models import Word2Vec

    if isinstance(expressions, Path):
        if not expressions.is_file():
            raise DataError(f"The text {expressions} for word vectors is missing.")
        expressions = expressions.read_text(encoding="utf-8").splitlines()
    rng = np.random.default_rng(seed)
    made = made_sentences(categories, rng)
    sentences = [tokens(line) for line in expressions] + made
    sentences = [sentences[i] for i in rng.permutation(len(sentences)) if sentences[i]]
    # More workers would make the result depend on the scheduler.
    learned = Word2Vec(
        sentences, vector_size=dim, window=4, min_count=1, sg=1, negative=8, epochs=12,
        sample=1e-3, workers=1, seed=seed,
    ).wv  # fmt: skip
    kept_always = {word for sentence in made for word in sentence}
    words = [
        word
        for word in learned.index_to_key
        if word in kept_always or learned.get_vecattr(word, "count") >= FEWEST_WRITTEN
    ]
    vectors = np.stack([learned[word] for word in words]).astype(np.float32)
    # The mean is shared by all words and carries no meaning.
    vectors -= vectors.mean(0)
    vectors *= LENGTH / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-6)
    return words, vectors


def with_new_words(tokenizer: Tokenizer, dataset: Dataset) -> Tokenizer:
    """The tokenizer extended by the labels and repeated words of this data set, if any are new.

    Words in the vocabulary become trained words; others get a vector.
    """
    new = new_words(tokenizer, dataset)
    if new:
        length = float(np.median(np.linalg.norm(tokenizer.vectors, axis=1)))
        dim = tokenizer.vectors.shape[1]
        vectors = np.stack([length * _direction(word, dim) for word in new])
        tokenizer = tokenizer.extended(new, vectors)
    known = _counted(
        dataset, lambda texts: {near.word for text in texts for near in tokenizer.read(text).near}
    )
    return tokenizer.extended(trained=known) if known else tokenizer


def new_words(tokenizer: Tokenizer, dataset: Dataset) -> list[str]:
    """Words of labels, and of phrases typed for several objects, that are not in the vocabulary."""
    return _counted(dataset, lambda texts: _unknown(tokenizer, texts))


def composed_words(
    tokenizer: Tokenizer, categories: Iterable[str]
) -> tuple[list[str], NDArray[np.float32]]:
    """N words for these categories that are not in the vocabulary, and their N,S vectors.

    A vector is the mean of the category's other names, else of related names, else random.
    """
    length = float(np.median(np.linalg.norm(tokenizer.vectors, axis=1)))
    made: dict[str, NDArray[np.float32]] = {}
    for concept in sorted({concept_of(category) for category in categories}):
        names = (*every_word_for(concept), concept)
        kin = [name for group in RELATED if concept in group for name in sorted(group)]
        for word in sorted(_unknown(tokenizer, names) - made.keys()):
            mean = _mean(tokenizer, names)
            if mean is None:
                mean = _mean(tokenizer, kin)
            if mean is None:
                mean = _direction(word, tokenizer.vectors.shape[1])
            made[word] = mean * np.float32(length / max(float(np.linalg.norm(mean)), 1e-6))
    dim = tokenizer.vectors.shape[1]
    return list(made), np.array(list(made.values()), np.float32).reshape(-1, dim)


def _mean(tokenizer: Tokenizer, names: Iterable[str]) -> NDArray[np.float32] | None:
    """The mean vector of the known names; None if none is known."""
    vectors = []
    for name in names:
        tokens = tokenizer.read(name)
        if not tokens.ignored and not tokens.corrected:
            vectors += [tokenizer.source_vector(word) for word in tokens.words if len(word) > 1]
    known = [vector for vector in vectors if vector is not None]
    return np.mean(known, axis=0) if known else None


def _counted(dataset: Dataset, chosen: Callable[[Iterable[str]], set[str]]) -> list[str]:
    """The words that ``chosen`` picks from labels, and from phrases for several objects."""
    labels: Counter[str] = Counter()
    typed: Counter[str] = Counter()
    for index in range(len(dataset)):
        for about in dataset.objects(index):
            if about.concept:
                labels.update(chosen([words_for(about.concept)[0]]))
            typed.update(chosen(about.phrases))
    often = [word for word, count in typed.most_common() if count >= FEWEST_TYPED]
    return list(dict.fromkeys([*(word for word, _ in labels.most_common()), *often]))[:MOST_NEW]


def _unknown(tokenizer: Tokenizer, texts: Iterable[str]) -> set[str]:
    """Ignored words, and those read only by correcting a supposed typo."""
    unknown: set[str] = set()
    for text in texts:
        reading = tokenizer.read(text)
        missed = {*reading.ignored, *(word for word, _ in reading.corrected)}
        unknown.update(
            word for word in missed if split(word) == [word] and any(map(str.isalpha, word))
        )
    return unknown


def _direction(word: str, dim: int) -> NDArray[np.float32]:
    """A random unit vector that depends on the word only."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).normal(size=dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)
