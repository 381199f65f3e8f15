"""Automatic mixed precision (torch.amp): convolutions in 16 bits, sensitive operations in 32.

bfloat16 has the range of float32. With float16 small gradients would vanish, so the loss is scaled
up before the backward pass and gradients are scaled down after it (GradScaler).
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor

from model.network.phraseclick import Output
from training.errors import RecipeError

Amp = Literal["auto", "off", "bf16", "fp16"]


class Precision:
    """The precision of a network on a device.

    kind: "auto" is 16 bits on a GPU (bfloat16 if supported) and 32 on a CPU, where bfloat16 is
    faster only on processors with instructions for it.
    """

    def __init__(self, kind: str, device: torch.device) -> None:
        if kind == "auto":
            kind = "off" if device.type == "cpu" else _best_of_gpu()
        if kind == "fp16" and device.type == "cpu":
            raise RecipeError('train.amp = "fp16" needs a GPU; on a CPU use "bf16" or "off".')
        self.kind = kind
        self._device = device
        self._dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(kind)
        self._scaler = torch.amp.GradScaler(device.type, enabled=kind == "fp16")

    def cast(self) -> AbstractContextManager[Any]:
        """A context in which the network computes in this precision."""
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss, scaled for float16."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Undo the scale of the gradients, so that they can be checked and clipped."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One step of the optimizer, skipped if a scaled gradient overflowed."""
        self._scaler.step(optimizer)
        self._scaler.update()

    @property
    def may_overflow(self) -> bool:
        """Whether an infinite gradient may be due to the scale, which then adapts."""
        return self.kind == "fp16"

    def state_dict(self) -> dict[str, Any]:
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scaler.load_state_dict(state)


def cpu_computes_bf16() -> bool:
    """Whether this processor has instructions for bfloat16; without them 32 bits are faster."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def in_full(output: Output) -> Output:
    """The output in 32 bits, since losses are sums over many pixels."""
    coarse = output.coarse_logits
    return output._replace(
        mask_logits=output.mask_logits.float(),
        attribute_logits=output.attribute_logits.float(),
        coarse_logits=None if coarse is None else coarse.float(),
    )


def _best_of_gpu() -> str:
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
