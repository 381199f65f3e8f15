"""Sixteen bits give nearly the same loss; what a device cannot do is refused."""

from pathlib import Path

import pytest
import torch

from training.errors import RecipeError
from training.train.amp import Precision
from training.train.distributed import device_for
from training.train.loop import Run
from training.train.recipe import read_recipe

CPU = torch.device("cpu")


def test_a_cpu_computes_in_full_by_default() -> None:
    assert Precision("auto", CPU).kind == "off"
    with pytest.raises(RecipeError, match="needs a GPU"):
        Precision("fp16", CPU)


def test_a_missing_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_for("auto") == CPU
    with pytest.raises(RecipeError, match="no GPU"):
        device_for("cuda")


def test_bfloat16_learns_about_the_same(recipe_file: Path, tmp_path: Path) -> None:
    # given the same network twice
    text = recipe_file.read_text()
    losses = {}
    for amp in ("off", "bf16"):
        recipe_file.write_text(text.replace("steps = 6", f'steps = 6\namp = "{amp}"'))
        run = Run(read_recipe(recipe_file), tmp_path / amp, tmp_path)
        # when each learns from the same batches
        figures = []
        for step in range(3):
            figures.append(run.learn(run.batches.make(step, 96).to(run.device)))
            run.step += 1
        losses[amp] = [entry["loss"] for entry in figures]
        # then weights stay in full precision
        assert {p.dtype for p in run.network.parameters()} == {torch.float32}
    # and the losses are alike, but not the same
    assert losses["bf16"] == pytest.approx(losses["off"], rel=0.05)
    assert losses["bf16"] != losses["off"]
