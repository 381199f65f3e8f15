"""Every place of a picture looks at every other: what "left dog" and "this one of them" need.

A choice, not the paper's. Convolutions compare neighbours, but which of two dogs is the left one,
or which of five people was clicked, is decided by comparing places far apart. A few layers of
self-attention over the feature at stride 32 (some hundred tokens) do that for a millisecond or two.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = 4
# Sines of so many octaves tell a token where it is.
OCTAVES = 3


class Relations(nn.Module):
    """x + what its places make of each other, the phrase, and what else was told."""

    def __init__(self, channels: int, told: int, layers: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels + 4 * OCTAVES, channels, 1)
        self.tell = nn.Linear(told, channels)
        self.layers = nn.ModuleList(_Layer(channels) for _ in range(layers))
        self.leave = nn.Conv2d(channels, channels, 1)
        # At first it changes nothing: training decides how loud it gets.
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """x: B,C,h,w with h and w even. told: B,T, phrase state and conditions, one more token."""
        small = functional.avg_pool2d(x, 2)
        entered = self.enter(torch.cat([small, _waves(small)], 1)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.tell(told)[:, None], entered], 1)
        for layer in self.layers:
            tokens = layer(tokens)
        shaped = tokens[:, 1:].transpose(1, 2).reshape(*small.shape)
        left: Tensor = self.leave(shaped.contiguous(memory_format=torch.channels_last))
        return x + functional.interpolate(
            left, scale_factor=2.0, mode="bilinear", align_corners=False
        )


class _Layer(nn.Module):
    """Self-attention and a small network on each token, norms first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(channels)
        self.ask = nn.Linear(channels, 3 * channels)
        self.join = nn.Linear(channels, channels)
        self.between = nn.LayerNorm(channels)
        self.think = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """B,N,C to B,N,C."""
        batch, count, channels = tokens.shape
        asked = self.ask(self.before(tokens)).view(batch, count, 3, HEADS, channels // HEADS)
        query, key, value = asked.permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.join(seen.transpose(1, 2).reshape(batch, count, channels))
        thought: Tensor = self.think(self.between(tokens))
        return tokens + thought


def _waves(like: Tensor) -> Tensor:
    """B,4*OCTAVES,h,w: sine and cosine of each pixel's place, half a wave a picture and shorter."""
    height, width = like.shape[2:]
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    octaves = math.pi * 2.0 ** torch.arange(OCTAVES, device=like.device, dtype=like.dtype)
    across = (octaves[:, None] * x)[:, None].expand(-1, height, -1)
    down = (octaves[:, None] * y)[:, :, None].expand(-1, -1, width)
    waves = torch.cat([across.sin(), across.cos(), down.sin(), down.cos()])
    return waves.expand(like.shape[0], -1, -1, -1)
