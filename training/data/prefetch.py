"""Prefetching: batches are made in advance, in order, so that the network never waits for pictures.

On a CPU one thread is enough. A GPU needs batches faster than one Python process can make them, so
several processes make them (torch's DataLoader). The batches are the same in both cases, since a
batch depends only on its step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from training.data.batch import Batch

Make = Callable[[int, int], Batch]
Order = tuple[int, int]  # the step, and the size of its views
# Batches in advance, for the thread and for each process.
THREAD_AHEAD = 2
PROCESS_AHEAD = 3


def made_ahead(
    make: Make, orders: Iterator[Order], workers: int, *, pinned: bool = False
) -> Generator[Batch]:
    """The batches of these orders, which are drawn a few batches in advance.

    workers: number of processes; 0: a thread of this process. pinned: page-locked memory, for a
    GPU.
    """
    if workers > 0:
        return _by_processes(make, orders, workers, pinned=pinned)
    return _by_thread(make, orders)


def workers_for(wanted: int, device: torch.device, cores: int, world: int) -> int:
    """The number of processes: ``wanted``, or for -1 as many as the machine has cores to spare."""
    if wanted >= 0:
        return wanted
    return 0 if device.type == "cpu" else max(1, min(16, cores // max(world, 1) - 1))


def _by_thread(make: Make, orders: Iterator[Order]) -> Generator[Batch]:
    pool = ThreadPoolExecutor(1, "batches")
    waiting: deque[Future[Batch]] = deque()
    try:
        for step, crop in orders:
            waiting.append(pool.submit(make, step, crop))
            if len(waiting) > THREAD_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _by_processes(
    make: Make, orders: Iterator[Order], workers: int, *, pinned: bool
) -> Generator[Batch]:
    loader: DataLoader[Batch] = DataLoader(
        _Made(make),
        batch_size=None,
        sampler=orders,
        num_workers=workers,
        prefetch_factor=PROCESS_AHEAD,
        collate_fn=_as_it_is,
        pin_memory=pinned,
        # The loader draws a seed for its workers; this must not advance the run's own generator.
        generator=torch.Generator(),
    )
    yield from loader


class _Made(MapDataset[Batch]):
    """A map-style data set whose indices are orders."""

    def __init__(self, make: Make) -> None:
        self._make = make

    def __getitem__(self, order: Order) -> Batch:
        return self._make(*order)


def _as_it_is(batch: Any) -> Any:
    return batch
