"""The decoder of the late form, in which clicks, box, phrase and previous mask enter.

Everything here except the attribute attention is a *choice*, made for two CPU cores: a click costs
only this decoder. It works at strides 16, 8, 4 and 2. At each stride it gets maps of the clicks,
the box and the previous mask; at 16 and 8 also the similarity of each pixel to the clicked ones
and its scores for the phrase. Self-attention works at stride 32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.network.attention import AttributeAttention, SelfAttention
from model.network.blocks import ConvNorm, IoUHead, Residual, Separable, stacked
from model.network.click_maps import (
    ClickBatch,
    box_map,
    disk_maps,
    has_box,
    nearest_distance,
    newest_click_map,
)
from model.network.image_encoder import ImageFeatures, Widths, coordinates, upsample2

# Distances enter at two scales, cut at this many pixels and at the configured limit: near a border
# 20 px matter, across the picture 200.
NEAR = 40.0
# Far and near distances, disks (each for both signs), and the previous mask.
CLICK_CHANNELS = 7
SIMILARITIES = 2
# Reach of the kernels and interpolations at strides 4 and 2, in cells of stride 8.
MARGIN = 3
# Logit outside a window.
OUTSIDE = -10.0


class Prompts(NamedTuple):
    """Clicks, phrase, previous mask and box of B prompts, as the decoder takes them."""

    clicks: ClickBatch
    phrase: Tensor  # B,P
    has_phrase: Tensor  # B bool
    previous: Tensor | None  # B,1,H,W at the network's input size
    picture_index: Tensor | None  # B, which picture a prompt is about
    boxes: Tensor | None = None  # B,4; x2 <= x1 means no box


class LateOutput(NamedTuple):
    """Mask logits B,1,H/2,W/2; coarse logits B,1,H/8,W/8; attribute logits B,A; IoU logits B."""

    mask: Tensor
    coarse: Tensor
    attributes: Tensor
    iou: Tensor | None


class Guess(NamedTuple):
    """The decoder's state after stride 8; ``coarse`` are its mask logits B,1,H/8,W/8."""

    coarse: Tensor
    x8: Tensor  # B,C,H/8,W/8
    bias4: Tensor
    conditions: Tensor
    attributes: Tensor

    def of(self, rows: Tensor, x8: Tensor) -> Guess:
        """Some of the guesses, with their features cut to windows."""
        return Guess(
            self.coarse[rows], x8, self.bias4[rows], self.conditions[rows], self.attributes[rows]
        )


class Windows(NamedTuple):
    """R windows of one size in the grid of stride 8, each for one of B guesses.

    rows: R int64, indices of the guesses. corners: R,2 int64, (top, left) cell. size: height and
    width in cells.
    """

    rows: Tensor
    corners: Tensor
    size: tuple[int, int]


