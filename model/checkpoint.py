"""A model version on disk: a directory that is written once and never changes.

``weights.safetensors`` holds the network and the word vectors, ``config.json`` the network's shape,
``vocabulary.json`` the words in the order of their vectors and which of them were trained,
``metrics.json`` measurements and the parent version. ``SHA256SUMS`` (in the format of sha256sum)
lists all files, and each is checked before use. Nothing is unpickled.

Word vectors are stored in eight bits: a scale for each row and an integer for each coordinate.
60,000 words of 50 dimensions take 3 MB instead of 12. The rounding (a 254th of a row's largest
coordinate) is far below the distance between any two words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model import checkpoint_files as files
from model.checkpoint_files import CONFIG, METRICS, SHIPPED, SUMS, VOCABULARY, WEIGHTS
from model.config import ModelConfig
from model.errors import CheckpointError
from model.network.phraseclick import PhraseClick
from model.tokenizer import Tokenizer
from model.word_geometry import EXTRA

NETWORK_PREFIX = "network."
VECTORS = "word_vectors"
SCALES = "word_scales"
# Tensors of this many numbers or more are stored in half precision, whose rounding (2^-11) does not
# change masks. Small ones (norms, biases) stay as they are.
HALF_FROM = 1024
HALF_LIMIT = 60_000.0


@dataclass(frozen=True)
class Checkpoint:
    """A model version, checked and read.

    version: "<name>-<first 8 hex digits of the weights' SHA-256>". words and vectors: V words, most
    frequent first, and V,S vectors, without the dimensions that word geometry adds. trained: the
    words that were in training, None where all were.
    """

    version: str
    config: ModelConfig
    state: Mapping[str, Tensor]
    words: tuple[str, ...]
    vectors: NDArray[np.float32]
    trained: frozenset[str] | None
    metrics: Mapping[str, Any]
    path: Path

    def network(self) -> PhraseClick:
        """A new network with these weights. Raises CheckpointError if they do not fit."""
        network = PhraseClick(self.config)
        try:
            network.load_state_dict(dict(self.state))
        except RuntimeError as error:
            raise CheckpointError(
                f"The weights in {self.path} do not fit its configuration: {error}. "
                "The checkpoint was made by another version of this program."
            ) from error
        return network

    def tokenizer(self) -> Tokenizer:
        """The tokenizer with this version's words."""
        return Tokenizer(
            self.words,
            self.vectors,
            trained=self.trained,
            geometry=self.config.word_geometry,
        )


def save(
    directory: Path | str,
    network: PhraseClick,
    words: Sequence[str],
    vectors: NDArray[np.floating],
    metrics: Mapping[str, Any] | None = None,
    *,
    trained: Iterable[str] | None = None,
    name: str | None = None,
    parent: str | None = None,
) -> str:
    """Write a new checkpoint and return its version.

    words and vectors: V words, most frequent first, and V,S vectors, those of a tokenizer; they are
    stored in eight bits. trained: the words that were in training, None for all. metrics: any JSON.
    name: first part of the version, by default the directory's name. parent: the version that
    training started from. The directory appears complete or not at all. Raises CheckpointError if
    it exists, since a version never changes.
    """
    target = Path(directory)
    if target.exists():
        raise CheckpointError(f"{target} exists already; a checkpoint is never overwritten.")
    if len(words) != len(vectors):
        raise CheckpointError(f"{len(words)} words, but {len(vectors)} vectors.")
    tensors = {NETWORK_PREFIX + key: _compact(t) for key, t in network.state_dict().items()}
    values, scales = quantise(vectors)
    tensors[VECTORS], tensors[SCALES] = torch.from_numpy(values), torch.from_numpy(scales)
    weights = save_tensors(tensors)
    version = f"{name or target.name}-{files.sha256(weights)[:8]}"
    about = {"version": version, "parent": parent, "metrics": dict(metrics or {})}
    contents = {
        WEIGHTS: weights,
        CONFIG: _json(network.config.to_dict()),
        VOCABULARY: _vocabulary(words, trained),
        METRICS: _json(about),
    }
    files.write_whole(target, {**contents, SUMS: files.sums_text(contents).encode()})
    return version


