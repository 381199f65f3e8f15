"""How good is this mask? A small head that predicts its IoU, so that confidence can be believed.

A *choice* after SAM's IoU head. Its inputs are detached: it learns about masks without changing
them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN = 64
# Expected IoU, share of the picture, share of undecided pixels.
STATISTICS = 3


class IoUHead(nn.Module):
    """Features inside and around the mask, its statistics and the prompts' kinds, to one logit."""

    def __init__(self, channels: int, conditions: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * channels + STATISTICS + conditions, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.last = nn.Linear(HIDDEN, 1)

    def forward(self, feature: Tensor, mask_logits: Tensor, conditions: Tensor) -> Tensor:
        """B logits. feature: B,C,h,w; mask_logits: B,1,4h,4w; conditions: B,K."""
        feature, logits = feature.detach(), mask_logits.detach().to(feature.dtype)
        probability = torch.sigmoid(logits)
        small = functional.avg_pool2d(probability, 4)
        inside = (feature * small).mean((2, 3)) / (small.mean((2, 3)) + 1e-4)
        around = (feature * (1.0 - small)).mean((2, 3)) / (1.0 - small.mean((2, 3)) + 1e-4)
        statistics = _statistics(probability[:, 0].float()).to(feature.dtype)
        x = torch.cat([inside, around, statistics, conditions.to(feature.dtype)], 1)
        x = self.second(self.first(x).relu_()).relu_()
        return self.last(x)[:, 0]  # type: ignore[no-any-return]


def _statistics(probability: Tensor) -> Tensor:
    """B,STATISTICS of B,H,W: expected IoU if the probabilities are true, area, undecided share."""
    chosen = (probability > 0.5).to(probability.dtype)
    overlap = (probability * chosen).sum((1, 2))
    union = (chosen + probability * (1.0 - chosen)).sum((1, 2))
    undecided = ((probability > 0.2) & (probability < 0.8)).to(probability.dtype).sum((1, 2))
    area = chosen.sum((1, 2))
    return torch.stack(
        [
            overlap / union.clamp(min=1.0),
            (area / probability[0].numel()).sqrt(),
            undecided / (area + undecided).clamp(min=1.0),
        ],
        1,
    )
