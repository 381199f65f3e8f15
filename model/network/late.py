"""The served form: the picture is encoded once, clicks, phrase and previous mask enter late.

Everything here but the attribute attention is a *choice* of this project, made for two CPU cores:
a click costs only ``LateDecoder``. The encoder is a light feature pyramid over the backbone. The
decoder works at strides 16, 8, 4 and 2, told at each of the first three where the clicks are
(distances and disks, computed from their coordinates) and what the mask was; at 16 and 8 also how
like each pixel is to the clicked ones, and how well it answers the phrase; at 32 all places look at
each other.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.network.attention import AttributeAttention
from model.network.blocks import ConvNorm, Residual, Separable
from model.network.click_maps import ClickBatch, disk_maps, nearest_distance
from model.network.self_attention import Relations

# Distances at two scales: near the border of an object a step of 20 px matters, across the picture
# one of 200 does.
NEAR = 40.0
CLICK_CHANNELS = 6
CONDITIONS = 4
ALIKE = 2


class LateFeatures(NamedTuple):
    """What is kept of a picture: the pyramid, each pixel's embedding, and its answer to phrases."""

    p16: Tensor
    p8: Tensor
    p4: Tensor
    p2: Tensor
    embedding: Tensor  # at stride 8, unit length
    phrase_key: Tensor  # at stride 16
    fine_key: Tensor  # at stride 8; no channels where the network has none


class Prompts(NamedTuple):
    """Clicks, phrase and previous mask of B prompts, as the decoder wants them."""

    clicks: ClickBatch
    phrase: Tensor  # B,P
    has_phrase: Tensor  # B bool
    previous: Tensor | None  # B,1,H,W at the network's input size
    picture_index: Tensor | None  # B, which picture a prompt is about


class Context(nn.Module):
    """ASPP with depthwise convolutions: the same feature seen near, far, and as a whole."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.narrow = ConvNorm(channels, half)
        self.near = ConvNorm(half, half, 3, groups=half)
        self.middle = ConvNorm(half, half, 3, dilation=3, groups=half)
        self.far = ConvNorm(half, half, 3, dilation=6, groups=half)
        # No norm after the pooled branch: its batch is a handful of vectors.
        self.whole = nn.Conv2d(channels, channels, 1)
        self.join = ConvNorm(4 * half, channels, active=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        narrow = self.narrow(x)
        seen = torch.cat([narrow, self.near(narrow), self.middle(narrow), self.far(narrow)], 1)
        joined: Tensor = self.join(seen) + self.whole(x.mean((2, 3), keepdim=True)) + x
        return joined.relu_()


class LateEncoder(nn.Module):
    """Backbone features to ``LateFeatures``."""

    def __init__(self, config: ModelConfig, taps: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        c16, c8, c4, c2 = _widths(config)
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
        self.phrase_key = nn.Conv2d(c16 + 2, config.embedding_dim, 1)
        self.fine_key = (
            nn.Conv2d(c8 + 2, config.embedding_dim, 1) if config.fine_phrase_queries else None
        )

    def forward(self, taps: tuple[Tensor, ...]) -> LateFeatures:
        """taps: the backbone's five features."""
        f2, f4, f8, f16, f32 = taps
        x = self.context(self.lateral32(f32))
        p16 = self.smooth16((self.lateral16(f16) + _twice(x)).relu_())
        p8 = self.smooth8((self.lateral8(f8) + _twice(self.down16(p16))).relu_())
        p4 = self.smooth4((self.lateral4(f4) + _twice(self.down8(p8))).relu_())
        key = self.phrase_key(torch.cat([p16, places(p16)], 1))
        embedding = functional.normalize(self.embed(p8), dim=1)
        fine = p8[:, :0]
        if self.fine_key is not None:
            fine = self.fine_key(torch.cat([p8, places(p8)], 1))
        return LateFeatures(p16, p8, p4, self.lateral2(f2), embedding, key, fine)


