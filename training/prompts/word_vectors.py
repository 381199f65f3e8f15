"""Word vectors of the shipped checkpoint: word2vec on expressions that people wrote of pictures.

A corpus of referring expressions knows "left", "guy" and "shirt" well, but never saw "loafers".
So sentences made from the vocabulary are mixed in, which put every word that a category can be
called by beside its synonyms and in the places where nouns stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError
from training.prompts.vocabulary import (
    COLOURS,
    RELATED,
    WORN,
    concept_of,
    every_word_for,
    plural_of,
)

DIM = 100
# A word seen less often is most likely a typo, and a typo must not become a known word.
FEWEST = 5
# How often the made sentences are repeated, so that a word known from them alone is learned.
REPEATS = 12
# Length of every vector after scaling: one per coordinate is what the LSTM likes, a half is plenty.
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


def tokens(text: str) -> list[str]:
    """Words of an expression, as the phrase reader would look them up."""
    return re.findall(r"[a-z]+", text.lower().replace("-", "").replace("'", ""))


def made_sentences(categories: Iterable[str], rng: np.random.Generator) -> list[list[str]]:
    """Sentences that place every name of every category."""
    sentences = []
    concepts = sorted({concept_of(each) for each in categories})
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
    """Each name in four of the phrases in which people say it."""
    return [
        str(rng.choice(FRAMES)).format(rng.choice(COLOURS), name)
        for name in names
        for _ in range(4)
    ]


def train_word_vectors(
    expressions: Path | Sequence[str],
    categories: Iterable[str],
    *,
    dim: int = DIM,
    epochs: int = 12,
    seed: int = 1,
) -> tuple[list[str], NDArray[np.float32]]:
    """Words, the most frequent first, and their V,D vectors, all of one length."""
    from gensim.models import Word2Vec

    if isinstance(expressions, Path):
        if not expressions.is_file():
            raise DataError(f"The text {expressions} for word vectors is missing.")
        expressions = expressions.read_text(encoding="utf-8").splitlines()
    rng = np.random.default_rng(seed)
    made = made_sentences(categories, rng)
    sentences = [tokens(line) for line in expressions] + made
    sentences = [sentences[i] for i in rng.permutation(len(sentences)) if sentences[i]]
    # One worker: more would make the result depend on the scheduler.
    learned = Word2Vec(
        sentences, vector_size=dim, window=4, min_count=1, sg=1, negative=8, epochs=epochs,
        sample=1e-3, workers=1, seed=seed,
    ).wv  # fmt: skip
    kept_always = {word for sentence in made for word in sentence}
    words = [
        word
        for word in learned.index_to_key
        if word in kept_always or learned.get_vecattr(word, "count") >= FEWEST
    ]
    vectors = np.stack([learned[word] for word in words]).astype(np.float32)
    # The mean is shared by all words and tells none apart.
    vectors -= vectors.mean(0)
    vectors *= LENGTH / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-6)
    return words, vectors
