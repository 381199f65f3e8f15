"""Beside a team's labels the network rehearses the base model's answers."""

from pathlib import Path

import pytest
import torch

from model import checkpoint
from tests.training.conftest import read_recipe
from training.finetune.distillation import Distillation
from training.train.loop import Run


@pytest.fixture
def run(recipe_file: Path, tmp_path: Path) -> Run:
    torch.set_num_threads(1)
    return Run(read_recipe(recipe_file), tmp_path / "run", tmp_path)


@pytest.fixture
def distillation(run: Run, tmp_path: Path) -> Distillation:
    run.save()
    base = checkpoint.load(tmp_path / "run" / "latest")
    return Distillation(base, run.tokenizer, run.device)


def changed(run: Run) -> Run:
    """The run with another decoder."""
    run.network.eval()
    with torch.no_grad():
        for parameter in run.network.decoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return run


def losses(run: Run, distillation: Distillation, *steps: int) -> list[float]:
    return [float(loss(run, distillation, step).detach()) for step in steps]


def loss(run: Run, distillation: Distillation, step: int) -> torch.Tensor:
    batch = run.batches.make(step, 96).to(run.device)
    features = run.network.encode(batch.image)
    return distillation(run.network, features, batch, step)


def test_an_unchanged_network_has_no_loss(run: Run, distillation: Distillation) -> None:
    run.network.eval()
    # (weights on disk are halves of floats, so not to the last bit)
    assert max(losses(run, distillation, *range(6))) < 1e-4


def test_a_changed_network_is_pulled_back(run: Run, distillation: Distillation) -> None:
    # given a network that was changed
    before = losses(changed(run), distillation, *range(4))
    assert min(before) > 1e-3
    # when it learns from the base model alone
    optimizer = torch.optim.Adam(run.network.parameters(), 2e-3)
    for step in range(30):
        optimizer.zero_grad()
        loss(run, distillation, step % 4).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    # then its answers come near again
    assert sum(losses(run, distillation, *range(4))) < 0.5 * sum(before)


def test_only_every_nth_step_rehearses(run: Run, distillation: Distillation) -> None:
    distillation.every = 3
    rehearsed = [value > 0 for value in losses(changed(run), distillation, *range(6))]
    assert rehearsed == [True, False, False, True, False, False]


def test_the_questions_depend_on_the_step_alone(run: Run, distillation: Distillation) -> None:
    first = losses(changed(run), distillation, 1, 2)
    assert losses(run, distillation, 2, 1) == first[::-1]
    assert first[0] != first[1]