class LateDecoder(nn.Module):
    """Features and prompts to masks."""

    def __init__(self, config: ModelConfig, phrase_dim: int) -> None:
        super().__init__()
        self.config = config
        c16, c8, c4, c2 = Widths.of(config)
        conditions = 5 if config.box_prompts else 4
        fine = config.fine_phrase_queries
        extra = int(config.fine_prompts) + int(config.box_prompts)
        self.condition = nn.Linear(conditions, c16 + c8 + c4)
        self.phrase_query16 = nn.Linear(phrase_dim, config.phrase_queries * config.embedding_dim)
        self.phrase_query8 = nn.Linear(phrase_dim, fine * config.embedding_dim) if fine else None
        self.phrase_gate = _phrase_gate(phrase_dim, conditions, config.phrase_queries + 1 + fine)

        maps16 = CLICK_CHANNELS + SIMILARITIES + config.phrase_queries + 2 + extra
        self.prompt16 = nn.Conv2d(maps16, c16, 3, padding=1)
        self.first16 = Residual(Separable(c16, c16, 5, active=False))
        self.attend16 = AttributeAttention(c16, phrase_dim)
        self.second16 = Residual(Separable(c16, c16, 3, dilation=3, active=False))
        layers = config.relation_layers
        self.self_attention = (
            SelfAttention(c16, phrase_dim + conditions, layers) if layers else None
        )
        self.third16 = Residual(Separable(c16, c16, 5, active=False))
        self.attribute_head = nn.Linear(c16, len(config.attributes))

        self.down16 = ConvNorm(c16, c8, active=False)
        self.prompt8 = nn.Conv2d(CLICK_CHANNELS + SIMILARITIES + fine + extra, c8, 3, padding=1)
        self.attend8 = AttributeAttention(c8, phrase_dim)
        self.first8 = ConvNorm(c8, c8, 3)
        self.second8 = Residual(Separable(c8, c8, 5, active=False))
        self.coarse = nn.Conv2d(c8, 1, 1)

        self.down8 = ConvNorm(c8, c4, active=False)
        self.prompt4 = nn.Conv2d(CLICK_CHANNELS + extra, c4, 3, padding=1)
        self.first4 = ConvNorm(c4, c4, 3)
        self.second4 = Residual(Separable(c4, c4, active=False))

        self.down4 = ConvNorm(c4, c2, active=False)
        self.prompt2 = (
            nn.Conv2d(CLICK_CHANNELS + extra, c2, 3, padding=1) if config.fine_prompts else None
        )
        self.first2 = ConvNorm(c2, c2, 3)
        self.mask = nn.Conv2d(c2, 1, 3, padding=1)
        self.iou_head = IoUHead(c8, conditions) if config.iou_head else None
        if self.prompt2 is not None:
            # At first it changes nothing: a network may grow it after it was trained without.
            nn.init.zeros_(self.prompt2.weight)
            nn.init.zeros_(self.prompt2.bias)  # type: ignore[arg-type]

    def forward(self, features: ImageFeatures, prompts: Prompts) -> LateOutput:
        """B masks; see ``LateOutput``."""
        guess = self.guess(features, prompts)
        mask = self._mask(
            guess,
            prompts,
            _of(features.p4, prompts.picture_index),
            _of(features.p2, prompts.picture_index),
        )
        iou = self.iou_head(guess.x8, mask, guess.conditions) if self.iou_head else None
        return LateOutput(mask, guess.coarse, guess.attributes, iou)

    def guess(self, features: ImageFeatures, prompts: Prompts) -> Guess:
        """The part of ``forward`` at strides 16 and 8: where things are, without fine borders."""
        index = prompts.picture_index
        at16_and_8 = (features.p16, features.p8, *features[4:])
        p16, p8, embedding, key16, key8 = (_of(feature, index) for feature in at16_and_8)
        features = ImageFeatures(p16, p8, features.p4, features.p2, embedding, key16, key8)
        conditions = self._conditions(prompts)
        state = torch.cat([prompts.phrase, conditions], 1)
        gates = 2.0 * torch.sigmoid(self.phrase_gate(state))[:, :, None, None]
        bias16, bias8, bias4 = (
            part[:, :, None, None]
            for part in self.condition(conditions).split([m.shape[1] for m in features[:3]], 1)
        )
        similar = self._similarity(features, prompts)
        maps16, maps8 = self._phrase_maps(features, prompts, gates, similar)

        x = (features.p16 + self.prompt16(maps16) + bias16).relu_()
        x = self.first16(x)
        x = torch.lerp(x, self.attend16(x, prompts.phrase, prompts.has_phrase), gates[:, :1])
        x = self.second16(x)
        if self.self_attention is not None:
            x = self.self_attention(x, state)
        x = self.third16(x)
        attributes = self.attribute_head(x.mean((2, 3)))

        x = (features.p8 + upsample2(self.down16(x)) + self.prompt8(maps8) + bias8).relu_()
        x = self.first8(self.attend8(x, prompts.phrase, prompts.has_phrase))
        x8 = self.second8(x)
        return Guess(self.coarse(x8), x8, bias4, conditions, attributes)

    def refine(
        self, features: ImageFeatures, prompts: Prompts, guess: Guess, windows: Windows
    ) -> tuple[Tensor, Tensor | None]:
        """Masks of some of the guesses, each within its own window.

        Windows make many small objects cheap, since strides 4 and 2 take most of the time of
        ``forward``. Logits nearer than MARGIN cells to a window's edge differ from those of
        ``forward``, unless it is the picture's edge, so windows need a margin. The prompts must
        consist of clicks: no previous mask and no box.

        Returns R,1,4h,4w logits for R windows of h,w cells, and R IoU logits or None.
        """
        rows, (height, width) = windows.rows, windows.size
        kept = guess.of(rows, _cut(guess.x8[rows], windows, 8))
        origin = windows.corners.to(prompts.clicks.xy.dtype).flip(1) * 8.0
        clicks = ClickBatch(prompts.clicks.xy[rows] - origin[:, None], prompts.clicks.sign[rows])
        local = prompts._replace(clicks=clicks, previous=None, boxes=None)
        mask = self._mask(kept, local, _cut(features.p4, windows, 4), _cut(features.p2, windows, 2))
        if self.iou_head is None:
            return mask, None
        whole = mask.new_full((len(rows), 1, *features.p2.shape[2:]), OUTSIDE)
        for place, (top, left) in enumerate((windows.corners * 4).tolist()):
            whole[place, :, top : top + 4 * height, left : left + 4 * width] = mask[place]
        return mask, self.iou_head(guess.x8[rows], whole, guess.conditions[rows])

    def _mask(self, guess: Guess, prompts: Prompts, p4: Tensor, p2: Tensor) -> Tensor:
        """B,1,h,w mask logits: strides 4 and 2."""
        maps4 = stacked(self._prompt_maps(prompts, p4, 4))
        x = (p4 + upsample2(self.down8(guess.x8)) + self.prompt4(maps4) + guess.bias4).relu_()
        x = self.second4(self.first4(x))

        x = p2 + upsample2(self.down4(x))
        if self.prompt2 is not None:
            x = x + self.prompt2(stacked(self._prompt_maps(prompts, p2, 2)))
        mask: Tensor = self.mask(self.first2(x.relu_()))
        return mask

    def _phrase_maps(
        self, features: ImageFeatures, prompts: Prompts, gates: Tensor, similar: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The maps that enter at strides 16 and 8."""
        count = 1 + self.config.phrase_queries
        answer16 = _phrase_answers(self.phrase_query16, features.phrase_key16, prompts)
        clicks16, *extra16 = self._prompt_maps(prompts, features.p16, 16)
        maps16 = [
            clicks16,
            functional.avg_pool2d(similar, 2),
            answer16 * gates[:, 1:count],
            coordinates(features.p16),
            *extra16,
        ]
        clicks8, *extra8 = self._prompt_maps(prompts, features.p8, 8)
        maps8 = [clicks8, similar]
        if self.phrase_query8 is not None:
            answer8 = _phrase_answers(self.phrase_query8, features.phrase_key8, prompts)
            maps8.append(answer8 * gates[:, count:])
        return stacked(maps16), stacked([*maps8, *extra8])

    def _prompt_maps(self, prompts: Prompts, like: Tensor, stride: int) -> list[Tensor]:
        """CLICK_CHANNELS channels; then, as configured, the newest click and the box."""
        height, width = like.shape[2:]
        limit = self.config.distance_limit
        distance = nearest_distance(prompts.clicks, height, width, stride, limit)
        if prompts.previous is None:
            previous = distance.new_zeros(distance.shape[0], 1, height, width)
        else:
            previous = functional.avg_pool2d(prompts.previous.to(distance.dtype), stride)
        disks = disk_maps(distance, self.config.click_radius, stride)
        near = (distance / NEAR).clamp_(max=1.0)
        maps = [torch.cat([distance / limit, near, disks, previous], 1)]
        if self.config.fine_prompts:
            maps.append(newest_click_map(prompts.clicks, height, width, stride))
        if self.config.box_prompts:
            if prompts.boxes is None:
                maps.append(torch.zeros_like(previous))
            else:
                maps.append(box_map(prompts.boxes.to(distance.dtype), height, width, stride))
        return maps

    def _similarity(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """B,2,h,w: cosine of each pixel's embedding with the most similar click of each sign."""
        xy, sign = prompts.clicks
        embedding = features.embedding
        batch, _, height, width = embedding.shape
        if sign.shape[1] == 0:
            return embedding.new_zeros(batch, SIMILARITIES, height, width)
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
        return torch.stack(maps, 1).view(batch, SIMILARITIES, height, width)

    def _conditions(self, prompts: Prompts) -> Tensor:
        """B,4 or B,5 of 0 and 1: has a positive click, a negative one, a phrase, a mask, a box.

        Without it "no click" would look like "a click far away".
        """
        sign = prompts.clicks.sign
        if prompts.previous is None:
            previous = torch.zeros_like(prompts.has_phrase)
        else:
            previous = prompts.previous.flatten(1).amax(1) > 0
        present = [(sign > 0).any(1), (sign < 0).any(1), prompts.has_phrase, previous]
        if self.config.box_prompts:
            none = torch.zeros_like(prompts.has_phrase)
            present.append(none if prompts.boxes is None else has_box(prompts.boxes))
        return torch.stack(present, 1).to(prompts.phrase.dtype)


def _phrase_answers(ask: nn.Linear, key: Tensor, prompts: Prompts) -> Tensor:
    """B,K,h,w: scores of each pixel for K learned queries of the phrase; 0 without a phrase.

    A *choice*: the paper's attention over channels can express "dog", but hardly "left". key:
    B,E,h,w, of each pixel.
    """
    batch, dim, height, width = key.shape
    query = ask(prompts.phrase).view(batch, -1, dim) * dim**-0.5
    maps = torch.bmm(query, key.flatten(2)).view(batch, -1, height, width)
    return maps * prompts.has_phrase[:, None, None, None]


def _phrase_gate(phrase_dim: int, conditions: int, gates: int) -> nn.Linear:
    """The layer that weighs the phrase, from the phrase state and the conditions.

    With a positive click, the name of a kind must not add all other objects of that kind: the gate
    then starts at about half, and training adjusts it.
    """
    gate = nn.Linear(phrase_dim + conditions, gates)
    nn.init.zeros_(gate.weight)
    nn.init.zeros_(gate.bias)
    with torch.no_grad():
        gate.weight[:, phrase_dim].fill_(-1.1)
    return gate


def _cut(feature: Tensor, windows: Windows, stride: int) -> Tensor:
    """R,C,h,w: the windows of a feature of R rows, or of one row that all share."""
    finer = 8 // stride
    height, width = (side * finer for side in windows.size)
    corners = (windows.corners * finer).tolist()
    rows = range(len(corners)) if feature.shape[0] > 1 else [0] * len(corners)
    parts = [
        feature[row, :, top : top + height, left : left + width].permute(1, 2, 0)
        for row, (top, left) in zip(rows, corners, strict=True)
    ]
    return torch.stack(parts).permute(0, 3, 1, 2)


def _of(feature: Tensor, picture_index: Tensor | None) -> Tensor:
    """The feature of each prompt's picture, channels last, which ``index_select`` alone loses."""
    if picture_index is None:
        return feature
    return feature.permute(0, 2, 3, 1).index_select(0, picture_index).permute(0, 3, 1, 2)
