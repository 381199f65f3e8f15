"""The image encoder of the late form: a light feature pyramid over the backbone.

It runs once for a picture and once for each crop; prompts only use its result. The design is a
*choice*, made for two CPU cores.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.network.blocks import ConvNorm, Residual, Separable, stacked


class ImageFeatures(NamedTuple):
    """An encoded picture: B,C,h,w features at strides 16 to 2, pixel embeddings, phrase keys."""

    p16: Tensor
    p8: Tensor
    p4: Tensor
    p2: Tensor
    embedding: Tensor  # at stride 8, unit length
    phrase_key16: Tensor
    phrase_key8: Tensor  # without channels if the network has no fine phrase queries


class Widths(NamedTuple):
    """Channels at strides 16, 8, 4 and 2."""

    c16: int
    c8: int
    c4: int
    c2: int

    @classmethod
    def of(cls, config: ModelConfig) -> Widths:
        """The configured widths; those it does not name are half of the coarser stride's."""
        channels = config.channels
        return cls(
            channels,
            channels // 2,
            config.channels4 or channels // 4,
            config.channels2 or channels // 8,
        )


class Context(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabv3) with depthwise convolutions. *choice*"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.reduce = ConvNorm(channels, half)
        self.near = ConvNorm(half, half, 3, groups=half)
        self.middle = ConvNorm(half, half, 3, dilation=3, groups=half)
        self.far = ConvNorm(half, half, 3, dilation=6, groups=half)
        # No norm after the pooled branch: its batch is a handful of vectors.
        self.pooled = nn.Conv2d(channels, channels, 1)
        self.project = ConvNorm(4 * half, channels, active=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        reduced = self.reduce(x)
        scales = [reduced, self.near(reduced), self.middle(reduced), self.far(reduced)]
        pooled = self.pooled(x.mean((2, 3), keepdim=True))
        projected: Tensor = self.project(stacked(scales)) + pooled + x
        return projected.relu_()


class ImageEncoder(nn.Module):
    """From backbone features to ``ImageFeatures``."""

    def __init__(self, config: ModelConfig, taps: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        c16, c8, c4, c2 = Widths.of(config)
        self.lateral32 = ConvNorm(taps[4], c16)
        self.context = Context(c16)
        self.lateral16 = ConvNorm(taps[3], c16, active=False)
        self.smooth16 = Residual(Separable(c16, c16, 5, active=False))
        self.down16 = ConvNorm(c16, c8, active=False)
        self.lateral8 = ConvNorm(taps[2], c8, active=False)
        self.smooth8 = Residual(Separable(c8, c8, 5, active=False))
        self.down8 = ConvNorm(c8, c4, active=False)
        self.lateral4 = ConvNorm(taps[1], c4, active=False)
        self.smooth4 = Residual(Separable(c4, c4, active=False))
        self.lateral2 = ConvNorm(taps[0], c2, active=False)
        self.embed = nn.Conv2d(c8, config.embedding_dim, 1)
        # Two channels say where in the picture a pixel is, for phrases such as "left dog".
        self.phrase_key16 = nn.Conv2d(c16 + 2, config.embedding_dim, 1)
        self.phrase_key8 = (
            nn.Conv2d(c8 + 2, config.embedding_dim, 1) if config.fine_phrase_queries else None
        )

    def forward(self, taps: tuple[Tensor, ...]) -> ImageFeatures:
        """taps: the backbone's five features B,C,h,w, strides 2 to 32."""
        f2, f4, f8, f16, f32 = taps
        x = self.context(self.lateral32(f32))
        p16 = self.smooth16((self.lateral16(f16) + upsample2(x)).relu_())
        p8 = self.smooth8((self.lateral8(f8) + upsample2(self.down16(p16))).relu_())
        p4 = self.smooth4((self.lateral4(f4) + upsample2(self.down8(p8))).relu_())
        key16 = self.phrase_key16(stacked([p16, coordinates(p16)]))
        embedding = functional.normalize(self.embed(p8), dim=1)
        key8 = p8[:, :0]
        if self.phrase_key8 is not None:
            key8 = self.phrase_key8(stacked([p8, coordinates(p8)]))
        return ImageFeatures(p16, p8, p4, self.lateral2(f2), embedding, key16, key8)


def coordinates(like: Tensor) -> Tensor:
    """B,2,h,w: x and y of each pixel's centre, -1 to 1 across the picture."""
    batch, _, height, width = like.shape
    x = (torch.arange(width, device=like.device, dtype=like.dtype) * 2 + 1) / width - 1
    y = (torch.arange(height, device=like.device, dtype=like.dtype) * 2 + 1) / height - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)]).expand(
        batch, 2, height, width
    )


def upsample2(x: Tensor) -> Tensor:
    """B,C,2h,2w, bilinear."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