def load(source: Path | str = SHIPPED) -> Checkpoint:
    """Check and read a checkpoint; "shipped" is the one that comes with this package.

    Raises CheckpointError with what is wrong: missing, damaged, unreadable, too new.
    """
    path = files.SHIPPED_FOLDER if str(source) == SHIPPED else Path(source)
    data = files.read(path)
    try:
        config = ModelConfig.from_dict(json.loads(data[CONFIG]))
        words, trained = _words(json.loads(data[VOCABULARY]))
        about = json.loads(data[METRICS])
        tensors = {key: _full(t) for key, t in load_tensors(data[WEIGHTS]).items()}
        vectors = tensors.pop(VECTORS).numpy()
        if SCALES in tensors:
            vectors = dequantise(vectors, tensors.pop(SCALES).numpy())
        version = about["version"]
        if not version or not isinstance(version, str):
            raise ValueError(f"its version is {version!r}")
        if not isinstance(about.setdefault("metrics", {}), dict):
            raise ValueError("its metrics are no object")
        unsound = [key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
        if unsound or not np.isfinite(vectors).all():
            raise ValueError(f"values of {', '.join(unsound[:3]) or VECTORS} are not finite")
    except (
        AttributeError, KeyError, RecursionError, SafetensorError, TypeError, ValueError
    ) as error:  # fmt: skip
        raise CheckpointError(f"{path} is not a checkpoint of this program: {error}") from error
    dim = config.word_dim - (EXTRA if config.word_geometry else 0)
    if vectors.shape != (len(words), dim):
        raise CheckpointError(
            f"{path}: {len(words)} words need vectors of length {dim}, but there are "
            f"{vectors.shape}."
        )
    state = {key.removeprefix(NETWORK_PREFIX): tensor for key, tensor in tensors.items()}
    return Checkpoint(version, config, state, words, vectors, trained, about, path)


def _vocabulary(words: Sequence[str], trained: Iterable[str] | None) -> bytes:
    """One word per line, so that two vocabularies can be compared."""
    parts: dict[str, object] = {"words": list(words)}
    if trained is not None:
        parts["trained"] = sorted(trained)
    text = json.dumps(parts, ensure_ascii=False, indent=0, separators=(",", ":"))
    return (text + "\n").encode()


def _words(stored: Any) -> tuple[tuple[str, ...], frozenset[str] | None]:
    """Words and trained words. Older checkpoints have a plain list, all of it trained."""
    trained = None if isinstance(stored, list) else stored.get("trained")
    words = stored if isinstance(stored, list) else stored["words"]
    if not all(isinstance(word, str) for word in (*words, *(trained or ()))):
        raise ValueError("its vocabulary holds something else than words")
    return tuple(words), None if trained is None else frozenset(trained)


def _compact(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous().clone()
    fits = tensor.is_floating_point() and tensor.numel() >= HALF_FROM
    return tensor.half() if fits and bool(tensor.abs().max() < HALF_LIMIT) else tensor


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


_STEPS = 127


def quantise(vectors: NDArray[np.floating]) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """V,D vectors as V,D int8 and V float16 scales, whose product is the vector.

    Vectors that were quantised before do not change.
    """
    exact = np.asarray(vectors, np.float32)
    largest = np.abs(exact).max(1, initial=0.0)
    scales = (largest / _STEPS).astype(np.float16)
    divisors = np.where(scales > 0, scales, 1).astype(np.float32)[:, None]
    rounded = np.clip(np.rint(exact / divisors), -_STEPS, _STEPS)
    return rounded.astype(np.int8), scales


def dequantise(values: NDArray[np.int8], scales: NDArray[np.float16]) -> NDArray[np.float32]:
    """Inverse of `quantise`, float32."""
    return values.astype(np.float32) * scales.astype(np.float32)[:, None]