class LateDecoder(nn.Module):
    """Features and prompts to mask logits at stride 2, coarse ones at stride 8, and attributes."""

    def __init__(self, config: ModelConfig, phrase_dim: int) -> None:
        super().__init__()
        self.config = config
        c16, c8, c4, c2 = _widths(config)
        self.condition = nn.Linear(CONDITIONS, c16 + c8 + c4)
        self.query = nn.Linear(phrase_dim, config.phrase_queries * config.embedding_dim)
        fine = config.fine_phrase_queries
        self.fine_query = nn.Linear(phrase_dim, fine * config.embedding_dim) if fine else None
        self.gate = _phrase_gate(phrase_dim, config.phrase_queries + 1 + fine)
        at16 = CLICK_CHANNELS + 1 + ALIKE + config.phrase_queries + 2
        self.enter16 = nn.Conv2d(at16, c16, 3, padding=1)
        self.first16 = Residual(Separable(c16, c16, 5, active=False))
        self.attend16 = AttributeAttention(c16, phrase_dim)
        self.second16 = Residual(Separable(c16, c16, 3, dilation=3, active=False))
        layers = config.relation_layers
        self.relations = Relations(c16, phrase_dim + CONDITIONS, layers) if layers else None
        self.third16 = Residual(Separable(c16, c16, 5, active=False))
        self.attribute_head = nn.Linear(c16, len(config.attributes))
        self.down16 = ConvNorm(c16, c8, active=False)
        self.enter8 = nn.Conv2d(CLICK_CHANNELS + 1 + ALIKE + fine, c8, 3, padding=1)
        self.attend8 = AttributeAttention(c8, phrase_dim)
        self.first8 = ConvNorm(c8, c8, 3)
        self.second8 = Residual(Separable(c8, c8, 5, active=False))
        self.coarse = nn.Conv2d(c8, 1, 1)
        self.down8 = ConvNorm(c8, c4, active=False)
        self.enter4 = nn.Conv2d(CLICK_CHANNELS + 1, c4, 3, padding=1)
        self.first4 = ConvNorm(c4, c4, 3)
        self.second4 = Residual(Separable(c4, c4, active=False))
        self.down4 = ConvNorm(c4, c2, active=False)
        self.first2 = ConvNorm(c2, c2, 3)
        self.mask = nn.Conv2d(c2, 1, 3, padding=1)

    def forward(self, features: LateFeatures, prompts: Prompts) -> tuple[Tensor, Tensor, Tensor]:
        """Mask logits B,1,H/2,W/2; coarse logits B,1,H/8,W/8; attribute logits B,A."""
        features = LateFeatures(*(_of(f, prompts.picture_index) for f in features))
        told = _conditions(prompts)
        conditions = self.condition(told)
        gates = 2.0 * torch.sigmoid(self.gate(torch.cat([prompts.phrase, told], 1)))
        gates = gates[:, :, None, None]
        bias16, bias8, bias4 = (
            part[:, :, None, None]
            for part in conditions.split([m.shape[1] for m in features[:3]], 1)
        )
        alike = self._alike(features, prompts)
        count = 1 + self.config.phrase_queries
        maps8 = [self._clicks(prompts, features.p8, 8), alike]
        if self.fine_query is not None:
            answered = _answers(self.fine_query, features.fine_key, prompts)
            maps8.append(answered * gates[:, count:])
        maps16 = [
            self._clicks(prompts, features.p16, 16),
            functional.avg_pool2d(alike, 2),
            _answers(self.query, features.phrase_key, prompts) * gates[:, 1:count],
            places(features.p16),
        ]

        x = (features.p16 + self.enter16(torch.cat(maps16, 1)) + bias16).relu_()
        x = self.first16(x)
        x = torch.lerp(x, self.attend16(x, prompts.phrase, prompts.has_phrase), gates[:, :1])
        x = self.second16(x)
        if self.relations is not None:
            x = self.relations(x, torch.cat([prompts.phrase, told], 1))
        x = self.third16(x)
        attributes = self.attribute_head(x.mean((2, 3)))

        entered = self.enter8(torch.cat(maps8, 1))
        x = (features.p8 + _twice(self.down16(x)) + entered + bias8).relu_()
        x = self.first8(self.attend8(x, prompts.phrase, prompts.has_phrase))
        x = self.second8(x)
        coarse = self.coarse(x)

        maps4 = self._clicks(prompts, features.p4, 4)
        x = (features.p4 + _twice(self.down8(x)) + self.enter4(maps4) + bias4).relu_()
        x = self.second4(self.first4(x))

        x = (features.p2 + _twice(self.down4(x))).relu_()
        return self.mask(self.first2(x)), coarse, attributes

    def _clicks(self, prompts: Prompts, like: Tensor, stride: int) -> Tensor:
        """B,CLICK_CHANNELS+1,h,w: distances near and far, disks, and the previous mask."""
        height, width = like.shape[2:]
        limit = self.config.distance_limit
        distance = nearest_distance(prompts.clicks, height, width, stride, limit)
        if prompts.previous is None:
            previous = distance.new_zeros(distance.shape[0], 1, height, width)
        else:
            previous = functional.avg_pool2d(prompts.previous.to(distance.dtype), stride)
        disks = disk_maps(distance, self.config.click_radius, stride)
        near = (distance / NEAR).clamp_(max=1.0)
        return torch.cat([distance / limit, near, disks, previous], 1)

    def _alike(self, features: LateFeatures, prompts: Prompts) -> Tensor:
        """B,2,h,w: cosine of each pixel's embedding with the most similar click of each sign."""
        xy, sign = prompts.clicks
        embedding = features.embedding
        batch, _, height, width = embedding.shape
        if sign.shape[1] == 0:
            return embedding.new_zeros(batch, 2, height, width)
        size = xy.new_tensor([width * 8.0, height * 8.0])
        grid = (xy / size * 2.0 - 1.0)[:, None]  # B,1,N,2
        sampled = functional.grid_sample(
            embedding, grid, padding_mode="border", align_corners=False
        )
        clicked = functional.normalize(sampled[:, :, 0], dim=1)  # B,E,N
        cosine = torch.bmm(clicked.transpose(1, 2), embedding.flatten(2))  # B,N,hw
        maps = []
        for wanted in (1, -1):
            chosen = sign == wanted
            best = cosine.masked_fill(~chosen[..., None], -1.0).amax(1)
            maps.append(best * chosen.any(1, keepdim=True))
        return torch.stack(maps, 1).view(batch, 2, height, width)


