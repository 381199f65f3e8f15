"""Word vectors from elsewhere: any gensim KeyedVectors, by file or by gensim-downloader name.

A file that gensim saved itself is a pickle. It is read by an unpickler that knows only plain data
and numpy arrays and turns every gensim object into a bare record, so that opening a file from a
stranger runs none of its code.
"""

from __future__ import annotations

import gzip
import io
import pickle
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from model.errors import WordVectorsError

TEXT_SUFFIXES = (".txt", ".vec", ".glove")
# Objects of these modules are read as bare records: gensim's own, and a model's random state.
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
    """Words, the most frequent first, and their vectors V,D.

    source: a word2vec ``.bin`` (or ``.bin.gz``), a word2vec or GloVe text (``.txt``, ``.vec``,
    also ``.gz``), a file that ``KeyedVectors.save`` wrote, or a gensim-downloader name such as
    "glove-wiki-gigaword-100". Raises WordVectorsError.
    """
    path = Path(source)
    if not path.exists():
        return _download(str(source))
    try:
        name = path.name.removesuffix(".gz")
        if name.endswith(".bin"):
            return _word2vec(path, binary=True, header=True)
        if name.endswith(TEXT_SUFFIXES) or path.suffix == ".gz":
            return _word2vec(path, binary=False, header=_has_header(path))
        return _native(path)
    except WordVectorsError:
        raise
    except Exception as error:  # every reader has its own way to choke on a damaged file
        raise WordVectorsError(
            f"Cannot read word vectors from {path}: {error}. Expected are word2vec (.bin, .txt), "
            "GloVe text, or a file saved by gensim's KeyedVectors."
        ) from error


def _download(name: str) -> tuple[list[str], NDArray[np.float32]]:
    if "/" in name or "\\" in name or name.endswith((".bin", ".gz", ".kv", *TEXT_SUFFIXES)):
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


def _word2vec(path: Path, *, binary: bool, header: bool) -> tuple[list[str], NDArray[np.float32]]:
    from gensim.models import KeyedVectors

    vectors = KeyedVectors.load_word2vec_format(
        str(path), binary=binary, no_header=not header, unicode_errors="replace"
    )
    return list(vectors.index_to_key), np.asarray(vectors.vectors, np.float32)


def _has_header(path: Path) -> bool:
    """word2vec text starts with "count dimension", GloVe with its first word."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        first = file.readline(1000).split()
    return len(first) == 2 and all(part.isdigit() for part in first)


class _Record:
    """Stands for any gensim object: its attributes and no behaviour."""

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
            f"The file holds more than word vectors ({module}.{name}), so it is not opened. "
            "Save the vectors alone with KeyedVectors.save_word2vec_format."
        )


def _native(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    record = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    values: dict[str, Any] = dict(vars(record)) if isinstance(record, _Record) else {}
    if "wv" in values:  # a whole Word2Vec model; its big arrays lie beside it under "wv."
        values = dict(vars(values["wv"]))
        path = path.with_name(path.name + ".wv")
    for name in values.get("__numpys", []):
        values[name] = np.load(f"{path}.{name}.npy", allow_pickle=False)
    if "index_to_key" not in values or "vectors" not in values:
        raise WordVectorsError(f"{path} holds no word vectors that gensim 4 has saved.")
    return list(values["index_to_key"]), cast(
        "NDArray[np.float32]", np.asarray(values["vectors"], np.float32)
    )
