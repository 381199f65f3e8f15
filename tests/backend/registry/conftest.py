"""Small checkpoints, and a registry with its own database and folder."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.db.engine import Database
from backend.registry.versions import Registry
from backend.settings import Settings
from model import checkpoint
from model.config import ModelConfig
from model.network.phraseclick import PhraseClick

WORDS = ["the", "red", "cat", "dog", "person", "left"]
MakeCheckpoint = Callable[..., Path]
SIX = "6.1795384361"


@pytest.fixture(scope="session")
def network() -> PhraseClick:
    """Random weights; versions differ in their word vectors only."""
    torch.manual_seed(1000)
    config = ModelConfig(
        input_size=96, channels=32, word_dim=8, phrase_dim=4, attributes=("red", "dog")
    )
    return PhraseClick(config).eval()


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory, network: PhraseClick) -> MakeCheckpoint:
    """Saves each version once; tests copy it, since saving is slow."""
    made: dict[str, Path] = {}
    folder = tmp_path_factory.mktemp("saved")

    def save(number: int, name: str, parent: str | None, metrics: dict[str, Any]) -> Path:
        asked = repr((number, name, parent, metrics))
        if asked not in made:
            vectors = np.random.default_rng(number).normal(size=(len(WORDS), 8))
            path = folder / str(len(made))
            checkpoint.save(
                path, network, WORDS, vectors.astype(np.float32), metrics, name=name, parent=parent
            )
            made[asked] = path
        return made[asked]

    return save


@pytest.fixture
def make_checkpoint(tmp_path: Path, saved: MakeCheckpoint) -> MakeCheckpoint:
    """``make_checkpoint(3, parent="x", noc=4.2)``: each number is another version."""

    def make(
        number: int, *, name: str = "tuned", parent: str | None = None, **metrics: Any
    ) -> Path:
        path = tmp_path / "checkpoints" / f"{number}-{name}"
        return Path(shutil.copytree(saved(number, name, parent, metrics), path))

    return make


@pytest.fixture
def settings(tmp_path: Path, make_checkpoint: MakeCheckpoint) -> Settings:
    """With its own base version."""
    base = make_checkpoint(0, name="first")
    return Settings(data=tmp_path / "data", checkpoint=str(base), device="cpu")


@pytest.fixture
def registry(database: Database, settings: Settings) -> Registry:
    """On SQLite and, where slow, on PostgreSQL."""
    return Registry(database, settings)


@pytest.fixture
def here(settings: Settings) -> Iterator[Registry]:
    """On the database of the settings, as commands and servers open it."""
    opened = Registry.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def three(registry: Registry, make_checkpoint: MakeCheckpoint) -> list[str]:
    """Three versions of project 6, each a child of the one before."""
    names: list[str] = []
    for seed in range(3):
        path = make_checkpoint(seed, parent=names[-1] if names else registry.base_name)
        names.append(registry.add(path, project=SIX).name)
    return names
