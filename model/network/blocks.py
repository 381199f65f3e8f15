"""Building blocks of the decoders: convolutions, their folding for serving, the IoU head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

Module = TypeVar("Module", bound=nn.Module)


class ConvNorm(nn.Module):
    """Convolution, batch norm, and ReLU unless ``active`` is false. Keeps height and width."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        active: bool = True,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, 1, padding, dilation=dilation, groups=groups, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """B,outputs,H,W."""
        x = self.norm(self.conv(x))
        return x.relu_() if self.active else x


class Separable(nn.Sequential):
    """A depthwise and a pointwise convolution: about a ninth of the work of a full 3x3 one."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, *, dilation: int = 1, active: bool = True
    ) -> None:
        super().__init__(
            ConvNorm(inputs, inputs, kernel, dilation=dilation, groups=inputs),
            ConvNorm(inputs, outputs, active=active),
        )


class Residual(nn.Module):
    """x + block(x), then ReLU."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        changed: Tensor = self.block(x) + x
        return changed.relu_()


def stacked(maps: Sequence[Tensor]) -> Tensor:
    """``torch.cat(maps, 1)``, channels last."""
    return torch.cat([part.permute(0, 2, 3, 1) for part in maps], 3).permute(0, 3, 1, 2)


def fold_norms(module: Module) -> Module:
    """Fold every batch norm into its convolution, in place; for evaluation only.

    A norm costs an extra pass over each feature on a CPU; training needs it.
    """
    for child in module.modules():
        if isinstance(child, ConvNorm) and isinstance(child.norm, nn.BatchNorm2d):
            child.eval()
            child.conv = fuse_conv_bn_eval(child.conv, child.norm)
            child.norm = nn.Identity()
    return module


HIDDEN = 64
# Expected IoU, root of the share of the picture, share of undecided pixels.
STATISTICS = 3


class IoUHead(nn.Module):
    """Predicts the mask's IoU from features inside and around it, statistics and conditions."""

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
