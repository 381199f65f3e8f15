"""Batches depend on seed and step only, and pass over unreadable pictures."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training.conftest import read_recipe
from training.data import PackDataset, Sample
from training.data.batches import (
    PROCESS_AHEAD,
    THREAD_AHEAD,
    Batches,
    Order,
    made_ahead,
    view_size,
    workers_for,
)
from training.errors import DataError, RecipeError
from training.prompts.questions import Batch
from training.train.recipe import Recipe, TrainRecipe


def test_a_batch_depends_on_seed_and_step_alone(shard: Path, recipe_file: Path) -> None:
    # given
    recipe = read_recipe(recipe_file)
    first, second = (Batches(PackDataset([shard]), recipe) for _ in range(2))
    # when one has made other batches before
    for step in (0, 1):
        first.make(step, 96)
    one, same, other = first.make(5, 96), second.make(5, 96), second.make(6, 96)
    # then
    assert bool((one.image == same.image).all())
    assert bool((one.target == same.target).all())
    assert [q.clicks for q in one.questions] == [q.clicks for q in same.questions]
    assert one.image.shape == (2, 3, 64, 128)
    assert not bool((one.image == other.image).all())


def test_a_broken_picture_is_passed_over_and_counted(
    shard: Path, recipe_file: Path, tmp_path: Path
) -> None:
    # given a shard of which one picture in two cannot be decoded
    class Half(PackDataset):
        def __getitem__(self, index: int) -> Sample:
            if index % 2:
                raise DataError(f"Sample {index} cannot be decoded.")
            return super().__getitem__(index)

    recipe = read_recipe(recipe_file)
    batches = Batches(Half([shard]), recipe)
    # when
    made = [batches.make(step, 96) for step in range(5)]
    # then every batch is full, and says what it lacks
    assert all(len(batch.keys) == recipe.train.pictures for batch in made)
    broken = {error for batch in made for error in batch.passed_over}
    assert broken
    assert broken <= {f"Sample {index} cannot be decoded." for index in (1, 3, 5)}

    # and if nothing can be read, the error names the last one
    class Nothing(PackDataset):
        def __getitem__(self, index: int) -> Sample:
            raise DataError("The drive is away.")

    with pytest.raises(DataError, match=r"in a row.*The drive is away"):
        Batches(Nothing([shard]), recipe).make(0, 96)


def test_wide_pictures_make_wide_views() -> None:
    assert view_size(256, "wide") == (224, 288)
    assert view_size(256, "upright") == (288, 224)
    assert view_size(256, "square") == (256, 256)


def test_data_without_any_weighted_source_is_refused(shard: Path) -> None:
    recipe = Recipe(train=TrainRecipe(steps=1))
    with pytest.raises(RecipeError, match="weight"):
        Batches(PackDataset([shard]), recipe)


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
