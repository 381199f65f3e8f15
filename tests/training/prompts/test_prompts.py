"""Each kind of prompt asks for what its target shows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import draw
from training.data import VOID, Expression, PackDataset, Sample, SampleObject
from training.data.transforms import Kind, Tint, ViewShares, cut, random_view
from training.prompts.prompts import Prompt, PromptMaker, PromptRecipe
from training.prompts.scenes import TEAM, PictureScene, annotated_concepts
from training.prompts.written_phrases import AttributeWords

KNOWN: dict[str, tuple[str, ...]] = {"voc": ("boat", "bus", "cat", "dog", "sheep", "train")}
Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


def scene_of(sample: Sample) -> PictureScene:
    height, width = sample.instances.shape
    view = cut(sample, (0, 0, width, height), 96, 160, mirrored=False, kind="whole")
    return PictureScene(view)


def maker(scene: PictureScene, recipe: PromptRecipe, seed: int) -> PromptMaker:
    return PromptMaker(scene, KNOWN, recipe, np.random.default_rng(seed))


def prompts(sample: Sample, recipe: PromptRecipe, count: int = 60) -> list[Prompt]:
    made = [maker(scene_of(sample), recipe, seed).one() for seed in range(count)]
    return [prompt for prompt in made if prompt is not None]


@pytest.fixture
def dogs(shard: Path) -> Sample:
    return PackDataset([shard])[0]


def test_clicks_alone_ask_for_the_clicked_object(dogs: Sample) -> None:
    recipe = PromptRecipe(both=0, phrase_only=0, absent=0, given_mask=0, boxed=0)
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
        absent, *colour = prompt.phrase.attributes
        assert colour or absent in {"boat", "bus", "sheep", "train"}
        assert not prompt.mask.any()


def test_a_label_of_the_team_that_a_picture_lacks_is_asked_for(dogs: Sample) -> None:
    # given a team that labels dogs and nuclei, and a picture with dogs
    known = annotated_concepts({TEAM: ["dog", "nucleus"], "ccp": ["dog", "nucleus"]})
    recipe = PromptRecipe(both=0, phrase_only=0, absent=1)
    scene = scene_of(replace(dogs, source=TEAM))
    # when
    made = [PromptMaker(scene, known, recipe, np.random.default_rng(n)).one() for n in range(20)]
    # then the right answer to "nucleus" is nothing
    asked = {one.phrase.text: one for one in made if one is not None and one.phrase is not None}
    assert "nucleus" in asked
    assert not any(one.mask.any() for one in asked.values())
    # and others, which may lack labels, are not asked
    assert "ccp" not in known


def test_a_dissected_person_is_all_that_is_worn_and_bags_do_not_count() -> None:
    # given
    shapes = [
        (1, (40, 5, 70, 35), (200, 150, 120)),
        (2, (35, 36, 75, 90), (20, 30, 200)),
        (3, (80, 50, 110, 80), (90, 60, 20)),
    ]
    picture, instances = draw(shapes, 160, 96)
    objects = (SampleObject(1, "skin"), SampleObject(2, "dress"), SampleObject(3, "bag"))
    sample = Sample("a", "ccp", picture, instances.astype(np.int16), objects)
    recipe = PromptRecipe(both=1, phrase_only=0, absent=0, whole=1, phrase_first=0)
    # when
    made = prompts(sample, recipe)
    # then the click may lie on one garment, but the answer is the person; a bag is a bag
    named = [prompt for prompt in made if prompt.phrase and prompt.phrase.attributes[0] != "bag"]
    assert named
    for prompt in named:
        assert prompt.phrase is not None
        assert prompt.phrase.attributes == ("person",)
        assert np.array_equal(prompt.mask, np.isin(instances, (1, 2)))
        assert np.array_equal(prompt.void, instances == 3)


def test_regions_of_several_objects_are_not_clicked() -> None:
    picture, instances = draw([(1, (10, 10, 90, 80), (9, 200, 9))], 160, 96)
    for source, expected in (("coco", 0), ("msrc", 20)):
        objects = (SampleObject(1, "sheep", semantic=True),)
        sample = Sample("a", source, picture, instances.astype(np.int16), objects)
        recipe = PromptRecipe(both=0, phrase_only=0, absent=0)
        assert len(prompts(sample, recipe, 20)) == expected


def test_a_changed_phrase_shows_another_objects_mask_as_the_answer_before(dogs: Sample) -> None:
    recipe = PromptRecipe(both=0, phrase_only=1, absent=0, stale_phrase_only=1)
    made = prompts(dogs, recipe)
    stale = [prompt for prompt in made if prompt.given is not None]
    assert stale
    for prompt in stale:
        assert prompt.given is not None
        assert ((prompt.given > 0.5) & prompt.mask).sum() == 0


def test_void_of_the_sample_is_void_of_the_prompt(dogs: Sample) -> None:
    prompt = prompts(dogs, PromptRecipe(), 1)[0]
    view = scene_of(dogs).view
    assert np.array_equal(prompt.void, view.instances == VOID)


SPOKEN = ("left dog", "the dog in red", "first dog", "red dog right behind the fence")


@pytest.fixture
def spoken(dogs: Sample) -> Sample:
    """The dogs, of which people have said something of the left one."""
    first, *others = dogs.objects
    both = Expression("both dogs", (1, 2)), Expression("zebra on the left", ())
    return replace(dogs, objects=(replace(first, phrases=SPOKEN), *others), expressions=both)


def words_of(sample: Sample, *, mirror: bool, kind: Kind = "whole", grey: bool = False) -> set[str]:
    """What people said that is still true in a view of the sample."""
    height, width = sample.instances.shape
    view = cut(sample, (0, 0, width, height), 96, 160, mirrored=mirror, kind=kind)
    tint = Tint(np.arange(256, dtype=np.uint8), 0.0 if grey else 1.0)
    scene = PictureScene(view, tint, AttributeWords(["dog"]))
    return {phrase.text for phrase in scene.human(sample.objects[0])}


def test_words_of_people_are_used_where_they_are_true(spoken: Sample) -> None:
    assert words_of(spoken, mirror=False) == set(SPOKEN)
    # a mirrored picture mirrors its words, or gives them up
    mirrored = {"right dog", "the dog in red", "red dog right behind the fence"}
    assert words_of(spoken, mirror=True) == mirrored
    # a part of the picture makes places untrue
    assert words_of(spoken, mirror=False, kind="part") == {"the dog in red"}
    # and a grey one colours
    assert words_of(spoken, mirror=False, grey=True) == {"left dog", "first dog"}


def test_words_of_people_come_first_and_mean_their_object_alone(spoken: Sample) -> None:
    # given prompts by phrase alone, and by phrase and click
    alone = PromptRecipe(both=0, phrase_only=1, absent=0, human=1)
    both = PromptRecipe(both=1, phrase_only=0, absent=0, human=1)
    view = scene_of(spoken).view
    left = view.soft_mask((1,)) > 0.5
    for recipe in (alone, both):
        said = [p for p in prompts(spoken, recipe) if p.phrase and p.phrase.text in SPOKEN]
        assert said
        for prompt in said:
            assert prompt.phrase is not None
            assert np.array_equal(prompt.mask, left)
        # then every phrase for that dog is one of them
        made = [p for p in prompts(spoken, recipe) if p.phrase and p.phrase.ids == (1,)]
        assert {p.phrase.text for p in made if p.phrase} <= set(SPOKEN)
    # and of several things, or of none, all of them are meant
    texts = {p.phrase.text: p for p in prompts(spoken, alone) if p.phrase}
    assert np.array_equal(texts["both dogs"].mask, view.soft_mask((1, 2)) > 0.5)
    assert not texts["zebra on the left"].mask.any()


@pytest.mark.parametrize("words", ["of people", "made"])
def test_left_and_right_stay_true_in_changed_pictures(spoken: Sample, words: str) -> None:
    # given both dogs with the words of people, or without
    first, second, cat = spoken.objects
    said = (("left dog", "guy's dog on left"), ("right dog",)) if words == "of people" else ((), ())
    dogs = replace(first, phrases=said[0]), replace(second, phrases=said[1])
    sample = replace(spoken, objects=(*dogs, cat), expressions=())
    recipe = PromptRecipe(both=0.5, phrase_only=0.5, absent=0, human=1, whole=0)
    heard = set()
    for seed in range(250):
        # when it is cropped, flipped and tinted at random
        rng = np.random.default_rng(seed)
        tint = Tint.draw(rng)
        view = random_view(sample, 96, 128, rng, ViewShares(0.4, 0.3))
        scene = PictureScene(replace(view, image=tint(view.image)), tint, AttributeWords(["dog"]))
        prompt = PromptMaker(scene, KNOWN, recipe, rng).one()
        if prompt is None or prompt.phrase is None or not {1, 2} <= set(np.unique(view.instances)):
            continue
        sides = set(prompt.phrase.text.split()) & {"left", "right"}
        if not sides or prompt.phrase.ids not in ((1,), (2,)):
            continue
        # then the dog on that side of the picture as it is shown is the one that is meant
        (side,) = sides
        on_left, on_right = (2, 1) if view.mirrored else (1, 2)
        meant = on_left if side == "left" else on_right
        assert prompt.phrase.ids == (meant,), prompt.phrase.text
        assert np.array_equal(prompt.mask, view.soft_mask((meant,)) > 0.5)
        heard.add((side, view.mirrored))
    assert heard == {(side, mirror) for side in ("left", "right") for mirror in (False, True)}


def test_the_clicks_of_people_are_used_if_they_are_in_the_view(dogs: Sample) -> None:
    # given a dog with two clicks of a person, and one that the mask contradicts
    rows, columns = np.nonzero(dogs.mask(1))
    x, y = float(columns.mean()), float(rows.mean())
    clicks = ((x, y, True), (150.0, 100.0, False), (x, y, False))
    about = replace(dogs.objects[0], clicks=clicks)
    sample = replace(dogs, objects=(about,))
    recipe = PromptRecipe(both=0, phrase_only=0, absent=0, people=1.0, boxed=0, given_mask=0)
    width = sample.instances.shape[1]
    for mirrored in (False, True):
        view = cut(sample, (0, 0, width, 120), 240, 2 * width, mirrored=mirrored, kind="whole")
        # when
        made = [maker(PictureScene(view), recipe, seed).one() for seed in range(20)]
        # then they come in order, in the view's pixels, from the first one on
        at = [(2 * width - 2 * x if mirrored else 2 * x), 2 * y]
        there = [(2 * width - 300.0 if mirrored else 300.0), 200.0]
        assert {len(prompt.clicks) for prompt in made if prompt} == {1, 2}
        for prompt in made:
            assert prompt is not None
            assert prompt.clicks[0] == pytest.approx((*at, 1))
            if len(prompt.clicks) > 1:
                assert prompt.clicks[1] == pytest.approx((*there, -1))
    # and a view of something else falls back to simulated clicks
    aside = cut(sample, (80.0, 0.0, float(width), 60.0), 96, 128, mirrored=False, kind="part")
    assert maker(PictureScene(aside), recipe, 0).one() is None


def test_a_bare_name_that_was_typed_for_one_of_several_means_all_alone(dogs: Sample) -> None:
    # given two dogs, one of them with its name typed beside a click
    named = tuple(
        replace(about, phrases=("dog",)) if about.id == 1 else about for about in dogs.objects
    )
    recipe = PromptRecipe(both=0, phrase_only=1, absent=0, human=1.0, stale_phrase_only=0)
    # when
    made = prompts(replace(dogs, objects=named), recipe)
    bare = [prompt for prompt in made if prompt.phrase and prompt.phrase.text == "dog"]
    # then
    assert bare
    assert all(prompt.phrase is not None and set(prompt.phrase.ids) == {1, 2} for prompt in bare)


def test_a_box_is_drawn_around_the_target_and_some_have_no_click(dogs: Sample) -> None:
    recipe = PromptRecipe(boxed=1.0, box_only=0.5, absent=0, given_mask=0)
    made = [prompt for prompt in prompts(dogs, recipe) if prompt.clickable]
    assert {bool(prompt.clicks) for prompt in made} == {True, False}
    for prompt in made:
        assert prompt.box is not None
        assert prompt.mask.any()


def test_a_given_mask_is_wrong_at_the_last_click(dogs: Sample) -> None:
    recipe = PromptRecipe(both=0.5, phrase_only=0, absent=0, given_mask=1.0, boxed=0)
    made = [prompt for prompt in prompts(dogs, recipe) if prompt.given_when == "first"]
    assert len(made) > 20
    for prompt in made:
        assert prompt.given is not None
        x, y, sign = prompt.clicks[-1]
        shown = prompt.given[int(y), int(x)] > 0.5
        assert prompt.mask[int(y), int(x)] != shown
        assert (sign > 0) == prompt.mask[int(y), int(x)]


def test_one_click_on_a_part_is_asked_about_by_the_name_of_the_part_and_of_the_whole() -> None:
    # given a cap that lies on a person
    shapes = [(1, (20, 5, 140, 90), (200, 150, 120)), (2, (60, 20, 100, 50), (20, 30, 200))]
    picture, instances = draw(shapes, 160, 96)
    objects = (SampleObject(1, "person"), SampleObject(2, "cup"))
    whole = {1: instances > 0}
    sample = Sample("a", "voc", picture, instances.astype(np.int16), objects, (), whole)
    recipe = PromptRecipe(both=1, phrase_only=0, absent=0, twins=1, boxed=0, given_mask=0)
    # when
    twins = 0
    for seed in range(60):
        made = maker(scene_of(sample), recipe, seed).several(2)
        if len(made) < 2 or not made[1].clicks or made[0].clicks[:1] != made[1].clicks:
            continue
        # then both answers are right by their own names, and the click lies in both
        first, second = made
        twins += 1
        assert first.phrase is not None
        assert second.phrase is not None
        assert first.phrase.ids != second.phrase.ids
        x, y, _ = first.clicks[0]
        assert first.mask[int(y), int(x)]
        assert second.mask[int(y), int(x)]
    assert twins > 5
