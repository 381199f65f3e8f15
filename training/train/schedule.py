"""The optimizer of a run and the schedule of its learning rates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from model.network.phraseclick import PhraseClick
from training.train.recipe import TrainRecipe


def make_optimizer(network: PhraseClick, train: TrainRecipe) -> torch.optim.Optimizer:
    """The recipe's optimizer; each group keeps its full rate as "base"."""
    groups = _groups(network, train)
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


def _groups(network: PhraseClick, train: TrainRecipe) -> list[dict[str, Any]]:
    """Parameter groups: a lower rate for the backbone, no weight decay for biases and norms."""
    backbone = {id(parameter) for parameter in network.backbone.parameters()}
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for parameter in network.parameters():
        if not parameter.requires_grad:
            continue
        key = (id(parameter) in backbone, parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": 0.0,
            "base": train.backbone_rate if slow else train.rate,
            "weight_decay": train.weight_decay if decayed else 0.0,
        }
        for (slow, decayed), parameters in groups.items()
    ]
