"""One process, or several that share each batch (`torchrun`), seen from one of them.

torch's DistributedDataParallel wraps a network that is called as one function; here a step encodes
once and decodes several times, so gradients are averaged by hand after the backward pass: one
all-reduce of one flat tensor. The meaning is the same: each process works on its pictures of the
batch, gradients are the mean over processes, all take the same step.

Batch norms take the statistics of all processes on GPUs (SyncBatchNorm). On CPUs, for which torch
has none, each process normalises by its own pictures, and the running statistics are averaged
after each step, so that all processes hold the same network throughout.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn

from model.network.phraseclick import PhraseClick
from training.errors import RecipeError

# The others wait while the first one validates or writes.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Ranks:
    """This process's number among ``world``, and where it computes."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether it is this process that writes files and reports."""
        return self.rank == 0

    def place(self, network: PhraseClick) -> PhraseClick:
        """The network on the device, its weights laid out channels last, as convolutions like."""
        placed: PhraseClick = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return placed

    def prepare(self, network: PhraseClick) -> PhraseClick:
        """The network placed, with norms that see all processes, where torch has such."""
        network = self.place(network)
        if self.world == 1 or self.device.type != "cuda":
            return network
        convert: Callable[[PhraseClick], PhraseClick] = nn.SyncBatchNorm.convert_sync_batchnorm
        return convert(network)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean; what has none anywhere keeps none."""
        if self.world == 1:
            return
        learned = [each for each in parameters if each.requires_grad]
        present = torch.tensor([float(p.grad is not None) for p in learned], device=self.device)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
        flat = torch.cat([present, *(part.reshape(-1) for part in parts)])
        distributed.all_reduce(flat)
        found, *means = torch.split(flat, [len(learned), *(part.numel() for part in parts)])
        for parameter, part, mean, count in zip(learned, parts, means, found.tolist(), strict=True):
            # Copied, so that a gradient keeps its parameter's layout in memory.
            parameter.grad = part.copy_(mean.view_as(part) / self.world) if count else None

    def average_buffers(self, *modules: nn.Module) -> None:
        """Replace running statistics and counts by their means."""
        if self.world == 1:
            return
        buffers = [b for module in modules for b in module.buffers() if b.is_floating_point()]
        flat = torch.cat([buffer.reshape(-1) for buffer in buffers])
        distributed.all_reduce(flat)
        for buffer, mean in zip(
            buffers, torch.split(flat, [b.numel() for b in buffers]), strict=True
        ):
            buffer.copy_(mean.view_as(buffer) / self.world)

    def mean(self, values: Sequence[float]) -> list[float]:
        """The mean of each over all processes, the same number to the bit in each of them."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        means: list[float] = (total / self.world).tolist()
        return means

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            distributed.barrier()


def device_for(name: str) -> torch.device:
    """The device that a recipe names; "auto" is a GPU where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError(
            'train.device is "cuda", but torch sees no GPU here; "auto" takes what is.'
        )
    on_gpu = name != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun started; alone where it did not."""
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
