"""The paper's attribute attention over channels, and self-attention over places.

Self-attention is a *choice*, not the paper's. Convolutions compare neighbours, but which of two
dogs is the left one, or which of five people was clicked, is decided by comparing distant places. A
few layers over the feature at stride 32 (about a hundred tokens) do this in a millisecond or two.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.network.blocks import stacked


class AttributeAttention(nn.Module):
    """F' = F + beta * (a * F) with a = tanh(dense([average pool of F; phrase state])).

    The formula is the paper's; its beta starts at 1 (*choice*). Without a phrase, a case that the
    paper does not have, a is 0 and F' equals F exactly (*choice*).
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


HEADS = 4
# Octaves of the sine waves that give a token its position.
OCTAVES = 3


class SelfAttention(nn.Module):
    """x + self-attention over its places and one token of phrase state and conditions."""

    def __init__(self, channels: int, state: int, layers: int) -> None:
        super().__init__()
        self.project_in = nn.Conv2d(channels + 4 * OCTAVES, channels, 1)
        self.condition = nn.Linear(state, channels)
        self.layers = nn.ModuleList(_Layer(channels) for _ in range(layers))
        self.project_out = nn.Conv2d(channels, channels, 1)
        # It starts without effect; training decides how strong it gets.
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """B,C,h,w. x: B,C,h,w with even h and w. state: B,T, phrase state and conditions."""
        small = functional.avg_pool2d(x, 2)
        projected = self.project_in(stacked([small, _waves(small)])).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.condition(state)[:, None], projected], 1)
        for layer in self.layers:
            tokens = layer(tokens)
        grid = tokens[:, 1:].transpose(1, 2).reshape(*small.shape)
        change: Tensor = self.project_out(grid.contiguous(memory_format=torch.channels_last))
        return x + functional.interpolate(
            change, scale_factor=2.0, mode="bilinear", align_corners=False
        )


class _Layer(nn.Module):
    """Self-attention and a small network on each token, norms first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """B,N,C to B,N,C."""
        batch, count, channels = tokens.shape
        qkv = self.qkv(self.norm1(tokens)).view(batch, count, 3, HEADS, channels // HEADS)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.project(attended.transpose(1, 2).reshape(batch, count, channels))
        update: Tensor = self.mlp(self.norm2(tokens))
        return tokens + update


def _waves(like: Tensor) -> Tensor:
    """B,4*OCTAVES,h,w: sine and cosine of each pixel's place; the longest is half a wave."""
    height, width = like.shape[2:]
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    octaves = math.pi * 2.0 ** torch.arange(OCTAVES, device=like.device, dtype=like.dtype)
    across = (octaves[:, None] * x)[:, None].expand(-1, height, -1)
    down = (octaves[:, None] * y)[:, :, None].expand(-1, -1, width)
    waves = torch.cat([across.sin(), across.cos(), down.sin(), down.cos()])
    return waves.expand(like.shape[0], -1, -1, -1)
