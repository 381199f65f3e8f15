"""A model version on disk: a directory that is written once and never changes.

``weights.safetensors`` holds the network and the word vectors, ``config.json`` the network's
shape, ``vocabulary.json`` the words in the order of their vectors, ``metrics.json`` what was
measured and where it came from. ``SHA256SUMS`` (in the format of sha256sum) names them all, and
each is checked before it is used. Nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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

NETWORK_PREFIX = "network."
VECTORS = "word_vectors"
# Stored in half precision: its rounding (2^-11) is far below what moves a mask. Small tensors
# (norms, biases) stay as they are, they weigh nothing.
HALF_FROM = 1024
HALF_LIMIT = 60_000.0


@dataclass(frozen=True)
class Checkpoint:
    """A model version, checked and read.

    version: "<name>-<first 8 hex digits of the weights' SHA-256>".
    """

    version: str
    config: ModelConfig
    state: Mapping[str, Tensor]
    words: tuple[str, ...]
    vectors: NDArray[np.float32]
    metrics: Mapping[str, Any]
    path: Path

    def network(self) -> PhraseClick:
        """A new network with these weights. Raises CheckpointError where they do not fit."""
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
        return Tokenizer(self.words, self.vectors)


def save(
    directory: Path | str,
    network: PhraseClick,
    words: Sequence[str],
    vectors: NDArray[np.floating],
    metrics: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    parent: str | None = None,
) -> str:
    """Write a new checkpoint and return its version.

    words and vectors: V words, most frequent first, and V,D vectors. metrics: any JSON, kept as it
    is. name: first part of the version, by default the directory's name. parent: the version
    that training started from. The directory appears whole or not at all. Raises CheckpointError
    where it exists already, since a version never changes.
    """
    target = Path(directory)
    if target.exists():
        raise CheckpointError(f"{target} exists already; a checkpoint is never overwritten.")
    if len(words) != len(vectors):
        raise CheckpointError(f"{len(words)} words, but {len(vectors)} vectors.")
    tensors = {NETWORK_PREFIX + key: _compact(t) for key, t in network.state_dict().items()}
    tensors[VECTORS] = _compact(torch.from_numpy(np.array(vectors, np.float32)))
    weights = save_tensors(tensors)
    version = f"{name or target.name}-{files.sha256(weights)[:8]}"
    about = {"version": version, "parent": parent, "metrics": dict(metrics or {})}
    contents = {
        WEIGHTS: weights,
        CONFIG: _json(network.config.to_dict()),
        VOCABULARY: _json(list(words)),
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
        words = tuple(json.loads(data[VOCABULARY]))
        about = json.loads(data[METRICS])
        tensors = {key: _full(t) for key, t in load_tensors(data[WEIGHTS]).items()}
        vectors = tensors.pop(VECTORS).numpy()
        version = str(about["version"])
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this program: {error}") from error
    if vectors.shape != (len(words), config.word_dim):
        raise CheckpointError(
            f"{path}: {len(words)} words need vectors of length {config.word_dim}, "
            f"but there are {vectors.shape}."
        )
    state = {key.removeprefix(NETWORK_PREFIX): tensor for key, tensor in tensors.items()}
    return Checkpoint(version, config, state, words, vectors, about, path)


def _compact(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous().clone()
    fits = tensor.is_floating_point() and tensor.numel() >= HALF_FROM
    return tensor.half() if fits and bool(tensor.abs().max() < HALF_LIMIT) else tensor


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
