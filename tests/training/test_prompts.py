"""Each kind of prompt asks for what its target shows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from training.augment import cut
from training.batches import Batches, view_size
from training.datasets import VOID, PackDataset, Sample, SampleObject
from training.errors import RecipeError
from training.prompts import PictureScene, Prompt, PromptRecipe, annotated_concepts, make_prompt
from training.recipe import Recipe, TrainRecipe, read_recipe

KNOWN = {"voc": ("boat", "bus", "cat", "dog", "sheep", "train")}
Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


def scene_of(sample: Sample) -> PictureScene:
    height, width = sample.instances.shape
    view = cut(sample, (0, 0, width, height), 96, 160, mirrored=False, kind="whole")
    return PictureScene(view)


def prompts(sample: Sample, recipe: PromptRecipe, count: int = 60) -> list[Prompt]:
    made = [
        make_prompt(scene_of(sample), KNOWN, recipe, np.random.default_rng(i)) for i in range(count)
    ]
    return [prompt for prompt in made if prompt is not None]


@pytest.fixture
def dogs(shard: Path) -> Sample:
    return PackDataset([shard])[0]


def test_clicks_alone_ask_for_the_clicked_object(dogs: Sample) -> None:
    recipe = PromptRecipe(both=0, phrase_only=0, absent=0)
    for prompt in prompts(dogs, recipe):
        assert prompt.phrase is None
        assert prompt.clickable
        assert any(sign > 0 for _, _, sign in prompt.clicks)
        for x, y, sign in prompt.clicks:
            assert prompt.mask[int(y), int(x)] == (sign > 0)


def test_clicks_with_a_name_ask_for_one_even_among_several(dogs: Sample) -> None:
    recipe = PromptRecipe(both=1, phrase_only=0, absent=0, phrase_first=0, stale_clicked=0)
    bare = [p for p in prompts(dogs, recipe, 150) if p.phrase and p.phrase.text == "dog"]
    assert bare
    whole = scene_of(dogs).view
    one = [whole.soft_mask((number,)) > 0.5 for number in (1, 2)]
    for prompt in bare:
        assert any(np.array_equal(prompt.mask, mask) for mask in one)


def test_a_bare_name_alone_asks_for_all_and_a_telling_phrase_for_one(dogs: Sample) -> None:
    recipe = PromptRecipe(both=0, phrase_only=1, absent=0)
    view = scene_of(dogs).view
    for prompt in prompts(dogs, recipe, 120):
        assert not prompt.clickable
        assert prompt.clicks == []
        assert prompt.phrase is not None
        assert np.array_equal(prompt.mask, view.soft_mask(prompt.phrase.ids) > 0.5)
        if prompt.phrase.text in ("dog", "dogs", "the dogs", "all dogs"):
            assert prompt.phrase.ids == (1, 2)
        if "left" in prompt.phrase.text.split() and prompt.phrase.attributes[0] == "dog":
            assert prompt.phrase.ids == (1,)


def test_what_is_not_there_asks_for_nothing(dogs: Sample) -> None:
    recipe = PromptRecipe(both=0, phrase_only=0, absent=1)
    made = prompts(dogs, recipe)
    assert len(made) == 60
    for prompt in made:
        assert prompt.phrase is not None
        assert prompt.phrase.attributes[0] in {"boat", "bus", "sheep", "train"}
        assert not prompt.mask.any()


def test_a_dissected_person_is_all_that_is_worn_and_bags_do_not_count(drawn: Draw) -> None:
    # given
    shapes = [
        (1, (40, 5, 70, 35), (200, 150, 120)),
        (2, (35, 36, 75, 90), (20, 30, 200)),
        (3, (80, 50, 110, 80), (90, 60, 20)),
    ]
    picture, instances = drawn(shapes, 160, 96)
    objects = (SampleObject(1, "skin"), SampleObject(2, "dress"), SampleObject(3, "bag"))
    sample = Sample("a", "ccp", picture, instances.astype(np.int16), objects)
    recipe = PromptRecipe(both=1, phrase_only=0, absent=0, whole_person=1, phrase_first=0)
    # when
    made = prompts(sample, recipe)
    # then the click may lie on one garment, but the answer is the person
    assert made
    for prompt in made:
        assert prompt.phrase is not None
        assert prompt.phrase.attributes == ("person",)
        assert np.array_equal(prompt.mask, np.isin(instances, (1, 2)))
        assert np.array_equal(prompt.void, instances == 3)


def test_regions_of_several_objects_are_not_clicked(drawn: Draw) -> None:
    picture, instances = drawn([(1, (10, 10, 90, 80), (9, 200, 9))], 160, 96)
    for source, expected in (("coco", 0), ("msrc", 20)):
        objects = (SampleObject(1, "sheep", semantic=True),)
        sample = Sample("a", source, picture, instances.astype(np.int16), objects)
        recipe = PromptRecipe(both=0, phrase_only=0, absent=0)
        assert len(prompts(sample, recipe, 20)) == expected


def test_a_changed_phrase_shows_another_objects_mask_as_the_answer_before(dogs: Sample) -> None:
    recipe = PromptRecipe(both=0, phrase_only=1, absent=0, stale_phrase_only=1)
    made = prompts(dogs, recipe)
    stale = [prompt for prompt in made if prompt.stale is not None]
    assert stale
    for prompt in stale:
        assert prompt.stale is not None
        assert ((prompt.stale > 0.5) & prompt.mask).sum() == 0


def test_void_of_the_sample_is_void_of_the_prompt(dogs: Sample) -> None:
    prompt = prompts(dogs, PromptRecipe(), 1)[0]
    view = scene_of(dogs).view
    assert np.array_equal(prompt.void, view.instances == VOID)


def test_only_sources_that_leave_nothing_out_can_say_that_something_is_absent() -> None:
    known = annotated_concepts({"voc": {"sofa", "aeroplane"}, "ecssd": {"dog"}})
    assert known == {"voc": ("airplane", "sofa")}


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


def test_wide_pictures_make_wide_views() -> None:
    assert view_size(256, "wide") == (224, 288)
    assert view_size(256, "upright") == (288, 224)
    assert view_size(256, "square") == (256, 256)


def test_data_without_any_weighted_source_is_refused(shard: Path) -> None:
    recipe = Recipe(train=TrainRecipe(steps=1))
    with pytest.raises(RecipeError, match="weight"):
        Batches(PackDataset([shard]), recipe)
