"""Batches made ahead, so that the network never waits for pictures; always in the order asked for.

On a CPU one thread is enough, since the network leaves little time of it idle. A GPU eats batches
faster than one Python can make them: there several processes make them (torch's DataLoader). What
comes out is the same, for a batch depends on its step alone.
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
# Batches ready or in the making, for the thread and for each process.
THREAD_AHEAD = 2
PROCESS_AHEAD = 3


def made_ahead(
    make: Make, orders: Iterator[Order], workers: int, *, pinned: bool = False
) -> Generator[Batch]:
    """The batches of these orders. workers: processes that make them; 0 is a thread of this one.

    Orders are asked for a few batches before their batch is handed out.
    """
    if workers > 0:
        return _by_processes(make, orders, workers, pinned=pinned)
    return _by_thread(make, orders)


def workers_for(wanted: int, device: torch.device, cores: int, world: int) -> int:
    """How many processes: as wanted, or -1 for as many as the machine has cores to spare."""
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
        # The loader draws a seed for its workers, which nothing here needs: not from the run's own.
        generator=torch.Generator(),
    )
    yield from loader


class _Made(MapDataset[Batch]):
    """What a DataLoader asks for by "index": an order."""

    def __init__(self, make: Make) -> None:
        self._make = make

    def __getitem__(self, order: Order) -> Batch:
        return self._make(*order)


def _as_it_is(batch: Any) -> Any:
    return batch
