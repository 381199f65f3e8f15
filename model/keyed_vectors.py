"""Reads any gensim KeyedVectors, by file or by gensim-downloader name.

Files that gensim saved itself are pickles. They are read by an unpickler that only allows plain
data and numpy arrays and turns every gensim object into a plain record, so an untrusted file
cannot run code.
"""

from __future__ import annotations

import gzip
import io
import logging
import pickle
import re
from itertools import chain, islice
from pathlib import Path
from statistics import mode
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from model.errors import WordVectorsError

log = logging.getLogger(__name__)

# Lines at the start of a text from which the number of dimensions is found.
PROBED_LINES = 100
_BLANKS = re.compile(r"[ \t]+")
_DECIMAL = re.compile(r"[-+]?(\d*\.\d+|\d+\.?)(e[-+]?\d+)?", re.IGNORECASE)
TEXT_SUFFIXES = (".txt", ".vec", ".glove")
# Objects of these modules become plain records: gensim's own, and a model's random state.
RECORDS = ("gensim.", "numpy.random.")
PLAIN_NAMES = {
    ("collections", "defaultdict"),
    ("builtins", "int"),
    ("builtins", "hash"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


def load(source: str | Path) -> tuple[list[str], NDArray[np.float32]]:
    """V words, the most frequent first, and their V,D vectors.

    source: a word2vec ``.bin`` (or ``.bin.gz``), a word2vec or GloVe text (``.txt``, ``.vec``,
    also ``.gz``), an ``.npz`` with arrays ``words`` and ``vectors``, a file that
    ``KeyedVectors.save`` wrote, or a gensim-downloader name such as "glove-wiki-gigaword-100".
    Words whose vectors are not finite are left out and logged. Raises WordVectorsError.
    """
    path = Path(source)
    if not path.exists():
        return _finite(*_download(str(source)), source)
    try:
        return _finite(*_read(path), source)
    except WordVectorsError:
        raise
    except Exception as error:  # readers raise nearly any error for a damaged file
        raise WordVectorsError(
            f"Cannot read word vectors from {path}: {error}. Expected are word2vec (.bin, .txt), "
            "GloVe text, .npz, or a file saved by gensim's KeyedVectors."
        ) from error


def _read(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    name = path.name.removesuffix(".gz")
    if name.endswith(".bin"):
        return _binary(path)
    if name.endswith(TEXT_SUFFIXES) or path.suffix == ".gz":
        return _text(path)
    return _arrays(path) if name.endswith(".npz") else _native(path)


def _finite(
    words: list[str], vectors: NDArray[np.float32], source: str | Path
) -> tuple[list[str], NDArray[np.float32]]:
    """The words whose vectors are finite. Raises WordVectorsError if there are none."""
    if vectors.ndim != 2 or len(words) != len(vectors):
        raise WordVectorsError(
            f"{source} has {len(words)} words and vectors of shape {vectors.shape}: each word "
            "needs one vector."
        )
    good = np.asarray(np.isfinite(vectors).all(axis=1))
    if good.all() and len(words):
        return words, vectors
    kept = [word for word, fine in zip(words, good.tolist(), strict=True) if fine]
    if not kept:
        raise WordVectorsError(f"{source} has no word with a vector of finite numbers.")
    log.warning("%d of %d words of %s have NaN or infinite vectors and are left out.",
                len(words) - len(kept), len(words), source)  # fmt: skip
    return kept, vectors[good]


def _download(name: str) -> tuple[list[str], NDArray[np.float32]]:
    if "/" in name or "\\" in name or name.endswith((".bin", ".gz", ".kv", ".npz", *TEXT_SUFFIXES)):
        raise WordVectorsError(f"There is no word vector file at {name}.")
    from gensim import downloader

    try:
        vectors = downloader.load(name)
    except Exception as error:  # no network, unknown name, damaged download
        raise WordVectorsError(
            f"'{name}' is neither a file nor a gensim-downloader model that can be fetched now "
            f"({error}). List the names with: python -m gensim.downloader --info"
        ) from error
    return list(vectors.index_to_key), np.asarray(vectors.vectors, np.float32)


def _binary(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    from gensim.models import KeyedVectors

    vectors = KeyedVectors.load_word2vec_format(str(path), binary=True, unicode_errors="replace")
    return list(vectors.index_to_key), np.asarray(vectors.vectors, np.float32)


def _text(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """One word per line, which may contain spaces, and D numbers.

    gensim's own reader does not support the spaces in words of GloVe's largest file.
    """
    words: list[str] = []
    rows: list[NDArray[np.float32]] = []
    opening = gzip.open if path.suffix == ".gz" else open
    # Only a line feed ends a line: some words of GloVe are other line breaks.
    with opening(path, "rt", encoding="utf-8-sig", errors="replace", newline="\n") as file:
        first = [line for line in islice(file, PROBED_LINES) if line.strip()]
        dim, count = 0, 0
        # word2vec text starts with "count dimension", GloVe with its first word.
        if first and len(first[0].split()) == 2 and all(p.isdigit() for p in first[0].split()):
            count, dim = map(int, first.pop(0).split())
        # A number may end a word ("new york 5"), and a line may be damaged: most lines are neither.
        width = mode(map(_numbers_at_end, first)) if first else 0
        if not first or width < 1:
            raise WordVectorsError(f"{path} has no line of a word and its numbers.")
        if dim not in (0, width):
            raise WordVectorsError(
                f"{path} starts with {dim} numbers for each word, but its lines have {width}."
            )
        left_out = 0
        for line in chain(first, file):
            word, *numbers = _columns(line, width)
            if len(numbers) != width:
                if line[:1] in " \t" and _numbers_at_end(f"- {line}") == width:
                    left_out += 1  # the word is a blank
                elif line.strip():
                    raise WordVectorsError(
                        f"{path}: word {len(words) + 1} has no {width} numbers: {line[:40]!r}."
                    )
                continue
            if _is_decimal(word.rpartition(" ")[2]) and " " in word:
                left_out += 1
                continue
            words.append(word)
            rows.append(np.array(numbers, np.float32))
    if left_out:
        log.warning(
            "%d lines of %s have no word, or more than %d numbers, and are left out.",
            *(left_out, path, width),
        )
    if len(words) + left_out < count:
        raise WordVectorsError(
            f"{path} ends after {len(words) + left_out} of its {count} words: the file is cut off."
        )
    if not rows:
        raise WordVectorsError(f"{path} has no line of a word and its numbers.")
    return words, np.stack(rows)


def _columns(line: str, dim: int) -> list[str]:
    """The word and its numbers, which blanks or tabs separate."""
    line = line.strip(" \t\r\n")
    columns = line.rsplit(" ", dim)
    if len(columns) == dim + 1 and "" not in columns and "\t" not in line:
        return columns
    parts = _BLANKS.split(line)
    return parts if len(parts) <= dim else [" ".join(parts[:-dim]), *parts[-dim:]]


def _is_decimal(part: str) -> bool:
    """Whether this is a number as vectors have it: "0.25", "-3e-05"; "66" is part of a word."""
    return _DECIMAL.fullmatch(part) is not None and not part.isdigit()


def _numbers_at_end(line: str) -> int:
    """The number of numbers at the end of a line, after its word."""
    count = 0
    for part in reversed(_BLANKS.split(line.strip(" \t\r\n"))[1:]):
        try:
            float(part)
        except ValueError:
            break
        count += 1
    return count


def _arrays(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    with np.load(path, allow_pickle=False) as stored:
        if "words" not in stored or "vectors" not in stored:
            raise WordVectorsError(f"{path} has no arrays `words` and `vectors`.")
        return [str(word) for word in stored["words"]], np.asarray(stored["vectors"], np.float32)


class _Record:
    """Any gensim object as a plain record: its attributes without behaviour."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN_NAMES:
            return super().find_class(module, name)
        if module.startswith(RECORDS):
            return _Record
        raise WordVectorsError(
            f"The file contains more than word vectors ({module}.{name}) and is refused. "
            "Save the vectors alone with KeyedVectors.save_word2vec_format."
        )


def _native(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    record = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    values: dict[str, Any] = dict(vars(record)) if isinstance(record, _Record) else {}
    if "wv" in values:  # a whole Word2Vec model; its large arrays are in files named "….wv."
        values = dict(vars(values["wv"]))
        path = path.with_name(path.name + ".wv")
    for name in values.get("__numpys", []):
        values[name] = np.load(f"{path}.{name}.npy", allow_pickle=False)
    if "index_to_key" not in values or "vectors" not in values:
        raise WordVectorsError(f"{path} has no word vectors in the format of gensim 4.")
    return list(values["index_to_key"]), cast(
        "NDArray[np.float32]", np.asarray(values["vectors"], np.float32)
    )
