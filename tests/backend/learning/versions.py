"""Untrained versions: scoring is real, the scores themselves mean nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from model import checkpoint
from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from tests.backend.conftest import WORDS


def make_version(folder: Path, number: int, labels: Mapping[str, int] | None = None) -> Path:
    """A small checkpoint, a different one for each number. labels: that it has learned."""
    torch.manual_seed(number)
    config = ModelConfig(input_size=64, channels=16, word_dim=8, phrase_dim=4, attributes=("red",))
    vectors = np.random.default_rng(number).normal(size=(len(WORDS), 8)).astype(np.float32)
    path = folder / f"version-{number}"
    metrics = {"labels": labels} if labels else {}
    checkpoint.save(path, PhraseClick(config).eval(), WORDS, vectors, metrics, name=f"v{number}")
    return path
