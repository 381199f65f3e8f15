"""Rates rise, fall and end as the recipe says; the backbone and the norms have their own."""

import itertools
from dataclasses import replace

import pytest
import torch

from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from training.train.recipe import TrainRecipe
from training.train.schedule import decay, make_optimizer, set_rates

TRAIN = TrainRecipe(steps=100, rate=1e-2, backbone_rate=1e-3, warmup=10, weight_decay=0.1)


@pytest.fixture(scope="module")
def network() -> PhraseClick:
    return PhraseClick(ModelConfig(attributes=("red",), input_size=96, channels=16, word_dim=8))


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
def test_a_schedule_goes_from_one_to_nothing_and_never_up(schedule: str) -> None:
    train = replace(TRAIN, schedule=schedule)
    trajectory = [decay(train, step / 50) for step in range(51)]
    assert trajectory[0] == 1.0
    assert trajectory[-1] == pytest.approx(0.0, abs=1e-12)
    assert all(later < earlier for earlier, later in itertools.pairwise(trajectory))


def test_poly_is_the_power_of_what_is_left_and_cosine_half_way_in_the_middle() -> None:
    assert decay(replace(TRAIN, schedule="poly", power=0.9), 0.25) == pytest.approx(0.75**0.9)
    assert decay(TRAIN, 0.5) == pytest.approx(0.5)


def test_rates_warm_up_and_the_backbone_moves_slowly(network: PhraseClick) -> None:
    optimizer = make_optimizer(network, TRAIN)
    assert set_rates(optimizer, TRAIN, step=4, progress=0.0) == pytest.approx(5e-3)
    rates = sorted({group["lr"] for group in optimizer.param_groups})
    assert rates == pytest.approx([5e-4, 5e-3])
    set_rates(optimizer, TRAIN, step=50, progress=0.5)
    slow = {id(parameter) for parameter in network.backbone.parameters()}
    for group in optimizer.param_groups:
        of_backbone = {id(parameter) in slow for parameter in group["params"]}
        assert of_backbone == {group["lr"] == pytest.approx(5e-4)}
        decayed = {parameter.ndim > 1 for parameter in group["params"]}
        assert decayed == {group["weight_decay"] == 0.1}


def test_sgd_has_momentum(network: PhraseClick) -> None:
    optimizer = make_optimizer(network, replace(TRAIN, optimizer="sgd", momentum=0.8))
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["momentum"] == 0.8


def test_frozen_stages_are_not_in_the_optimizer_and_a_constant_rate_stays() -> None:
    # Given a network whose first stage is frozen
    train = TrainRecipe(schedule="constant", warmup=1)
    network = PhraseClick(ModelConfig(channels=32, word_dim=8))
    network.backbone.stages[0].requires_grad_(False)
    # When its optimizer is made
    optimizer = make_optimizer(network, train)
    # Then it holds what is trained and nothing else, and the rate never falls
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in network.parameters() if p.requires_grad}
    assert set_rates(optimizer, train, 5, 0.0) == set_rates(optimizer, train, 500, 1.0)
