"""What a run reports: errors and TensorBoard curves."""

import builtins
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.training.conftest import read_recipe
from training.errors import DivergedError, RecipeError, TooLargeError
from training.train.loop import Run
from training.train.run_folder import (
    BOARD,
    STATE,
    TensorBoardLog,
    out_of_memory_explained,
    read_state,
)

Entry = dict[str, Any]
CPU = "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried"
WINDOWS = "DefaultCPUAllocator: not enough memory: you tried to allocate 1981808640 bytes."


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError(CPU),
        RuntimeError(WINDOWS),
        MemoryError(),
    ],
)
def test_every_sign_of_exhausted_memory_says_what_to_lower(
    tmp_path: Path, error: Exception
) -> None:
    with (
        pytest.raises(
            TooLargeError, match=r"Step 7 \(8 pictures\).*Lower train\.pictures.*No state"
        ),
        out_of_memory_explained(tmp_path, 7, "8 pictures"),
    ):
        raise error


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="shapes"),
        out_of_memory_explained(tmp_path, 7, "8 pictures"),
    ):
        raise RuntimeError("shapes do not match")


@pytest.mark.parametrize("fault", ["memory", "loss", "gradient"])
def test_the_state_before_stays_and_the_run_goes_on_from_it(
    recipe_file: Path, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a run that saved after two steps
    text = recipe_file.read_text().replace("steps = 6", "steps = 6\nsave_minutes = 1000.0")
    recipe_file.write_text(text)
    run = Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)
    weights = dict(run.network.state_dict())

    def report(entry: Entry) -> None:
        if entry["step"] == 2:
            run.save()
            weights.update({k: v.clone() for k, v in run.network.state_dict().items()})
            break_it()

    def break_it() -> None:
        if fault == "memory":
            monkeypatch.setattr(run.network, "encode", no_memory)
        else:
            first = next(run.network.decoder.parameters())
            if fault == "loss":
                with torch.no_grad():
                    first.fill_(math.nan)
            else:
                first.register_hook(lambda gradient: gradient * math.nan)

    def no_memory(image: torch.Tensor) -> None:
        raise RuntimeError(CPU)

    # when
    expected = TooLargeError if fault == "memory" else DivergedError
    with pytest.raises(expected, match=r"[Ss]tep 2.*the same command continues") as raised:
        run.train(report)
    # then it is said which pictures it was
    if fault != "memory":
        assert "picture-" in str(raised.value)
    # and what had been saved is whole
    kept = read_state(tmp_path / "run")
    assert kept is not None
    assert kept["step"] == 2
    assert all(torch.equal(kept["network"][name], weights[name]) for name in weights)
    assert (tmp_path / "run" / STATE).exists()


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
    scalars = curves(tmp_path / "run")
    losses = {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}
    assert scalars["train/loss"] == pytest.approx(losses)
    assert scalars["voc/clicks@1"] == pytest.approx({3: entries[-1]["voc"]["clicks@1"]})


def test_what_a_killed_run_drew_beyond_its_state_is_dropped(tmp_path: Path) -> None:
    # given a run that drew four steps, and was killed when its last state was of the second
    for start, drawn, loss in ((0, (1, 2, 3, 4), 1.0), (2, (3,), 3.0)):
        board = TensorBoardLog(tmp_path, start)
        for step in drawn:
            board.write(step, {"loss": loss})
        board.close()
    # then the curves hold each step once
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
        TensorBoardLog(tmp_path, 0)
