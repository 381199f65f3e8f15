"""Untrained versions: scoring is real, the scores themselves mean nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from model import checkpoint
from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from tests.backend.conftest import WORDS


def make_version(folder: Path, number: int) -> Path:
    """A small checkpoint, a different one for each number."""
    torch.manual_seed(number)
    config = ModelConfig(input_size=64, channels=16, word_dim=8, phrase_dim=4, attributes=("red",))
    vectors = np.random.default_rng(number).normal(size=(len(WORDS), 8)).astype(np.float32)
    path = folder / f"version-{number}"
    checkpoint.save(path, PhraseClick(config).eval(), WORDS, vectors, name=f"v{number}")
    return path
