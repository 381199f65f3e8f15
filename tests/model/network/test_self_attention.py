"""Self-attention connects distant places, knows their positions, and starts by changing nothing."""

import torch
from torch import nn

from model.network.self_attention import SelfAttention


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