def _answers(ask: nn.Linear, key: Tensor, prompts: Prompts) -> Tensor:
    """B,K,h,w: how well each pixel answers the phrase, by K learned questions; 0 without one.

    A choice, not the paper's: attention over channels can say "dog", but hardly "left".
    key: B,E,h,w, of each pixel.
    """
    batch, dim, height, width = key.shape
    query = ask(prompts.phrase).view(batch, -1, dim) * dim**-0.5
    maps = torch.bmm(query, key.flatten(2)).view(batch, -1, height, width)
    return maps * prompts.has_phrase[:, None, None, None]


def _phrase_gate(phrase_dim: int, gates: int) -> nn.Linear:
    """How loud the phrase is, by what it says and what else is told; 1 is as loud as without.

    Where a click already says which one is meant, a category's name must not call in all the
    others of its kind: with a positive click it starts at half, and training decides.
    """
    gate = nn.Linear(phrase_dim + CONDITIONS, gates)
    nn.init.zeros_(gate.weight)
    nn.init.zeros_(gate.bias)
    with torch.no_grad():
        gate.weight[:, phrase_dim].fill_(-1.1)
    return gate


def places(like: Tensor) -> Tensor:
    """B,2,h,w: x and y of each pixel's centre, -1 to 1 across the picture."""
    batch, _, height, width = like.shape
    x = (torch.arange(width, device=like.device, dtype=like.dtype) * 2 + 1) / width - 1
    y = (torch.arange(height, device=like.device, dtype=like.dtype) * 2 + 1) / height - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)]).expand(
        batch, 2, height, width
    )


def _conditions(prompts: Prompts) -> Tensor:
    """B,4: is there a positive click, a negative one, a phrase, a previous mask?

    Without it the network takes "no click" for "a click far away".
    """
    sign = prompts.clicks.sign
    if prompts.previous is None:
        previous = torch.zeros_like(prompts.has_phrase)
    else:
        previous = prompts.previous.flatten(1).amax(1) > 0
    told = [(sign > 0).any(1), (sign < 0).any(1), prompts.has_phrase, previous]
    return torch.stack(told, 1).to(prompts.phrase.dtype)


def _of(feature: Tensor, picture_index: Tensor | None) -> Tensor:
    return feature if picture_index is None else feature.index_select(0, picture_index)


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _widths(config: ModelConfig) -> tuple[int, int, int, int]:
    return config.channels, config.channels // 2, config.channels // 4, config.channels // 8
