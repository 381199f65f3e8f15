"""From typed text to the spellings that a vocabulary may know, typos included."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping

from rapidfuzz import process
from rapidfuzz.distance import OSA

from model import word_forms

WORD = re.compile(r"[^\s'-]+(?:['-][^\s'-]+)*'?")
# Scripts without spaces between words: Han, kana, Thai, Lao, Burmese, Khmer.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
HANGUL = re.compile("[\uac00-\ud7a3]")
# Plural and particles that Korean writes onto a noun.
PARTICLES = re.compile(
    "(들)?(은|는|이|가|을|를|의|에|에서|에게|에게서|께|께서|한테|와|과|랑|이랑|하고|도|만|로|으로|부터"
    "|까지|처럼|보다|이나|나|마다|밖에)?"
)
QUOTES_AND_DASHES = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "‐": "-", "‑": "-", "–": "-", "—": " ", "−": "-"}
)
# Least length of a typo of an untrained word, which may have one edit only.
LONG = 6


def split(text: str) -> list[str]:
    """The words of a text in normal form, with inner hyphens and apostrophes."""
    folded = normal_form(text)
    if not folded.isascii():
        kept = []
        for character in folded:
            kind = unicodedata.category(character)
            # Letters, numbers and their marks; Cf are joiners without width.
            if kind[0] in "LNM" or character in "'-":
                kept.append(character)
            elif kind != "Cf":
                kept.append(" ")
        folded = "".join(kept)
    else:
        folded = "".join(c if c.isalnum() or c in "'-" else " " for c in folded)
    return [word for word in WORD.findall(folded) if any(c.isalnum() for c in word)]


def words_of(text: str) -> list[str]:
    """The words of a text in normal form, with compounds taken apart and without quotes after."""
    return [part.rstrip("'") for word in split(text) for part in word.split("-")]


def plural(phrase: str) -> bool:
    """Whether a phrase asks for several things: "two small dogs"."""
    return word_forms.is_plural(words_of(phrase))


def about_one(phrase: str) -> str:
    """What a phrase says about one of those that it asks for: "all nuclei" -> "nucleus"."""
    words = words_of(phrase)
    return " ".join(word_forms.as_singular(words)) if word_forms.is_plural(words) else phrase


def normal_form(text: str) -> str:
    """One spelling of equivalent texts: Unicode NFKC, lower case, plain quotes and dashes."""
    if text.isascii():
        return text.lower().replace("`", "'")
    folded = unicodedata.normalize("NFKC", text).translate(QUOTES_AND_DASHES).casefold()
    # Turkish writes its capital i with a dot, which stays behind.
    return unicodedata.normalize("NFKC", folded.replace("i\u0307", "i"))


def key_of(word: str) -> str:
    """The look-up key of a vocabulary entry: "Fire_hydrant" gives "fire hydrant"."""
    if word.isascii() and word.isalpha():
        return word.lower()
    folded = normal_form(word)
    if not folded.isascii():
        # Joiners without width and byte order marks, which `split` leaves out of phrases.
        folded = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    return " ".join(folded.replace("_", " ").split()) or folded


def _without_accents(word: str) -> str:
    letters = unicodedata.normalize("NFKD", word)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def spellings(token: str) -> Iterator[tuple[str, bool]]:
    """Spellings of a word, most likely first, and whether each is the singular of a plural."""
    yield from ((stem, ending.startswith("들")) for stem, ending in stems(token))
    bare = word_forms.without_possessive(token)
    for form in dict.fromkeys((bare, _without_accents(bare))):
        joined = form.replace("-", "").replace("'", "")
        for spelling in dict.fromkeys((form, joined)):
            yield spelling, False
            yield from ((singular, True) for singular in word_forms.singulars(spelling))
            yield from ((plural, False) for plural in word_forms.plurals(spelling))


def stems(word: str) -> Iterator[tuple[str, str]]:
    """A Korean word without the particles that may end it, the longest stem first, and these; of
    other words the word alone."""
    starts = range(len(word), 0, -1) if HANGUL.search(word) else (len(word),)
    for start in starts:
        if PARTICLES.fullmatch(word, start):
            yield word[:start], word[start:]


def means_something(word: str) -> bool:
    """Whether a word is neither a function word ("the", "of") nor a number."""
    return word not in word_forms.FUNCTION_WORDS and any(letter.isalpha() for letter in word)


class Corrections:
    """Words that a typo may be corrected to: those of three or more letters."""

    def __init__(self, ranks: Mapping[str, int]) -> None:
        """ranks: of each word by frequency, 0 the most frequent."""
        self._ranks = ranks
        self._by_length: dict[int, list[str]] = {}
        for word in ranks:
            if len(word) >= 3 and word.isalpha():
                self._by_length.setdefault(len(word), []).append(word)

    def nearest(self, token: str, was_trained: Callable[[str], bool]) -> str | None:
        """The word nearest to a typo, or None if none is near enough."""
        best: tuple[int, bool, bool, int, str] | None = None
        for form in dict.fromkeys((token, *word_forms.singulars(token))):
            allowed = _allowed_edits(form)
            if not allowed:
                continue
            for length in range(len(form) - allowed, len(form) + allowed + 1):
                candidates = self._by_length.get(length, [])
                for word, distance, _ in process.extract_iter(
                    form, candidates, scorer=OSA.distance, score_cutoff=allowed
                ):
                    # First by distance, with one more edit for untrained words; then by first
                    # letter, which people rarely miss; then words that name something; then by
                    # frequency.
                    trained = was_trained(word)
                    if not trained and (distance > 1 or len(form) < LONG):
                        continue
                    far = int(distance) + (not trained)
                    other = word[0] != form[0]
                    candidate = (far, other, not means_something(word), self._ranks[word], word)
                    if best is None or candidate < best:
                        best = candidate
        return None if best is None else best[-1]


def _allowed_edits(word: str) -> int:
    """Edits that a typo of this length may have; none in short words, numbers and codes."""
    if not word.isalpha() or len(word) < 4:
        return 0
    return 1 if len(word) <= 6 else 2 if len(word) <= 9 else 3
