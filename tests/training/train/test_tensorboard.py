"""Curves for TensorBoard say what the log says, and start anew where a run does."""

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.errors import RecipeError
from training.train.loop import Run
from training.train.recipe import read_recipe
from training.train.tensorboard import BOARD, Board

Entry = dict[str, Any]


def curves(folder: Path) -> dict[str, dict[int, float]]:
    events = EventAccumulator(str(folder / BOARD))
    events.Reload()
    return {
        tag: {event.step: event.value for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
    }


def test_a_run_draws_its_losses_and_what_validation_finds(
    recipe_file: Path, tmp_path: Path
) -> None:
    # given
    torch.set_num_threads(1)
    text = recipe_file.read_text().replace("steps = 6", "steps = 3\ntensorboard = true")
    recipe_file.write_text(text)
    entries: list[Entry] = []
    # when
    Run(read_recipe(recipe_file), tmp_path / "run", tmp_path).train(entries.append)
    # then
    found = curves(tmp_path / "run")
    losses = {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}
    assert found["train/loss"] == pytest.approx(losses)
    assert found["voc/clicks@1"] == pytest.approx({3: entries[-1]["voc"]["clicks@1"]})


def test_what_a_killed_run_drew_beyond_its_state_is_dropped(tmp_path: Path) -> None:
    # given a run that drew four steps, and was killed when its last state was of the second
    for start, drawn, loss in ((0, (1, 2, 3, 4), 1.0), (2, (3,), 3.0)):
        board = Board(tmp_path, start)
        for step in drawn:
            board.write(step, {"loss": loss})
        board.close()
    # then what is shown is what it did until then, and what it did anew
    assert curves(tmp_path)["train/loss"] == {1: 1.0, 2: 1.0, 3: 3.0}


def test_without_the_package_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a machine without tensorboard
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(RecipeError, match=r"pip install 'phraseclick-label-studio\[tensorboard\]'"):
        Board(tmp_path, 0)
