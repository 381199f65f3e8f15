"""Rates rise, fall and end as the recipe says; the backbone and the norms have their own."""

import copy
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from tests.training.conftest import read_recipe
from training.errors import RecipeError
from training.train.distributed import device_for
from training.train.loop import Run
from training.train.optimization import (
    EMA,
    amp_dtype,
    decay,
    depthwise_in_32_bits,
    make_optimizer,
    set_rates,
)
from training.train.recipe import TrainRecipe

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


CPU = torch.device("cpu")


def test_a_cpu_computes_in_full_by_default() -> None:
    assert amp_dtype("auto", CPU) is None
    with pytest.raises(RecipeError, match="needs a GPU"):
        amp_dtype("fp16", CPU)


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


CONFIG = ModelConfig(attributes=("red",), input_size=96, channels=16, word_dim=8, phrase_dim=8)


def test_an_average_is_the_sum_of_what_was_weighed_by_age() -> None:
    # given
    network = PhraseClick(CONFIG)
    average = EMA(network, PhraseClick(CONFIG), decay=0.5)
    weight, mean = network.phrase.lstm.bias_hh_l0, average.network.phrase.lstm.bias_hh_l0
    assert torch.equal(weight, mean)
    # when the weights move, late enough that the recipe's decay holds
    with torch.no_grad():
        expected = weight.detach().clone()
        for step in range(100, 103):
            weight.add_(1.0)
            expected = 0.5 * expected + 0.5 * weight
            average.update(step)
    # then
    torch.testing.assert_close(mean.detach(), expected)
    assert not mean.requires_grad


@pytest.mark.parametrize(("step", "kept"), [(0, 0.1), (10, 0.55), (10_000, 0.999)])
def test_it_forgets_its_beginnings(step: int, kept: float) -> None:
    network = PhraseClick(CONFIG)
    average = EMA(network, PhraseClick(CONFIG), decay=0.999)
    bias = network.phrase.lstm.bias_hh_l0
    with torch.no_grad():
        before = bias.clone()
        bias.add_(1.0)
    average.update(step)
    mean = average.network.phrase.lstm.bias_hh_l0
    torch.testing.assert_close(mean.detach(), before + (1 - kept), atol=1e-3, rtol=0)


def test_running_statistics_are_averaged_and_their_counts_copied() -> None:
    network = PhraseClick(CONFIG)
    average = EMA(network, PhraseClick(CONFIG), decay=0.0)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    copies = [m for m in average.network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    norms[0].running_mean.fill_(3.0)  # type: ignore[union-attr]
    norms[0].num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    average.update(1000)
    assert copies[0].running_mean.eq(3.0).all()  # type: ignore[union-attr]
    assert copies[0].num_batches_tracked == 7


def test_depthwise_convolutions_compute_in_32_bits(network: PhraseClick) -> None:
    # given a network that was prepared, and one that was not
    plain = copy.deepcopy(network)
    prepared = copy.deepcopy(network)
    depthwise_in_32_bits(prepared)
    image = torch.rand(1, 3, 64, 96)
    # when
    with torch.autocast("cpu", torch.bfloat16):
        expected, features = plain.encode(image), prepared.encode(image)
    features.maps[0].float().sum().backward()
    # then answers differ by rounding, parameters are the same, and all gradients are there
    difference = (features.maps[0].float() - expected.maps[0].float()).abs().mean()
    assert difference < 0.1 * expected.maps[0].float().std()
    assert plain.state_dict().keys() == prepared.state_dict().keys()
    depthwise = [
        module.weight
        for module in prepared.backbone.modules()
        if isinstance(module, torch.nn.Conv2d) and module.groups > 1
    ]
    assert depthwise
    assert all(weight.grad is not None and weight.grad.any() for weight in depthwise)
