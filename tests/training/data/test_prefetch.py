"""Prefetched batches are those that were ordered, in order, by a thread or by processes."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.data import PackDataset
from training.data.batch import Batch
from training.data.batches import Batches
from training.data.prefetch import PROCESS_AHEAD, THREAD_AHEAD, Order, made_ahead, workers_for
from training.errors import DataError
from training.train.recipe import read_recipe


@pytest.fixture
def batches(shard: Path, recipe_file: Path) -> Batches:
    return Batches(PackDataset([shard]), read_recipe(recipe_file))


def orders(count: int) -> Iterator[Order]:
    return ((step, 96 if step % 2 else 64) for step in range(count))


def same(one: Batch, other: Batch) -> bool:
    tensors = ("image", "picture_index", "target", "void", "coarse_source")
    return (
        all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)
        and one.questions == other.questions
        and one.keys == other.keys
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_made_ahead_is_what_would_be_made_on_the_spot(
    batches: Batches, workers: int
) -> None:
    made = list(made_ahead(batches.make, orders(5), workers))
    assert len(made) == 5
    for order, batch in zip(orders(5), made, strict=True):
        assert same(batch, batches.make(*order))


@pytest.mark.parametrize("workers", [0, 2])
def test_no_more_is_made_than_a_few_ahead(batches: Batches, workers: int) -> None:
    # given orders without end, of which it is noted how many were asked for
    asked: list[int] = []

    def endless() -> Iterator[Order]:
        for step in itertools.count():
            asked.append(step)
            yield step, 64

    # when
    ahead = made_ahead(batches.make, endless(), workers)
    for _ in range(3):
        next(ahead)
    ahead.close()
    # then
    assert len(asked) <= 3 + max(THREAD_AHEAD, workers * PROCESS_AHEAD) + 1


def broken(step: int, crop: int) -> Batch:
    raise DataError(f"nothing to see in step {step}")


@pytest.mark.parametrize("workers", [0, 1])
def test_what_goes_wrong_there_is_said_here(workers: int) -> None:
    with pytest.raises(DataError, match="step 0"):
        next(made_ahead(broken, orders(3), workers))


def test_a_gpu_gets_processes_and_a_cpu_a_thread() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert workers_for(-1, cpu, cores=16, world=1) == 0
    assert workers_for(-1, gpu, cores=16, world=1) == 15
    assert workers_for(-1, gpu, cores=16, world=4) == 3
    assert workers_for(-1, gpu, cores=2, world=2) == 1
    assert workers_for(5, cpu, cores=2, world=1) == 5
