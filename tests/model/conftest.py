"""A small checkpoint with random weights: the machinery is tested, not what it learned."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model import checkpoint
from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from model.predictor import Predictor

WORDS = re.findall(
    "[a-z]+",
    "the dog left red shirt cat person right blue horse man woman on tshirt potted plant glasses "
    "umbrella girl car traffic light board surf surfboard airplane rose child foot dish",
)


@pytest.fixture(scope="session")
def small_config() -> ModelConfig:
    return ModelConfig(
        input_size=96, channels=32, word_dim=8, phrase_dim=4, attributes=("red", "dog", "left")
    )


@pytest.fixture(scope="session")
def small_network(small_config: ModelConfig) -> PhraseClick:
    torch.manual_seed(1)
    return PhraseClick(small_config).eval()


@pytest.fixture(scope="session")
def checkpoint_path(small_network: PhraseClick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "random"
    vectors = np.random.default_rng(2).normal(size=(len(WORDS), 8)).astype(np.float32)
    checkpoint.save(path, small_network, WORDS, vectors, {"iou": 0.5})
    return path


@pytest.fixture
def predictor(checkpoint_path: Path) -> Predictor:
    return Predictor(checkpoint_path, device="cpu")


@pytest.fixture(scope="session")
def pictures() -> list[NDArray[np.uint8]]:
    """Six pictures of different sizes and content."""
    random = np.random.default_rng(3)
    sizes = [(48, 64), (64, 48), (100, 80), (33, 150), (120, 120), (90, 60)]
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
