"""Distributed training: one process, or several that share each batch (`torchrun`).

torch's DistributedDataParallel wraps a network with a single forward call. Here a step encodes once
and decodes several times, so gradients are averaged explicitly after the backward pass, by one
all-reduce of a flat tensor. Each process works on its pictures of the batch, gradients are the mean
over processes, and all take the same step.

On GPUs batch norms use the statistics of all processes (SyncBatchNorm). On CPUs, where torch has no
such norm, each process normalises by its own pictures, and running statistics are averaged after
each step, so all processes keep the same network.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from model.network.phraseclick import PhraseClick
from training.errors import RecipeError

# The other processes wait this long while the first one validates or writes.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Ranks:
    """This process's rank among ``world`` processes, and its device."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def place(self, network: PhraseClick) -> PhraseClick:
        """The network on the device, with weights in channels-last layout for convolutions."""
        placed: PhraseClick = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return placed

    def prepare(self, network: PhraseClick) -> PhraseClick:
        """The network on the device, with norms synchronised over processes if torch has them."""
        network = self.place(network)
        if self.world == 1 or self.device.type != "cuda":
            return network
        convert: Callable[[PhraseClick], PhraseClick] = nn.SyncBatchNorm.convert_sync_batchnorm
        return convert(network)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over processes; None stays if no process has one."""
        if self.world == 1:
            return
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        present = torch.tensor([float(p.grad is not None) for p in learned], device=self.device)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
        shares, *means = self._means([present, *parts])
        for parameter, part, mean, share in zip(
            learned, parts, means, shares.tolist(), strict=True
        ):
            # Copied, so that a gradient keeps its parameter's memory layout.
            parameter.grad = part.copy_(mean) if share else None

    def average_buffers(self, *modules: nn.Module) -> None:
        """Replace running statistics by their means over processes."""
        if self.world == 1:
            return
        buffers = [b for module in modules for b in module.buffers() if b.is_floating_point()]
        for buffer, mean in zip(buffers, self._means(buffers), strict=True):
            buffer.copy_(mean)

    def mean(self, values: Sequence[float]) -> list[float]:
        """The mean of each value over all processes, bit for bit the same in each."""
        if self.world == 1:
            return list(values)
        (means,) = self._means([torch.tensor(values, dtype=torch.float64, device=self.device)])
        return [float(mean) for mean in means]

    def _means(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The mean of each tensor over all processes, by one all-reduce."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        parts = torch.split(flat / self.world, [tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            distributed.barrier()


def device_for(name: str) -> torch.device:
    """The device that a recipe names; "auto" is a GPU if there is one. Raises RecipeError."""
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError(
            'train.device is "cuda", but torch finds no GPU; "auto" uses what is available.'
        )
    on_gpu = name != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun started, if it did."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Ranks(device, distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()
