"""Synthetic scenes: without end, the same for one number, with masks that are exact."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from training.data import open_dataset
from training.data.batches import Batches
from training.data.synthetic import LEAST_PIXELS, SOURCE, SyntheticDataset
from training.data.wrappers import endless
from training.errors import DataError
from training.prompts.vocabulary import concept_of
from training.train.recipe import DataRecipe, Recipe, TrainRecipe

NUMBERS = [0, 1, 17, 2**40, 2**62, *range(100, 115)]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_scene_of_one_number_is_the_same_in_every_data_set_of_that_seed(number: int) -> None:
    one, other = (SyntheticDataset(5).made(number, 96, 128) for _ in range(2))

    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.instances, other.instances)
    assert one.objects == other.objects


def test_another_seed_and_another_number_give_another_scene() -> None:
    scene = SyntheticDataset(5).made(3, 96, 128)

    for other in (SyntheticDataset(6).made(3, 96, 128), SyntheticDataset(5).made(4, 96, 128)):
        assert not np.array_equal(scene.image, other.image)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_object_is_visible_and_every_pixel_belongs_to_one_at_most(number: int) -> None:
    scene = SyntheticDataset(7).made(number, 160, 192)
    ids = [about.id for about in scene.objects]

    assert scene.image.shape == (160, 192, 3)
    assert scene.image.dtype == np.uint8
    assert len(set(ids)) == len(ids) <= 250
    assert set(np.unique(scene.instances)) - {0, -1} == set(ids)
    for about in scene.objects:
        assert scene.mask(about.id).sum() >= LEAST_PIXELS
        assert about.category in SyntheticDataset(7).categories


def test_a_whole_holds_its_parts_and_nothing_else() -> None:
    scenes = (SyntheticDataset(1).made(number, 160, 192) for number in range(400))
    with_parts = [scene for scene in scenes if scene.masks][:5]

    assert with_parts
    for scene in with_parts:
        kinds = {about.id: about.category for about in scene.objects}
        for number, mask in scene.masks.items():
            inside = set(np.unique(scene.instances[mask])) - {number}
            assert (scene.instances[~mask] != number).all()
            assert {kinds.get(i, "nucleus") for i in inside} <= {"nucleus"}


def test_the_borders_of_things_show_in_the_picture() -> None:
    # Across a border colours change more than within a thing: in nearly all scenes, clearly.
    stronger = []
    for number in range(60):
        scene = SyntheticDataset(3).made(number, 160, 192)
        step = np.abs(np.diff(scene.image.astype(float), axis=1)).sum(2)
        border = np.diff(scene.instances, axis=1) != 0
        if border.sum() > 50:
            stronger.append(step[border].mean() > 1.3 * step[~border].mean())

    assert np.mean(stronger) > 0.85


def test_read_by_index_scenes_have_the_size_that_is_said_and_are_the_first_of_the_sequence() -> (
    None
):
    dataset = SyntheticDataset(2, count=6)

    for index in range(len(dataset)):
        width, height = dataset.size(index)
        assert dataset[index].instances.shape == (height, width)
        assert dataset.objects(index) == dataset[index].objects
        assert np.array_equal(dataset[index].image, dataset.made(index, height, width).image)


def test_patches_of_photographs_are_used_and_leave_scenes_determined() -> None:
    photographs = SyntheticDataset(9, count=4)
    plain, patched = SyntheticDataset(1), SyntheticDataset(1, patches=photographs)
    again = SyntheticDataset(1, patches=photographs)
    differing = 0
    for number in range(30):
        scene = patched.made(number, 64, 96)
        assert np.array_equal(scene.image, again.made(number, 64, 96).image)
        differing += not np.array_equal(scene.image, plain.made(number, 64, 96).image)

    assert 0 < differing < 30


def test_nothing_is_called_absent_on_a_photograph() -> None:
    patched = SyntheticDataset(1, patches=SyntheticDataset(9, count=4))

    sources = {patched.made(number, 32, 32).source for number in range(40)}

    assert SOURCE in sources
    assert len(sources) == 2


def test_kinds_are_under_their_own_names() -> None:
    assert all(concept_of(kind) == kind for kind in SyntheticDataset().categories)


class TestOpening:
    def test_is_opened_without_a_path(self) -> None:
        dataset = open_dataset(["synthetic:?seed=4&count=7"])

        assert len(dataset) == 7
        assert set(dataset.sources) == {"synthetic"}
        assert np.array_equal(dataset[2].image, SyntheticDataset(4)[2].image)

    @pytest.mark.parametrize(
        "place", ["synthetic:somewhere?seed=1", "synthetic:?seed=one", "synthetic:?sides=3"]
    )
    def test_says_what_is_wrong(self, place: str) -> None:
        with pytest.raises(DataError):
            open_dataset([place])


class TestTraining:
    recipe = Recipe(
        data=DataRecipe(weights={"synthetic": 1.0}),
        train=TrainRecipe(steps=9, pictures=4, prompts=2, crop=96, seed=3),
    )

    def test_batches_are_scenes_made_at_the_size_of_the_step(self) -> None:
        batches = Batches(open_dataset(["synthetic:?seed=4"]), self.recipe)
        keys = set()
        for step in range(6):
            batch = batches.make(step, 96)
            assert batch.image.shape[2] * batch.image.shape[3] in (96 * 96, 64 * 128)
            keys.update(batch.keys)

        assert len(keys) == 24  # no scene comes twice

    def test_sources_are_drawn_by_weight(self) -> None:
        dataset = open_dataset(["synthetic:?seed=4", "synthetic:?seed=5&source=other"])
        recipe = dataclasses.replace(
            self.recipe, data=DataRecipe(weights={"synthetic": 1.0, "other": 0.0})
        )
        keys = {key for step in range(5) for key in Batches(dataset, recipe).make(step, 64).keys}

        assert endless(dataset, 0) is not endless(dataset, len(dataset) - 1)
        assert all(key.startswith("synthetic-4-") for key in keys)
