"""Words that a team uses and the vocabulary does not know: each gets a vector of its own.

Without one, a label "scratch" would be passed over like a slip of the keyboard, or read as a word
that is spelled nearly so, and no label could ever teach it. A new word starts in a direction that
no other word has, at the length that all have, and is the same in every run; what it means the
network learns from the team's masks. Words are added behind the known ones, whose vectors stay as
they are, so that everything that was understood still is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from model.tokenizer import TOKEN, Tokenizer
from training.data import Dataset
from training.prompts.vocabulary import concept_of, words_for

# A word in a typed phrase is no slip once it was typed for so many objects; a label is no slip.
FEWEST = 3
# Labels are few; a team that types serial numbers is not to fill the vocabulary with them.
MOST = 200


def with_new_words(tokenizer: Tokenizer, dataset: Dataset) -> Tokenizer:
    """The tokenizer, or one that also knows the labels and repeated words of this data set."""
    new = new_words(tokenizer, dataset)
    if not new:
        return tokenizer
    length = float(np.median(np.linalg.norm(tokenizer.vectors, axis=1)))
    vectors = np.stack([length * _direction(word, tokenizer.dim) for word in new])
    return Tokenizer([*tokenizer.words, *new], np.concatenate([tokenizer.vectors, vectors]))


def new_words(tokenizer: Tokenizer, dataset: Dataset) -> list[str]:
    """Words of labels, and of phrases typed for several objects, that are not in the vocabulary."""
    labels: Counter[str] = Counter()
    typed: Counter[str] = Counter()
    for index in range(len(dataset)):
        for each in dataset.objects(index):
            if each.category:
                labels.update(_unknown(tokenizer, [words_for(concept_of(each.category))[0]]))
            typed.update(_unknown(tokenizer, each.phrases))
    often = [word for word, count in typed.most_common() if count >= FEWEST]
    return list(dict.fromkeys([*(word for word, _ in labels.most_common()), *often]))[:MOST]


def _unknown(tokenizer: Tokenizer, texts: Iterable[str]) -> set[str]:
    """Ignored words, and those that only a guess at a typo could read."""
    found: set[str] = set()
    for text in texts:
        reading = tokenizer.read(text)
        missed = {*reading.ignored, *(word for word, _ in reading.corrected)}
        found.update(word for word in missed if _is_word(word))
    return found


def _is_word(token: str) -> bool:
    return bool(TOKEN.fullmatch(token)) and any(letter.isalpha() for letter in token)


def _direction(word: str, dim: int) -> NDArray[np.float32]:
    """A random unit vector that depends on the word alone."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).normal(size=dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)
