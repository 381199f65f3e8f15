"""The three convolution blocks that the decoders are built of, and their folding for serving."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn
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
    """Depthwise then pointwise: a ninth of the work of a full 3x3, for where width is large."""

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


def fold_norms(module: Module) -> Module:
    """Fold every batch norm into its convolution, in place; for evaluation only.

    Serving pays for the norm's extra pass over each feature on a CPU, training needs the norm.
    """
    for child in module.modules():
        if isinstance(child, ConvNorm) and isinstance(child.norm, nn.BatchNorm2d):
            child.eval()
            child.conv = fuse_conv_bn_eval(child.conv, child.norm)
            child.norm = nn.Identity()
    return module
