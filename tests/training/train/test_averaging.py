"""Checkpoints' weights are averaged into a new checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoint as checkpoints
from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from training.errors import TrainingError
from training.train.averaging import write_average

WORDS = ("cat", "dog")
VECTORS = np.eye(2, 8, dtype=np.float32)
SMALL = ModelConfig(input_size=64, word_dim=8, word_geometry=False)


def write(folder: Path, value: float, trained: set[str], words: tuple[str, ...] = WORDS) -> Path:
    """A checkpoint whose weights all have this value."""
    network = PhraseClick(SMALL)
    state = network.state_dict()
    filled = {k: torch.full_like(t, value) for k, t in state.items() if t.is_floating_point()}
    network.load_state_dict({**state, **filled})
    checkpoints.save(folder, network, words, VECTORS, trained=trained, name="small")
    return folder


@pytest.mark.parametrize(("shares", "value"), [((), 2.0), ((1, 3), 2.5), ((2, 0), 1.0)])
def test_every_weight_is_the_average(tmp_path: Path, shares: tuple[int, ...], value: float) -> None:
    # given
    parts = [write(tmp_path / "one", 1.0, {"cat"}), write(tmp_path / "two", 3.0, {"dog"})]
    # when
    version = write_average(parts, tmp_path / "average", shares)
    # then
    average = checkpoints.load(tmp_path / "average")
    weights = [t for t in average.state.values() if t.is_floating_point()]
    assert all(bool((t == value).all()) for t in weights)
    assert average.trained == frozenset({"cat", "dog"})
    assert (average.version, average.metrics["parent"]) == (
        version,
        checkpoints.load(parts[0]).version,
    )
    assert sum(average.metrics["metrics"]["averaged"].values()) == 1.0
    assert (average.vectors == checkpoints.load(parts[0]).vectors).all()


def test_an_average_has_learned_what_all_teams_parts_have(tmp_path: Path) -> None:
    # given a base and two versions of teams
    labels = [None, {"cat": 20, "dog": 9}, {"cat": 7}]
    network = PhraseClick(SMALL)
    for number, of_team in enumerate(labels):
        metrics = {} if of_team is None else {"labels": of_team}
        checkpoints.save(tmp_path / f"{number}", network, WORDS, VECTORS, metrics, name="small")
    # when
    write_average([tmp_path / f"{number}" for number in range(3)], tmp_path / "average")
    # then
    average = checkpoints.load(tmp_path / "average")
    assert average.metrics["metrics"]["labels"] == {"cat": 7, "dog": 0}


def test_other_words_do_not_fit(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / "one", 1.0, {"cat"}),
        write(tmp_path / "two", 1.0, set(), ("cat", "cow")),
    ]
    with pytest.raises(TrainingError, match="different configurations or words"):
        write_average(parts, tmp_path / "average")


def test_each_checkpoint_has_its_share(tmp_path: Path) -> None:
    parts = [write(tmp_path / "one", 1.0, {"cat"})]
    with pytest.raises(TrainingError, match="1 checkpoints need 1 shares"):
        write_average(parts, tmp_path / "average", [1.0, 2.0])
