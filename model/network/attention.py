"""Attribute attention, the paper's way of letting a phrase weigh the channels of a feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttributeAttention(nn.Module):
    """F' = F + beta * (a * F) with a = tanh(dense([average pool of F; phrase state])).

    The formula is the paper's; that beta starts at 1 is a choice. Without a phrase a is 0, so
    that F' is F to the bit (choice: the paper always has a phrase where it attends).
    """

    def __init__(self, channels: int, phrase_dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(channels + phrase_dim, channels)
        self.beta = nn.Parameter(torch.ones(()))

    def weights(self, pooled: Tensor, phrase: Tensor, has_phrase: Tensor) -> Tensor:
        """a: B,C in [-1, 1]; exactly 0 in rows without a phrase.

        pooled: B,C, the average of F over the picture. phrase: B,P. has_phrase: B bool.
        """
        a = torch.tanh(self.dense(torch.cat([pooled, phrase], 1)))
        return a * has_phrase[:, None].to(a.dtype)

    def forward(self, feature: Tensor, phrase: Tensor, has_phrase: Tensor) -> Tensor:
        """F': B,C,H,W of F: B,C,H,W."""
        a = self.weights(feature.mean((2, 3)), phrase, has_phrase)
        # F + beta * (a * F) written as one product: one pass over the feature instead of three.
        return feature * (1.0 + self.beta * a)[:, :, None, None]
