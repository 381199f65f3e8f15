"""The losses: pixels of the mask, and attributes of the phrase in the fused feature.

The paper's mask loss is binary cross-entropy. Dice is added (*choice*), since with much background
cross-entropy hardly notices a small object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.network.click_maps import ClickBatch, newest_clicks
from model.network.phraseclick import Output
from training.prompts.questions import Batch, Question


@dataclass(frozen=True)
class LossRecipe:
    """Weights of the parts; 0 turns one off."""

    cross_entropy: float = 1.0
    dice: float = 1.0
    # The late form's coarse mask at stride 8.
    coarse: float = 0.4
    attributes: float = 0.1
    # The IoU head's cross-entropy with the IoU of the mask.
    iou: float = 0.2
    # Added to the weight of pixels near the border, which decide the last points of IoU.
    border: float = 1.5
    # Weight of the outermost pixels of coarsely annotated masks.
    coarse_border: float = 0.5
    # Added to the weight of pixels near the newest click of a correction: it should change what
    # is wrong there and no more.
    correction: float = 0.0


def pixel_weights(target: Tensor, void: Tensor, coarse: Tensor, recipe: LossRecipe) -> Tensor:
    """B,1,H,W weights: 0 in void, higher near the border, lower on coarsely drawn borders.

    target: B,1,H,W in [0, 1]. void: B,1,H,W bool. coarse: B bool.
    """
    weight = torch.ones_like(target)
    if recipe.border > 0:
        small = functional.avg_pool2d(target, 4)
        mean = functional.avg_pool2d(small, 5, stride=1, padding=2, count_include_pad=False)
        near = ((mean > 0.01) & (mean < 0.99)).to(target.dtype)
        weight = weight + recipe.border * functional.interpolate(near, scale_factor=4.0)
    if recipe.coarse_border < 1 and bool(coarse.any()):
        mean = functional.avg_pool2d(target[coarse], 3, 1, 1, count_include_pad=False)
        edge = (mean > 0.02) & (mean < 0.98)
        weight[coarse] = torch.where(edge, weight[coarse] * recipe.coarse_border, weight[coarse])
    return weight.masked_fill(void, 0.0)


# Width of the surroundings of a correction: a share of the object's size, but at least some pixels.
NEAR, NEAREST = 0.3, 8.0


def around_corrections(clicks: ClickBatch, previous: Tensor | None, target: Tensor) -> Tensor:
    """B,1,H,W in [0, 1]: how near each pixel is to the newest click that corrects a previous mask.

    0 for prompts without clicks or with an empty previous mask. previous, target: B,1,H,W.
    """
    if previous is None or not clicks.sign.shape[1]:
        return torch.zeros_like(target)
    height, width = target.shape[2:]
    places, sign = newest_clicks(clicks)
    x, y = places.T.to(target.dtype)[:, :, None]
    reach = (NEAR * target.sum((1, 2, 3)).sqrt()).clamp(min=NEAREST)[:, None]
    corrects = ((sign != 0) & previous.flatten(1).any(1)).to(target.dtype)
    columns = torch.arange(width, device=target.device, dtype=target.dtype) + 0.5
    lines = torch.arange(height, device=target.device, dtype=target.dtype) + 0.5
    across = torch.exp(-0.5 * ((columns - x) / reach) ** 2) * corrects[:, None]
    down = torch.exp(-0.5 * ((lines - y) / reach) ** 2)
    return (down[:, :, None] * across[:, None, :])[:, None]


def mask_loss(logits: Tensor, target: Tensor, weight: Tensor, recipe: LossRecipe) -> Tensor:
    """B: loss of each prompt's mask. All B,1,H,W."""
    total = weight.sum((1, 2, 3)).clamp(min=1.0)
    loss = logits.new_zeros(logits.shape[0])
    if recipe.cross_entropy > 0:
        pixels = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        loss = loss + recipe.cross_entropy * (pixels * weight).sum((1, 2, 3)) / total
    if recipe.dice > 0:
        guess = torch.sigmoid(logits)
        both = (guess * target * weight).sum((1, 2, 3))
        either = ((guess + target) * weight).sum((1, 2, 3))
        # With this constant an empty mask is right, and a full one wrong, for an empty target.
        room = 0.002 * total
        loss = loss + recipe.dice * (1.0 - (2.0 * both + room) / (either + room))
    return loss


