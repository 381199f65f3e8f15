"""Small checkpoints to register, and a registry over a database and a folder of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.database import Database
from backend.registry.registry import Registry
from backend.registry.storage import open_store
from backend.settings import Settings
from model import checkpoint
from model.config import ModelConfig
from model.network import PhraseClick

WORDS = ["the", "red", "cat", "dog", "person", "left"]
MakeCheckpoint = Callable[..., Path]


@pytest.fixture(scope="session")
def network() -> PhraseClick:
    """It learned nothing; versions differ in their word vectors alone."""
    torch.manual_seed(1000)
    config = ModelConfig(
        input_size=96, channels=32, word_dim=8, phrase_dim=4, attributes=("red", "dog")
    )
    return PhraseClick(config).eval()


@pytest.fixture
def make_checkpoint(tmp_path: Path, network: PhraseClick) -> MakeCheckpoint:
    """``make_checkpoint(3, parent="x", noc=4.2)``: a version of its own for each number."""

    def make(
        number: int, *, name: str = "tuned", parent: str | None = None, **metrics: Any
    ) -> Path:
        vectors = np.random.default_rng(number).normal(size=(len(WORDS), 8)).astype(np.float32)
        path = tmp_path / "checkpoints" / f"{number}-{name}"
        checkpoint.save(path, network, WORDS, vectors, metrics, name=name, parent=parent)
        return path

    return make


@pytest.fixture
def settings(tmp_path: Path, make_checkpoint: MakeCheckpoint) -> Settings:
    """With a base of its own."""
    base = make_checkpoint(0, name="first")
    return Settings(data=tmp_path / "data", checkpoint=str(base), device="cpu")


@pytest.fixture
def registry(database: Database, settings: Settings) -> Registry:
    """On SQLite and, where slow, on PostgreSQL."""
    return Registry(database, open_store(settings), settings)
