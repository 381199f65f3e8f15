"""The exponential moving average of the weights: what is validated, exported and served."""

from __future__ import annotations

import torch

from model.network import PhraseClick


class Average:
    """A copy of a network that follows it: slowly, but quickly at first, when it knows nothing."""

    def __init__(self, network: PhraseClick, copy: PhraseClick, decay: float) -> None:
        """copy: a network of the same shape, which becomes the average."""
        self.network = copy.requires_grad_(False).eval()
        self.network.load_state_dict(network.state_dict())
        self._decay = decay

    @torch.no_grad()
    def follow(self, network: PhraseClick, step: int) -> None:
        """Move towards the network as it is after so many steps."""
        decay = min(self._decay, (1.0 + step) / (10.0 + step))
        live, mean = network.state_dict(), self.network.state_dict()
        moving = [name for name, tensor in mean.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([mean[n] for n in moving], [live[n] for n in moving], 1.0 - decay)
        for name in set(mean) - set(moving):
            mean[name].copy_(live[name])
