"""Words that data use and no vocabulary holds: each gets a vector of its own.

Without one, a label "scratch" would be passed over like a slip of the keyboard, or read as a word
that is spelled nearly so, and no label could ever teach it. A word that has known synonyms starts
as their mean; any other starts in a direction that no other word has, at the length that all have,
the same in every run, and what it means the network learns from masks. Words are added behind the
known ones, whose vectors stay as they are, so that everything that was understood still is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from model.tokenizer import Tokenizer, split
from training.data import Dataset
from training.prompts.vocabulary import RELATED, concept_of, every_word_for, words_for

# A word in a typed phrase is no slip once it was typed for this many objects; a label is no slip.
FEWEST = 3
# Labels are few; a team that types serial numbers is not to fill the vocabulary with them.
MOST = 200


def with_new_words(tokenizer: Tokenizer, dataset: Dataset) -> Tokenizer:
    """The tokenizer, or one that also knows the labels and repeated words of this data set.

    Words of the vocabulary become trained ones; words that it lacks get a vector.
    """
    new = new_words(tokenizer, dataset)
    if new:
        length = float(np.median(np.linalg.norm(tokenizer.vectors, axis=1)))
        dim = tokenizer.vectors.shape[1]
        vectors = np.stack([length * _direction(word, dim) for word in new])
        tokenizer = tokenizer.extended(new, vectors)
    untrained = _untrained(tokenizer, dataset)
    return tokenizer.extended(trained=untrained) if untrained else tokenizer


def new_words(tokenizer: Tokenizer, dataset: Dataset) -> list[str]:
    """Words of labels, and of phrases typed for several objects, that are not in the vocabulary."""
    return _counted(dataset, lambda texts: _unknown(tokenizer, texts))


def composed_words(
    tokenizer: Tokenizer, categories: Iterable[str]
) -> tuple[list[str], NDArray[np.float32]]:
    """Words N that these categories go by and that are not in the vocabulary, and N,S vectors.

    The vector is the mean of what else the thing is called, or of what is called much the same.
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
    """The mean vector of those of the names that are understood."""
    vectors = []
    for name in names:
        tokens = tokenizer.read(name)
        if not tokens.ignored and not tokens.corrected:
            vectors += [tokenizer.source_vector(word) for word in tokens.words if len(word) > 1]
    known = [vector for vector in vectors if vector is not None]
    return np.mean(known, axis=0) if known else None


def _counted(dataset: Dataset, chosen: Callable[[Iterable[str]], set[str]]) -> list[str]:
    """Of the words that ``chosen`` picks from texts, those of labels and those typed often."""
    labels: Counter[str] = Counter()
    typed: Counter[str] = Counter()
    for index in range(len(dataset)):
        for each in dataset.objects(index):
            if each.category:
                labels.update(chosen([words_for(concept_of(each.category))[0]]))
            typed.update(chosen(each.phrases))
    often = [word for word, count in typed.most_common() if count >= FEWEST]
    return list(dict.fromkeys([*(word for word, _ in labels.most_common()), *often]))[:MOST]


def _untrained(tokenizer: Tokenizer, dataset: Dataset) -> list[str]:
    """Words of the vocabulary that labels or repeated phrases use and that were not trained."""
    return _counted(
        dataset, lambda texts: {near.word for text in texts for near in tokenizer.read(text).near}
    )


def _unknown(tokenizer: Tokenizer, texts: Iterable[str]) -> set[str]:
    """Ignored words, and those that only a guess at a typo could read."""
    found: set[str] = set()
    for text in texts:
        reading = tokenizer.read(text)
        missed = {*reading.ignored, *(word for word, _ in reading.corrected)}
        found.update(word for word in missed if _is_word(word))
    return found


def _is_word(token: str) -> bool:
    return split(token) == [token] and any(letter.isalpha() for letter in token)


def _direction(word: str, dim: int) -> NDArray[np.float32]:
    """A random unit vector that depends on the word alone."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).normal(size=dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)
