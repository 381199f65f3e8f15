"""PhraseClick: from a picture, clicks and a phrase to mask logits, in either form.

Both forms share the phrase encoder, the attribute attention, the attribute head and this
interface; ``ModelConfig.form`` chooses. In the early form clicks are input channels, so ``encode``
only keeps the picture; callers of ``encode`` and ``decode`` need not know the form.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.network.backbone import build_backbone
from model.network.blocks import fold_norms
from model.network.click_maps import ClickBatch, distance_maps
from model.network.early_decoder import EarlyDecoder
from model.network.image_encoder import ImageEncoder, ImageFeatures
from model.network.late_decoder import Guess, LateDecoder, Prompts, Windows
from model.network.phrase_encoder import PhraseEncoder, WordBatch


class Features(NamedTuple):
    """An encoded batch of pictures. Opaque: only ``decode`` of the same network reads ``maps``."""

    maps: tuple[Tensor, ...]
    height: int  # of the network input
    width: int

    @property
    def nbytes(self) -> int:
        """Memory that the tensors take."""
        return sum(tensor.nelement() * tensor.element_size() for tensor in self.maps)


class Output(NamedTuple):
    """The network's output for B prompts.

    mask_logits: B,1,H/s,W/s; s is 2 in the late form, 4 in the early one.
    attribute_logits: B,A for ``config.attributes``; only meaningful with a phrase.
    coarse_logits: B,1,H/8,W/8, the late form's mask at stride 8, for an auxiliary loss; else None.
    iou_logits: B, the predicted IoU of the mask before the sigmoid; None without an IoU head.
    """

    mask_logits: Tensor
    attribute_logits: Tensor
    coarse_logits: Tensor | None
    height: int
    width: int
    iou_logits: Tensor | None = None

    def logits_full(self) -> Tensor:
        """B,1,H,W: mask logits at the size of the network input, bilinear."""
        return functional.interpolate(
            self.mask_logits, size=(self.height, self.width), mode="bilinear", align_corners=False
        )


class PhraseClick(nn.Module):
    """The network. Expects pictures with height and width in multiples of 32."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer(
            "mean", torch.tensor(config.pixel_mean).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer(
            "std", torch.tensor(config.pixel_std).view(1, 3, 1, 1), persistent=False
        )
        self.backbone = build_backbone(config)
        self.phrase = PhraseEncoder(config.word_dim, config.phrase_dim)
        if config.form == "late":
            self.encoder = ImageEncoder(config, self.backbone.channels)
            self.decoder: nn.Module = LateDecoder(config, self.phrase.out_dim)
        else:
            self.decoder = EarlyDecoder(config, self.backbone.channels, self.phrase.out_dim)

    def encode(self, image: Tensor) -> Features:
        """image: P,3,H,W float, RGB in [0, 1]."""
        height, width = image.shape[2:]
        x = (image - self.mean) / self.std
        if self.config.form == "late":
            maps = tuple(self.encoder(self.backbone(x.contiguous(memory_format=CHANNELS_LAST))))
        else:
            maps = (x,)
        return Features(maps, height, width)

    def decode(
        self,
        features: Features,
        clicks: ClickBatch,
        words: WordBatch,
        previous_mask: Tensor | None = None,
        picture_index: Tensor | None = None,
        boxes: Tensor | None = None,
    ) -> Output:
        """Masks for B prompts.

        previous_mask: B,1,H,W in [0, 1] at the size of the network input, 0 in rows without one;
        the early form ignores it, as in the paper. picture_index: B int64, the picture of each
        prompt among P encoded ones; None if B is P, in order. boxes: B,4 (x1, y1, x2, y2) in
        pixels of the network input; a row with x2 <= x1 has no box. Networks without
        ``config.box_prompts`` ignore them.
        """
        phrase = self.phrase(words)
        has_phrase = words.length > 0
        height, width = features.height, features.width
        if self.config.form == "late":
            prompts = Prompts(clicks, phrase, has_phrase, previous_mask, picture_index, boxes)
            decoder = cast(LateDecoder, self.decoder)
            mask, coarse, attributes, iou = decoder(ImageFeatures(*features.maps), prompts)
            return Output(mask, attributes, coarse, height, width, iou)
        (image,) = features.maps
        if picture_index is not None:
            image = image.index_select(0, picture_index)
        maps = distance_maps(clicks, height, width, self.config.distance_limit)
        x = torch.cat([image, maps.to(image.dtype)], 1).contiguous(memory_format=CHANNELS_LAST)
        mask, attributes = self.decoder(self.backbone(x), phrase, has_phrase)
        return Output(mask, attributes, None, height, width)

    def guess(
        self, features: Features, clicks: ClickBatch, words: WordBatch, picture_index: Tensor
    ) -> Guess:
        """The coarse half of ``decode`` for B clicks on P pictures; late form only."""
        prompts = self._prompts(clicks, words, picture_index)
        decoder = cast(LateDecoder, self.decoder)
        return decoder.guess(ImageFeatures(*features.maps), prompts)

    def refine(
        self,
        features: Features,
        clicks: ClickBatch,
        words: WordBatch,
        guess: Guess,
        windows: Windows,
    ) -> tuple[Tensor, Tensor | None]:
        """The fine half of ``decode`` within windows; see ``LateDecoder.refine``. One picture."""
        prompts = self._prompts(clicks, words, None)
        decoder = cast(LateDecoder, self.decoder)
        return decoder.refine(ImageFeatures(*features.maps), prompts, guess, windows)

    def _prompts(
        self, clicks: ClickBatch, words: WordBatch, picture_index: Tensor | None
    ) -> Prompts:
        return Prompts(clicks, self.phrase(words), words.length > 0, None, picture_index)

    def forward(
        self,
        image: Tensor,
        clicks: ClickBatch,
        words: WordBatch,
        previous_mask: Tensor | None = None,
        picture_index: Tensor | None = None,
        boxes: Tensor | None = None,
    ) -> Output:
        """``decode(encode(image), ...)``."""
        features = self.encode(image)
        return self.decode(features, clicks, words, previous_mask, picture_index, boxes)

    def for_serving(self) -> PhraseClick:
        """Fold norms, lay weights out for the CPU's convolutions, no gradients; in place."""
        self.eval().requires_grad_(False)
        fold_norms(self)
        return self.to(memory_format=CHANNELS_LAST)  # type: ignore[no-any-return,call-overload]


CHANNELS_LAST = torch.channels_last
