"""Any wording to word vectors: what an annotator types is read as well as it can be.

The paper feeds word2vec vectors to its LSTM and says nothing about words without one; all rules
here are a *choice*. Each word is tried, in this order: as typed (case and Unicode width folded),
without its possessive, accents or hyphen, joined with the next word ("surf board"), in its other
number, as a compound of two known words, and at last as a typo of the nearest known word. What is
left is ignored, and the reading says so, so that the annotator can be told.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA

from model import word_forms
from model.errors import WordVectorsError

# Longer phrases are cut: the LSTM was trained on a handful of words, and its time grows with them.
MAX_WORDS = 32
# Nothing beyond is looked at, so that a pasted book costs no more than a paragraph.
MAX_CHARACTERS = 4000
# Typos are sought among the most frequent words only: three million words would take a second.
CORRECTION_WORDS = 50_000
CACHED_READINGS = 1024

TOKEN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*'?")
QUOTES_AND_DASHES = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "‐": "-", "‑": "-", "–": "-", "—": " ", "−": "-"}
)


@dataclass(frozen=True)
class Tokens:
    """What was understood of a phrase.

    words: the known words used, in order. corrected: (as typed, as read) for each typo. ignored:
    the words not understood, as typed in lower case, and those beyond MAX_WORDS. vectors: L,D
    float32, read-only. truncated: the phrase was longer than what is read.
    """

    words: tuple[str, ...]
    corrected: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    vectors: NDArray[np.float32]
    truncated: bool = False


class Tokenizer:
    """A vocabulary with its vectors. Thread-safe; readings are cached."""

    def __init__(self, words: Sequence[str], vectors: NDArray[np.floating]) -> None:
        """words: V, the most frequent first (it breaks ties between corrections). vectors: V,D."""
        if vectors.ndim != 2 or len(words) != vectors.shape[0] or not len(words):
            raise WordVectorsError(
                f"{len(words)} words and vectors of shape {vectors.shape} do not fit together; "
                "each word needs one vector."
            )
        self.words = tuple(words)
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self._index: dict[str, int] = {}
        for position, word in enumerate(self.words):
            # "Dog" and "dog" of a cased vocabulary: the more frequent one stands for both.
            self._index.setdefault(_fold(word), position)
        self._read = lru_cache(maxsize=CACHED_READINGS)(self._read_anew)

    @property
    def dim(self) -> int:
        """Length of a word vector."""
        return int(self.vectors.shape[1])

    @classmethod
    def from_keyed_vectors(cls, source: str | Path) -> Tokenizer:
        """Any gensim KeyedVectors by path, or by gensim-downloader name; see keyed_vectors.py."""
        from model.keyed_vectors import load

        return cls(*load(source))

    def read(self, phrase: str) -> Tokens:
        """Read any text; never raises. An empty or unknown phrase gives no words."""
        cut = phrase[:MAX_CHARACTERS]
        return self._read(cut, len(phrase) > MAX_CHARACTERS)

    def knows(self, phrase: str) -> bool:
        """Whether every word that carries meaning is known, with no correction, and there is one.

        Function words ("the", "of") and numbers do not count.
        """
        reading = self.read(phrase)
        missed = [word for word in reading.ignored if _means_something(word)]
        meant = [word for word in reading.words if _means_something(word)]
        return bool(meant) and not missed and not reading.corrected and not reading.truncated

    def _read_anew(self, phrase: str, truncated: bool) -> Tokens:
        tokens = TOKEN.findall(_fold(phrase))
        words: list[str] = []
        corrected: list[tuple[str, str]] = []
        ignored: list[str] = []
        position = 0
        while position < len(tokens):
            token = tokens[position]
            following = tokens[position + 1] if position + 1 < len(tokens) else None
            position += 1
            if len(words) >= MAX_WORDS:
                truncated = True
                ignored.append(token)
                continue
            found = self._known_forms(token)
            if found is None and following is not None and token + following in self._index:
                found = (token + following,)
                position += 1
            if found is None:
                nearest = self._nearest(token)
                if nearest is not None:
                    corrected.append((token, nearest))
                    found = (nearest,)
            if found is None:
                found, missed = self._parts(token)
                ignored.extend(missed)
            words.extend(found[: MAX_WORDS - len(words)])
        rows = [self._index[word] for word in words]
        vectors = self.vectors[rows] if rows else np.zeros((0, self.dim), np.float32)
        vectors.setflags(write=False)
        return Tokens(tuple(words), tuple(corrected), tuple(ignored), vectors, truncated)

    def _known_forms(self, token: str) -> tuple[str, ...] | None:
        """The known word or words that the token is, without any guess at typos."""
        for form in _spellings(token):
            if form in self._index:
                return (form,)
        parts = token.split("-")
        if len(parts) > 1:
            known = [self._known_forms(part) for part in parts]
            if all(known):
                return tuple(word for words in known if words for word in words)
        plain = token.replace("-", "")
        for form in (plain, *word_forms.singulars(plain)):
            compound = word_forms.compound_parts(form, self._index)
            if compound is not None:
                return compound
        return None

    def _parts(self, token: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Of a hyphenated unknown, the parts that are known, and those that are not."""
        parts = token.split("-")
        if len(parts) == 1:
            return (), (token,)
        found: list[str] = []
        missed: list[str] = []
        for part in parts:
            known = self._known_forms(part)
            if known is None:
                missed.append(part)
            else:
                found.extend(known)
        return tuple(found), tuple(missed)

    def _nearest(self, token: str) -> str | None:
        """The known word nearest to a typo, or None where none is near enough to be meant."""
        best: tuple[int, bool, int] | None = None
        for form in dict.fromkeys((token, *word_forms.singulars(token))):
            allowed = _allowed_edits(form)
            if not allowed:
                continue
            for length in range(len(form) - allowed, len(form) + allowed + 1):
                candidates = self._by_length.get(length, [])
                for word, distance, _ in process.extract_iter(
                    form, candidates, scorer=OSA.distance, score_cutoff=allowed
                ):
                    # Nearest, then same first letter (people rarely miss it), then most frequent.
                    rank = (int(distance), word[0] != form[0], self._index[word])
                    if best is None or rank < best:
                        best = rank
        return None if best is None else _fold(self.words[best[2]])

    @cached_property
    def _by_length(self) -> dict[int, list[str]]:
        """Words a typo may be meant to be, by length: of letters only, three or more."""
        groups: dict[int, list[str]] = {}
        for word, position in self._index.items():
            if position < CORRECTION_WORDS and len(word) >= 3 and word.isalpha():
                groups.setdefault(len(word), []).append(word)
        return groups


def _fold(text: str) -> str:
    """One spelling for equal texts: Unicode NFKC, case, quotes and dashes."""
    return unicodedata.normalize("NFKC", text).translate(QUOTES_AND_DASHES).casefold()


def _without_accents(word: str) -> str:
    letters = unicodedata.normalize("NFKD", word)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _spellings(token: str) -> Iterator[str]:
    """Spellings of one word, the likeliest first."""
    yield token
    bare = word_forms.without_possessive(token)
    for form in dict.fromkeys((bare, _without_accents(bare))):
        joined = form.replace("-", "").replace("'", "")
        for spelling in dict.fromkeys((form, joined)):
            yield spelling
            yield from word_forms.singulars(spelling)
            yield from word_forms.plurals(spelling)


def _allowed_edits(word: str) -> int:
    """How many slips a word of this length may hold; none in short words, numbers and codes."""
    if not word.isalpha() or len(word) < 4:
        return 0
    return 1 if len(word) <= 6 else 2 if len(word) <= 9 else 3


def _means_something(word: str) -> bool:
    return word not in word_forms.FUNCTION_WORDS and any(letter.isalpha() for letter in word)
