"""A larger network that starts as a smaller one that has been trained.

Where a tensor has grown, the old numbers fill its leading part: new inputs start without influence,
new outputs as in a new network.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.errors import RecipeError


@torch.no_grad()
def grow_from(network: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Fill the network in place; returns the names of tensors that ``state`` does not have.

    Raises RecipeError where a tensor of the smaller network is larger, or has no place.
    """
    held = network.state_dict()
    lost = sorted(set(state) - set(held))
    if lost:
        raise RecipeError(f"The network to start from has {lost[0]}, which the new one lacks.")
    for name, old in state.items():
        new = held[name]
        if new.ndim != old.ndim or any(n < o for n, o in zip(new.shape, old.shape, strict=True)):
            raise RecipeError(
                f"{name} is {tuple(old.shape)} in the network to start from and cannot become "
                f"{tuple(new.shape)}: a network may only grow."
            )
        if new.ndim > 1 and new.shape[1] > old.shape[1]:
            new[: old.shape[0], old.shape[1] :] = 0.0
        new[tuple(slice(size) for size in old.shape)] = old
    return sorted(set(held) - set(state))
