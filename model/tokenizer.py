"""From any text to word vectors.

The paper feeds word2vec vectors to its LSTM and does not mention words without one; all rules here
are a *choice*. Each word is tried in this order: as typed (in its normal form), without possessive,
accents or hyphen, joined with the next word ("surf board"), in its other number, as a compound of
two common words, split into known words if its script has no spaces, and finally as a typo of a
common word. A word of the vocabulary is never treated as a typo. Other words are ignored, and the
tokens list them, so that the annotator can be informed.

A vocabulary of tens of thousands of words has many that were in no training phrase. They are read
too, since words of similar meaning have similar vectors, and the tokens name the nearest trained
word of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model import word_forms, word_geometry
from model.errors import WordVectorsError
from model.spelling import (
    HANGUL,
    UNSPACED,
    Corrections,
    key_of,
    means_something,
    spellings,
    split,
    stems,
)
from model.tokens import NearWord, Tokens

# Longer phrases are cut: the LSTM was trained on a few words, and its time grows with them.
MAX_WORDS = 32
# Characters that are read, so that a pasted book costs no more than a paragraph.
MAX_CHARACTERS = 4000
# Each unknown word is compared with the whole vocabulary. One character can hold four words.
_MOST_LOOKED_UP = 4 * MAX_WORDS
# Typos are corrected to trained words and the most frequent others only: of 60,000 words, one is
# within a letter of almost anything.
FREQUENT_WORDS = 10_000
# Words that are compared with a typo; three million would take a second.
CORRECTION_WORDS = 50_000
CACHED_PHRASES = 1024
# Most parts of a vocabulary entry with spaces ("fire hydrant").
MAX_JOINED = 4
# Longest word in a run of characters without spaces.
MAX_UNSPACED = 8


class _KnownWord(NamedTuple):
    """A known word; plural: a plural was typed, and this is its singular."""

    word: str
    plural: bool = False


class Tokenizer:
    """A vocabulary with its vectors. Thread-safe; results are cached."""

    def __init__(
        self,
        words: Sequence[str],
        vectors: NDArray[np.floating],
        *,
        trained: Iterable[str] | None = None,
        geometry: bool = False,
    ) -> None:
        """words: V, the most frequent first (it breaks ties between corrections). vectors: V,S.

        trained: the words that were in training, None for all. geometry: append the dimensions of
        model/word_geometry.py; words with an entry there are known even without a vector.
        """
        if vectors.ndim != 2 or len(words) != vectors.shape[0] or not len(words):
            raise WordVectorsError(
                f"{len(words)} words and vectors of shape {vectors.shape} do not fit together; "
                "each word needs one vector."
            )
        self.words = tuple(words)
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.geometry = geometry
        # Of "Dog" and "dog" in a cased vocabulary the more frequent one stays.
        self._index: dict[str, int] = {}
        longest = 1
        for position, word in enumerate(self.words):
            # A fast path: this loop is a large part of a server's start.
            if word.isascii() and word.isalpha() and word.islower():
                self._index.setdefault(word, position)
            else:
                key = key_of(word)
                longest = max(longest, key.count(" ") + 1)
                self._index.setdefault(key, position)
        self.trained = None if trained is None else frozenset(key_of(word) for word in trained)
        self._longest = min(MAX_JOINED, longest)
        self._read = lru_cache(maxsize=CACHED_PHRASES)(self._read_uncached)

    @property
    def dim(self) -> int:
        """Length of a word vector as the network takes it."""
        return int(self.vectors.shape[1]) + (word_geometry.EXTRA if self.geometry else 0)

    @classmethod
    def from_keyed_vectors(cls, source: str | Path, *, geometry: bool = False) -> Tokenizer:
        """Any gensim KeyedVectors by path, or by gensim-downloader name; see keyed_vectors.py."""
        from model.keyed_vectors import load

        return cls(*load(source), geometry=geometry)

    def extended(
        self,
        words: Sequence[str] = (),
        vectors: NDArray[np.floating] | None = None,
        trained: Iterable[str] = (),
    ) -> Tokenizer:
        """A tokenizer with further words, N with N,S vectors, and further trained ones."""
        added = np.zeros((0, self.vectors.shape[1])) if vectors is None else vectors
        return Tokenizer(
            [*self.words, *words],
            np.concatenate([self.vectors, np.asarray(added, np.float32)]),
            trained=None if self.trained is None else self.trained | set(trained) | set(words),
            geometry=self.geometry,
        )

    def read(self, phrase: str) -> Tokens:
        """Read any text; never raises. An empty or unknown phrase gives no words."""
        cut = phrase[:MAX_CHARACTERS]
        return self._read(cut, len(phrase) > MAX_CHARACTERS)

    def knows(self, phrase: str) -> bool:
        """Whether the phrase has a word with a meaning, and all of these were trained.

        Function words ("the", "of") and numbers do not count; corrected words are not known.
        """
        tokens = self.read(phrase)
        missed = [word for word in tokens.ignored if means_something(word)]
        meant = [word for word in tokens.words if means_something(word)]
        if missed or tokens.corrected or tokens.truncated or tokens.near:
            return False
        return bool(meant)

    def has(self, word: str) -> bool:
        """Whether the vocabulary holds a word, in its normal form."""
        return word in self._index or (self.geometry and word_geometry.entry(word) is not None)

    def source_vector(self, word: str) -> NDArray[np.float32] | None:
        """The S numbers of a word as given to the constructor; None for unknown words."""
        row = self._index.get(word)
        return None if row is None else self.vectors[row]

    def was_trained(self, word: str) -> bool:
        """Whether a word was in training in either number, or needs no training."""
        if self._was_in_training(word) or not means_something(word):
            return True
        if self.geometry and word_geometry.entry(word) is not None:
            return True
        forms = (*word_forms.singulars(word), *word_forms.plurals(word))
        return any(self._was_in_training(form) and self._agree(form, word) for form in forms)

    def _was_in_training(self, word: str) -> bool:
        return self.trained is None or word in self.trained

    def _read_uncached(self, phrase: str, truncated: bool) -> Tokens:
        tokens = split(phrase)
        pieces: list[_KnownWord] = []
        corrected: list[tuple[str, str]] = []
        ignored: list[str] = []
        position = 0
        while position < len(tokens):
            token = tokens[position]
            if len(pieces) >= MAX_WORDS or position >= _MOST_LOOKED_UP:
                truncated = True
                ignored.extend(tokens[position:])
                break
            joined = self._joined(tokens[position : position + self._longest])
            if not joined and token in word_forms.NEGATIONS and not self._was_in_training(token):
                ignored.append(token)
                position += 1
                continue
            known = [_KnownWord(joined)] if joined else self._known_forms(token)
            position += joined.count(" ") + 1 if joined else 1
            if not known and position < len(tokens) and token + tokens[position] in self._index:
                known = [_KnownWord(token + tokens[position])]
                position += 1
            if not known and UNSPACED.search(token):
                known, missed = self._unspaced(token)
                ignored.extend(missed)
                pieces.extend(known[: MAX_WORDS - len(pieces)])
                continue
            if not known:
                nearest = self._corrections.nearest(token, self.was_trained)
                if nearest is not None:
                    corrected.append((token, nearest))
                    known = [_KnownWord(nearest)]
            if not known:
                known, missed = self._parts(token)
                ignored.extend(missed)
            pieces.extend(known[: MAX_WORDS - len(pieces)])
        words = tuple(piece.word for piece in pieces)
        near = tuple(
            self._nearest_trained(word)
            for word in dict.fromkeys(words)
            if not self.was_trained(word)
        )
        vectors = self._vectors_of(pieces)
        vectors.setflags(write=False)
        return Tokens(words, tuple(corrected), tuple(ignored), vectors, truncated, near)

    def _vectors_of(self, pieces: Sequence[_KnownWord]) -> NDArray[np.float32]:
        """L,D vectors of the words of a phrase."""
        if not self.geometry:
            rows = [self._index[piece.word] for piece in pieces]
            return self.vectors[rows] if rows else np.zeros((0, self.dim), np.float32)
        read = [self._as_singular(piece) for piece in pieces]
        entries, damping = word_geometry.phrase_entries(
            [piece.word for piece in read], [piece.plural for piece in read]
        )
        vectors = np.zeros((len(read), self.vectors.shape[1]), np.float32)
        for place, piece in enumerate(read):
            row = self._index.get(piece.word)
            if row is not None:
                vectors[place] = damping[place] * self.vectors[row]
        return np.concatenate([vectors, entries], 1)

    def _as_singular(self, piece: _KnownWord) -> _KnownWord:
        """A plural noun of the vocabulary as its singular, if they mean the same."""
        if piece.plural or word_geometry.entry(piece.word) is not None:
            return piece
        if piece.word in word_forms.ONE_THING:
            return piece
        for form in word_forms.singulars(piece.word):
            if form in self._index and self._agree(form, piece.word):
                return _KnownWord(form, True)
        return piece

    def _agree(self, one: str, other: str) -> bool:
        """Whether two forms of a word mean the same, by their vectors if both have one."""
        rows = [self._index[word] for word in (one, other) if word in self._index]
        if len(rows) < 2:
            return True
        pair = self.vectors[rows]
        product = float(pair[0] @ pair[1])
        lengths = float(np.linalg.norm(pair[0]) * np.linalg.norm(pair[1]))
        return product >= word_geometry.PLURAL_COSINE * lengths

    def _joined(self, tokens: Sequence[str]) -> str | None:
        """The longest vocabulary entry of two or more words that these tokens start with."""
        for count in range(len(tokens), 1, -1):
            joined = " ".join(tokens[:count])
            if joined in self._index:
                return joined
        return None

    def _known_forms(self, token: str) -> list[_KnownWord]:
        """The known word or words of a token, without correcting typos; may be empty."""
        for form, plural in spellings(token):
            if self.has(form):
                return [_KnownWord(form, plural)]
        parts = token.split("-")
        if len(parts) > 1:
            known = [self._known_forms(part) for part in parts]
            if all(known):
                return [piece for pieces in known for piece in pieces]
        for stem, _ in stems(token) if HANGUL.search(token) else ():
            pieces, missed = self._unspaced(stem)
            if pieces and not missed:
                return pieces
        plain = token.replace("-", "")
        for form in (plain, *word_forms.singulars(plain)):
            compound = word_forms.compound_parts(form, self._common)
            if compound is not None:
                return [_KnownWord(compound[0]), _KnownWord(compound[1], form != plain)]
        return []

    def _parts(self, token: str) -> tuple[list[_KnownWord], list[str]]:
        """The known and the unknown parts of an unknown hyphenated word."""
        parts = token.split("-")
        if len(parts) == 1:
            return [], [token]
        read: list[_KnownWord] = []
        missed: list[str] = []
        for part in parts:
            known = self._known_forms(part)
            read.extend(known)
            if not known:
                missed.append(part)
        return read, missed

    def _unspaced(self, token: str) -> tuple[list[_KnownWord], list[str]]:
        """Words in a run without spaces, found greedily, and the unknown parts between them."""
        read: list[_KnownWord] = []
        missed: list[str] = []
        start = position = 0
        while position < len(token):
            longest = min(len(token), position + MAX_UNSPACED)
            ends = range(longest, position, -1)
            end = next((end for end in ends if token[position:end] in self._index), None)
            if end is None:
                position += 1
                continue
            if start < position:
                missed.append(token[start:position])
            read.append(_KnownWord(token[position:end]))
            start = position = end
        if start < len(token):
            missed.append(token[start:])
        return read, missed

    def _nearest_trained(self, word: str) -> NearWord:
        """The trained word whose vector is nearest to that of an untrained one; none for what is
        done ("standing"), which is not what a thing is."""
        if word.endswith("ing"):
            return NearWord(word, "", 0.0)
        words, directions = self._trained_directions
        vector = self.vectors[self._index[word]]
        length = float(np.linalg.norm(vector))
        if not words or length == 0:
            return NearWord(word, "", 0.0)
        cosines = directions @ vector / length
        best = int(cosines.argmax())
        return NearWord(word, words[best], float(cosines[best]))

    @cached_property
    def _trained_directions(self) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Trained words that name something, and their unit vectors."""
        words = [
            word
            for word in sorted(self.trained or ())
            if word in self._index and means_something(word) and not self._has_entry(word)
        ]
        vectors = self.vectors[[self._index[word] for word in words]]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return tuple(words), vectors / np.maximum(lengths, 1e-6)

    def _has_entry(self, word: str) -> bool:
        return self.geometry and word_geometry.entry(word) is not None

    @cached_property
    def _corrections(self) -> Corrections:
        last = len(self.words)
        ranks = {word: self._index.get(word, last) for word in self._common}
        return Corrections(
            {word: rank for word, rank in ranks.items() if rank == last or rank < CORRECTION_WORDS}
        )

    @cached_property
    def _common(self) -> frozenset[str]:
        """Words that may be parts of a compound or corrections of a typo."""
        if self.trained is None:
            return frozenset(self._index)
        entries = word_geometry.entries() if self.geometry else {}
        frequent = islice(self._index, FREQUENT_WORDS)
        return frozenset([*frequent, *(self.trained & self._index.keys()), *entries])
