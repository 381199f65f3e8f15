"""Attribute attention and self-attention."""

import math

import pytest
import torch
from torch import nn

from model.network.attention import AttributeAttention, SelfAttention


def test_the_papers_formula_by_hand() -> None:
    # Two channels, one phrase number: every figure can be followed with a pencil.
    attention = AttributeAttention(2, 1)
    with torch.no_grad():
        attention.dense.weight.copy_(torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.25, -1.0]]))
        attention.dense.bias.copy_(torch.tensor([0.1, -0.2]))
        attention.beta.fill_(0.5)
    feature = torch.tensor([[[[1.0, 3.0]], [[4.0, 0.0]]]])  # averages 2 and 2

    out = attention(feature, torch.tensor([[0.3]]), torch.tensor([True]))

    a0 = math.tanh(0.5 * 2 - 1.0 * 2 + 2.0 * 0.3 + 0.1)
    a1 = math.tanh(0.25 * 2 - 1.0 * 0.3 - 0.2)
    expected = [1 + 0.5 * a0 * 1, 3 + 0.5 * a0 * 3, 4 + 0.5 * a1 * 4, 0.0]
    assert out[0, :, 0].flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_without_a_phrase_the_feature_is_untouched() -> None:
    torch.manual_seed(0)
    attention = AttributeAttention(8, 6)
    feature = torch.randn(2, 8, 3, 5)
    phrase = torch.randn(2, 6)

    out = attention(feature, phrase, torch.tensor([False, True]))

    assert torch.equal(out[0], feature[0])
    assert not torch.equal(out[1], feature[1])


def test_weights_stay_within_one() -> None:
    attention = AttributeAttention(4, 2)

    a = attention.weights(torch.full((1, 4), 1e4), torch.full((1, 2), -1e4), torch.tensor([True]))

    assert bool((a.abs() <= 1).all())


def test_beta_learns() -> None:
    attention = AttributeAttention(4, 2)
    out = attention(torch.randn(1, 4, 2, 2), torch.randn(1, 2), torch.tensor([True]))

    out.sum().backward()

    assert attention.beta.grad is not None
    assert float(attention.beta.grad) != 0


def trained(channels: int = 16, layers: int = 1) -> SelfAttention:
    """A module whose output projection is not zero, as after training."""
    torch.manual_seed(0)
    module = SelfAttention(channels, 5, layers)
    nn.init.normal_(module.project_out.weight)
    return module


def test_a_new_module_changes_nothing() -> None:
    x = torch.rand(2, 16, 8, 12)
    assert torch.equal(SelfAttention(16, 5, 2)(x, torch.rand(2, 5)), x)


def test_one_corner_attends_to_the_opposite_one() -> None:
    module, state = trained(), torch.zeros(1, 5)
    x = torch.rand(1, 16, 16, 16)
    changed = x.clone()
    changed[:, :, -2:, -2:] += 1.0
    with torch.no_grad():
        difference = (module(changed, state) - module(x, state))[0, :, 0, 0]
    assert difference.abs().max() > 1e-5


def test_equal_places_differ_by_their_position() -> None:
    with torch.no_grad():
        answer = trained()(torch.ones(1, 16, 8, 8), torch.zeros(1, 5))
    assert (answer[0, :, 2, 1] - answer[0, :, 2, 6]).abs().max() > 1e-3
    assert (answer[0, :, 1, 2] - answer[0, :, 6, 2]).abs().max() > 1e-3


def test_the_prompt_state_reaches_every_place() -> None:
    module, x = trained(), torch.rand(1, 16, 8, 8)
    with torch.no_grad():
        difference = module(x, torch.ones(1, 5)) - module(x, torch.zeros(1, 5))
    assert (difference.abs().amax(1) > 1e-6).all()
