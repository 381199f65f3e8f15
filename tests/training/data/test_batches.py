"""Batches depend on seed and step only, and pass over unreadable pictures."""

from pathlib import Path

import pytest

from training.data import PackDataset, Sample
from training.data.batches import Batches, view_size
from training.errors import DataError, RecipeError
from training.train.recipe import Recipe, TrainRecipe, read_recipe


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
