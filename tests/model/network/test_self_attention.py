"""Relations connect places far apart, know where they are, and start by changing nothing."""

import torch
from torch import nn

from model.network.self_attention import Relations


def loud(channels: int = 16, layers: int = 1) -> Relations:
    """Relations that are heard, which new ones are not."""
    torch.manual_seed(0)
    relations = Relations(channels, 5, layers)
    nn.init.normal_(relations.leave.weight)
    return relations


def test_new_relations_change_nothing() -> None:
    x = torch.rand(2, 16, 8, 12)
    assert torch.equal(Relations(16, 5, 2)(x, torch.rand(2, 5)), x)


def test_one_corner_hears_of_the_opposite_one() -> None:
    relations, told = loud(), torch.zeros(1, 5)
    x = torch.rand(1, 16, 16, 16)
    changed = x.clone()
    changed[:, :, -2:, -2:] += 1.0
    with torch.no_grad():
        difference = (relations(changed, told) - relations(x, told))[0, :, 0, 0]
    assert difference.abs().max() > 1e-5


def test_equal_places_are_told_apart_by_where_they_are() -> None:
    with torch.no_grad():
        answer = loud()(torch.ones(1, 16, 8, 8), torch.zeros(1, 5))
    assert (answer[0, :, 2, 1] - answer[0, :, 2, 6]).abs().max() > 1e-3
    assert (answer[0, :, 1, 2] - answer[0, :, 6, 2]).abs().max() > 1e-3


def test_what_is_told_is_heard_everywhere() -> None:
    relations, x = loud(), torch.rand(1, 16, 8, 8)
    with torch.no_grad():
        difference = relations(x, torch.ones(1, 5)) - relations(x, torch.zeros(1, 5))
    assert (difference.abs().amax(1) > 1e-6).all()
