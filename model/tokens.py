"""What a phrase was read as; `model.tokenizer` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model import word_forms, word_geometry
from model.spelling import means_something

# From this cosine on, an untrained word is understood as its nearest trained one. *choice*
UNDERSTOOD_COSINE = 0.5


class NearWord(NamedTuple):
    """A word that was in no training phrase, and the trained word with the nearest vector.

    cosine: of the two vectors, -1 to 1; 0 and "" if there is no trained word.
    """

    word: str
    trained: str
    cosine: float

    @property
    def understood(self) -> bool:
        """Whether the word is near enough to be understood as the trained one."""
        return self.cosine >= UNDERSTOOD_COSINE


@dataclass(frozen=True)
class Tokens:
    """The result of reading a phrase.

    words: words of the vocabulary, in order. corrected: (as typed, as read) for each typo. ignored:
    unknown words in lower case, untrained negations, and words beyond the tokenizer's limit.
    vectors: L,D float32, read-only. truncated: the phrase was too long. near: the untrained ones of
    the words.
    """

    words: tuple[str, ...]
    corrected: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    vectors: NDArray[np.float32]
    truncated: bool = False
    near: tuple[NearWord, ...] = ()

    @property
    def unknown(self) -> bool:
        """Whether no word is known that says what the phrase is about: of "the red zorb" only words
        of grammar, side, order, size and colour are."""
        missed = any(word not in word_forms.NEGATIONS for word in self.ignored)
        named = (means_something(word) and not word_geometry.entry(word) for word in self.words)
        return not self.words or (missed and not any(named))

    @property
    def understood_as(self) -> tuple[tuple[str, str], ...]:
        """(word, trained word) for each untrained word that was understood as a trained one."""
        return tuple((near.word, near.trained) for near in self.near if near.understood)

    @property
    def unfamiliar(self) -> tuple[str, ...]:
        """Untrained words without a trained one near them: read, but of little effect."""
        return tuple(near.word for near in self.near if not near.understood)
