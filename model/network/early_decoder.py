"""The decoder of the paper's form, in which clicks are input channels and every click runs it all.

Paper: a 5-channel input (picture, positive and negative distance maps), a CNN, attribute attention
on its output. *Choice*: DeepLabv3+ (ASPP and a decoder with one skip) on a torchvision network,
with attention after ASPP.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.network.attention import AttributeAttention
from model.network.blocks import ConvNorm

LOW_LEVEL_CHANNELS = 48  # as in DeepLabv3+
RATES = {16: (6, 12, 18), 32: (3, 6, 9)}  # by output stride; the same reach in pixels


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling of DeepLabv3, with the picture's average as one branch."""

    def __init__(self, inputs: int, channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [ConvNorm(inputs, channels)]
            + [ConvNorm(inputs, channels, 3, dilation=rate) for rate in rates]
        )
        # No norm after pooling, so that a batch of one picture can be trained on.
        self.whole = nn.Conv2d(inputs, channels, 1)
        self.join = ConvNorm((len(rates) + 2) * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """B,channels,h,w."""
        seen = [branch(x) for branch in self.branches]
        whole = self.whole(x.mean((2, 3), keepdim=True)).relu_()
        joined: Tensor = self.join(torch.cat([*seen, whole.expand_as(seen[0])], 1))
        return joined


class EarlyDecoder(nn.Module):
    """ASPP, attribute attention, attribute head, and DeepLabv3+'s decoder at stride 4."""

    def __init__(
        self, config: ModelConfig, taps: tuple[int, int, int, int, int], phrase_dim: int
    ) -> None:
        super().__init__()
        channels = config.channels
        self.aspp = ASPP(taps[4], channels, RATES[config.output_stride])
        self.attend = AttributeAttention(channels, phrase_dim)
        self.attribute_head = nn.Linear(channels, len(config.attributes))
        self.low = ConvNorm(taps[1], LOW_LEVEL_CHANNELS)
        self.first = ConvNorm(channels + LOW_LEVEL_CHANNELS, channels, 3)
        self.second = ConvNorm(channels, channels, 3)
        self.mask = nn.Conv2d(channels, 1, 1)

    def forward(
        self, taps: tuple[Tensor, ...], phrase: Tensor, has_phrase: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mask logits B,1,H/4,W/4 and attribute logits B,A."""
        low = self.low(taps[1])
        x = self.attend(self.aspp(taps[4]), phrase, has_phrase)
        attributes = self.attribute_head(x.mean((2, 3)))
        size = (low.shape[2], low.shape[3])
        x = functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
        x = self.second(self.first(torch.cat([x, low], 1)))
        return self.mask(x), attributes
