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


def loss(run: Run, distillation: Distillation, step: int) -> torch.Tensor:
    batch = run.batches.make(step, 96).to(run.device)
    features = run.network.encode(batch.image)
    return distillation(run.network, features, batch, step)


def test_an_unchanged_network_has_no_loss(run: Run, distillation: Distillation) -> None:
    # given / when
    run.network.eval()
    losses = [float(loss(run, distillation, step).detach()) for step in range(6)]
    # then (weights on disk are halves of floats, so not to the last bit)
    assert max(losses) < 1e-4


def test_a_changed_network_is_pulled_back(run: Run, distillation: Distillation) -> None:
    # given a network that was changed
    run.network.eval()
    with torch.no_grad():
        for parameter in run.network.decoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    before = [float(loss(run, distillation, step).detach()) for step in range(4)]
    assert min(before) > 1e-3
    # when it learns from the base model alone
    optimizer = torch.optim.Adam(run.network.parameters(), 2e-3)
    for step in range(30):
        optimizer.zero_grad()
        loss(run, distillation, step % 4).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    # then its answers come near again
    after = [float(loss(run, distillation, step).detach()) for step in range(4)]
    assert sum(after) < 0.5 * sum(before)


def test_only_every_nth_step_rehearses(run: Run, distillation: Distillation) -> None:
    # given
    distillation.every = 3
    run.network.eval()
    with torch.no_grad():
        for parameter in run.network.decoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    # when
    losses = [float(loss(run, distillation, step).detach()) for step in range(6)]
    # then
    assert [value > 0 for value in losses] == [True, False, False, True, False, False]


def test_the_questions_depend_on_the_step_alone(run: Run, distillation: Distillation) -> None:
    run.network.eval()
    with torch.no_grad():
        next(run.network.decoder.parameters()).add_(1.0)
    first = [float(loss(run, distillation, step).detach()) for step in (1, 2)]
    again = [float(loss(run, distillation, step).detach()) for step in (2, 1)]
    assert first == again[::-1]
    assert first[0] != first[1]
