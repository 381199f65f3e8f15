"""Automatic mixed precision: convolutions in 16 bits, what needs more in 32 (torch.amp).

bfloat16 has the range of float32 and needs no care. float16 has not: small gradients would vanish,
so losses are scaled up before the backward pass and gradients down after it (GradScaler).
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
    """In which numbers a network computes on a device.

    kind: "auto" is 16 bits on a GPU (bfloat16 where it has them) and 32 on a CPU, where bfloat16
    pays only on processors with instructions for it.
    """

    def __init__(self, kind: str, device: torch.device) -> None:
        if kind == "auto":
            kind = "off" if device.type == "cpu" else _best_of_gpu()
        if kind == "fp16" and device.type == "cpu":
            raise RecipeError('train.amp = "fp16" needs a GPU; on a CPU take "bf16" or "off".')
        self.kind = kind
        self._device = device
        self._dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(kind)
        self._scaler = torch.amp.GradScaler(device.type, enabled=kind == "fp16")

    def cast(self) -> AbstractContextManager[Any]:
        """Within it the network computes in this precision."""
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss, scaled where float16 needs it."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Gradients as they are, to be looked at and clipped."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One step of the optimizer, left out where a scaled gradient overflowed."""
        self._scaler.step(optimizer)
        self._scaler.update()

    @property
    def may_overflow(self) -> bool:
        """Whether a gradient that is no number is a matter of scale, which mends itself."""
        return self.kind == "fp16"

    def state_dict(self) -> dict[str, Any]:
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scaler.load_state_dict(state)


def cpu_computes_bf16() -> bool:
    """Whether this processor has instructions for bfloat16; without them 32 bits are faster."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def in_full(output: Output) -> Output:
    """The answers in 32 bits: losses are sums over many pixels."""
    coarse = output.coarse_logits
    return output._replace(
        mask_logits=output.mask_logits.float(),
        attribute_logits=output.attribute_logits.float(),
        coarse_logits=None if coarse is None else coarse.float(),
    )


def _best_of_gpu() -> str:
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
