"""The exponential moving average of the weights: what is validated, exported and served."""

from __future__ import annotations

import torch

from model.network.phraseclick import PhraseClick


class Average:
    """A copy of a network that follows it: quickly at first, then slowly."""

    def __init__(self, network: PhraseClick, copy: PhraseClick, decay: float) -> None:
        """copy: a network of the same shape, which becomes the average."""
        self.network = copy.requires_grad_(False).eval()
        self._decay = decay
        live, mean = network.state_dict(), self.network.state_dict()
        # Tensors stay where they are while their numbers change, so they are looked up once.
        pairs = [(mean[name], live[name]) for name in mean]
        self._moving = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counting = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._set(1.0)

    def follow(self, step: int) -> None:
        """Move towards the network as it is after this step."""
        self._set(1.0 - min(self._decay, (1.0 + step) / (10.0 + step)))

    @torch.no_grad()
    def _set(self, share: float) -> None:
        means, lives = zip(*self._moving, strict=True)
        torch._foreach_lerp_(list(means), list(lives), share)
        for mean, live in self._counting:
            mean.copy_(live)