class AttributeLoss(nn.Module):
    """Weighted binary cross-entropy; the weight of an attribute grows with its rarity so far."""

    seen: Tensor
    held: Tensor

    def __init__(self, attributes: Sequence[str]) -> None:
        super().__init__()
        self._index = {name: place for place, name in enumerate(attributes)}
        self.register_buffer("seen", torch.tensor(20.0))
        self.register_buffer("held", torch.ones(len(attributes)))

    def forward(self, logits: Tensor, questions: Sequence[Question]) -> Tensor:
        """Mean loss of the attributes that the phrases of B questions name. logits: B,A."""
        if not logits.numel():
            return logits.sum()
        held = torch.zeros(logits.shape)
        for row, question in enumerate(questions):
            places = [self._index[name] for name in question.attributes if name in self._index]
            held[row, places] = 1.0
        held = held.to(logits.device)
        self.seen += held.shape[0]
        self.held += held.sum(0)
        share = self.held / self.seen
        rarity = ((1.0 - share) / share).clamp(min=1e-3).sqrt().clamp(1.0, 12.0)
        return functional.binary_cross_entropy_with_logits(logits, held, pos_weight=rarity)


def total_loss(
    output: Output,
    batch: Batch,
    attribute_loss: AttributeLoss,
    recipe: LossRecipe,
    clicks: ClickBatch | None = None,
    previous: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The total loss; its parts and the mean IoU, for the log, on the device.

    clicks, previous (B,1,H,W): what was answered, for the weights around corrections.

    The mask is compared at the resolution of its logits with the target's means over their cells: a
    quarter of the work of upsampling the logits, with soft borders as targets.
    """
    logits, target, void = output.mask_logits, batch.target, batch.void
    stride = output.height // logits.shape[2]
    pixels = pixel_weights(target, void, batch.coarse_source, recipe)
    if clicks is not None and recipe.correction > 0:
        pixels = pixels * (1.0 + recipe.correction * around_corrections(clicks, previous, target))
    weight = _means(pixels, stride)
    small = _means(target, stride)
    mask = mask_loss(logits, small, weight, recipe).mean()
    # A cell is void if most of it is.
    reached = ious(logits.detach(), small, _means(void.to(target.dtype), stride) > 0.5)
    total = mask
    parts = {"mask": mask.detach(), "iou": reached.mean()}
    if output.coarse_logits is not None and recipe.coarse > 0:
        kept = _means((~void).to(target.dtype), 8)
        coarse = mask_loss(output.coarse_logits, _means(target, 8), kept, recipe).mean()
        total = total + recipe.coarse * coarse
        parts["coarse"] = coarse.detach()
    spoken = [row for row, question in enumerate(batch.questions) if question.text]
    if recipe.attributes > 0 and spoken:
        asked = [batch.questions[row] for row in spoken]
        named = attribute_loss(output.attribute_logits[spoken], asked)
        total = total + recipe.attributes * named
        parts["attributes"] = named.detach()
    if output.iou_logits is not None and recipe.iou > 0:
        predicted = functional.binary_cross_entropy_with_logits(output.iou_logits, reached)
        total = total + recipe.iou * predicted
        parts["iou_head"] = (torch.sigmoid(output.iou_logits.detach()) - reached).abs().mean()
    return total, parts


def _means(maps: Tensor, stride: int) -> Tensor:
    """Means over cells of stride x stride pixels."""
    return maps if stride == 1 else functional.avg_pool2d(maps, stride)


def ious(logits: Tensor, target: Tensor, void: Tensor) -> Tensor:
    """B: IoU of each answer without void; 1 if target and answer are both empty."""
    answered, wanted, counts = logits > 0, target > 0.5, ~void
    either = ((answered | wanted) & counts).sum((1, 2, 3))
    wrong = ((answered != wanted) & counts).sum((1, 2, 3))
    return 1.0 - wrong / either.clamp(min=1)
