"""The optimizer of a run: learning rates, mixed precision, and averaged weights.

Mixed precision (torch.amp) computes convolutions in 16 bits and sensitive operations in 32.
bfloat16 has the range of float32. With float16 small gradients would vanish, so the loss is scaled
up before the backward pass and gradients are scaled down after it (GradScaler).

The exponential moving average of the weights is what is validated, exported and served.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn

from model.network.phraseclick import Output, PhraseClick
from training.errors import RecipeError
from training.train.recipe import TrainRecipe


def make_optimizer(network: PhraseClick, train: TrainRecipe) -> torch.optim.Optimizer:
    """The recipe's optimizer: a lower rate for the backbone, no weight decay for biases and norms.

    Each group keeps its full rate as "base".
    """
    backbone = {id(parameter) for parameter in network.backbone.parameters()}
    parts: dict[tuple[bool, bool], list[Tensor]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in backbone, parameter.ndim > 1)
            parts.setdefault(key, []).append(parameter)
    groups = [
        {
            "params": parameters,
            "lr": 0.0,
            "base": train.backbone_rate if slow else train.rate,
            "weight_decay": train.weight_decay if decayed else 0.0,
        }
        for (slow, decayed), parameters in parts.items()
    ]
    # One kernel for all parameters on a GPU; otherwise torch chooses.
    fused = next(network.parameters()).is_cuda or None
    if train.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=train.momentum, fused=fused)
    return torch.optim.AdamW(groups, fused=fused)


def set_rates(
    optimizer: torch.optim.Optimizer, train: TrainRecipe, step: int, progress: float
) -> float:
    """Set every group's rate for this step; returns the rate of parameters outside the backbone.

    progress: of the schedule, 0 to 1.
    """
    factor = min(1.0, (step + 1) / max(train.warmup, 1)) * decay(train, min(progress, 1.0))
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor
    return train.rate * factor


def decay(train: TrainRecipe, progress: float) -> float:
    """The factor of the rates, from 1 at the start to 0 at the end.

    cosine: Loshchilov and Hutter 2017. poly: (1 - progress)^power, as DeepLab trains.
    """
    if train.schedule == "constant":
        return 1.0
    if train.schedule == "poly":
        return float((1.0 - progress) ** train.power)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def amp_dtype(kind: str, device: torch.device) -> torch.dtype | None:
    """The type for `torch.autocast`, by the recipe's ``amp``; None for 32 bits.

    "auto" is 16 bits on a GPU and 32 on a CPU, where bfloat16 is faster only on processors with
    instructions for it.
    """
    if kind == "auto" and device.type != "cpu":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if bf16 else torch.float16
    if kind == "fp16" and device.type == "cpu":
        raise RecipeError('train.amp = "fp16" needs a GPU; on a CPU use "bf16" or "off".')
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(kind)


def depthwise_in_32_bits(network: nn.Module) -> None:
    """Have a network's depthwise convolutions compute in 32 bits.

    On a CPU their backward pass in bfloat16 takes 5 to 15 times as long (oneDNN, Xeon with AMX).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.forward = functools.partial(_in_32_bits, module)  # type: ignore[method-assign]


def _in_32_bits(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return nn.Conv2d.forward(convolution, x.float()).to(x.dtype)


def cpu_computes_bf16() -> bool:
    """Whether this processor has instructions for bfloat16; without them 32 bits are faster."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def to_float32(output: Output) -> Output:
    """The output in 32 bits, since losses are sums over many pixels."""
    coarse = output.coarse_logits
    return output._replace(
        mask_logits=output.mask_logits.float(),
        attribute_logits=output.attribute_logits.float(),
        coarse_logits=None if coarse is None else coarse.float(),
    )


class EMA:
    """The exponential moving average of a network's weights: it follows quickly at first."""

    def __init__(self, network: PhraseClick, copy: PhraseClick, decay: float) -> None:
        """copy: a network of the same shape, which becomes the average."""
        self.network = copy.requires_grad_(False).eval()
        self._decay = decay
        live, mean = network.state_dict(), self.network.state_dict()
        # Tensors stay where they are while their numbers change, so they are looked up once.
        pairs = [(mean[name], live[name]) for name in mean]
        self._moving = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counting = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._set(1.0)

    def update(self, step: int) -> None:
        """Move towards the network as it is after this step."""
        self._set(1.0 - min(self._decay, (1.0 + step) / (10.0 + step)))

    @torch.no_grad()
    def _set(self, share: float) -> None:
        means, lives = zip(*self._moving, strict=True)
        torch._foreach_lerp_(list(means), list(lives), share)
        for mean, live in self._counting:
            mean.copy_(live)
