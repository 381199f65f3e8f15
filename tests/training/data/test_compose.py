"""A composed picture shows two of a kind, and its masks and words fit what it shows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.conftest import BLUE, RED, Pictures
from training.data.compose import Composer, beside, pasted
from training.data.sample import VOID, Sample, SampleObject
from training.prompts.scenes import Scene


def one_dog(key: str, colour: tuple[int, int, int], *, source: str = "voc") -> Sample:
    """A dog of one colour on grey, in the middle of a picture."""
    image = np.full((96, 128, 3), 128, np.uint8)
    instances = np.zeros((96, 128), np.int16)
    instances[25:70, 40:90] = 1
    image[instances == 1] = colour
    return Sample(key, source, image, instances, (SampleObject(1, "dog", phrases=("the dog",)),))


def colours_of(sample: Sample) -> set[tuple[int, ...]]:
    """The colour in the deep inside of each object."""
    colours = set()
    for about in sample.objects:
        mask: NDArray[np.bool_] = sample.mask(about.id)
        assert mask.any()
        colours.add(tuple(np.median(sample.image[mask], axis=0).round(-1).astype(int).tolist()))
    return colours


RED_AND_BLUE = {
    tuple(np.round(np.array(colour), -1).astype(int).tolist()) for colour in (RED, BLUE)
}


@pytest.mark.parametrize("seed", range(12))
def test_beside_each_other_both_are_there_and_left_is_left(seed: int) -> None:
    first, second = one_dog("a", RED), one_dog("b", BLUE)

    both = beside(first, second, "dog", np.random.default_rng(seed))

    assert both.image.shape == first.image.shape
    assert len({about.id for about in both.objects}) == 2
    assert colours_of(both) == RED_AND_BLUE
    scene = Scene(both.image, both.instances, both.objects)
    facts = {
        fact.attributes[0]: tuple(
            np.median(both.image[both.mask(one.about.id)], axis=0).round(-1).astype(int).tolist()
        )
        for one in scene.seen
        for fact in scene.facts(one)
        if fact.unique
    }
    # Its own colour is a fact that tells the red dog from the blue one.
    assert facts["red"] != facts["blue"]


@pytest.mark.parametrize("seed", range(12))
def test_a_pasted_object_covers_what_was_there(seed: int) -> None:
    first, second = one_dog("a", RED), one_dog("b", BLUE)

    both = pasted(first, second, "dog", np.random.default_rng(seed))

    new = [about for about in both.objects if about.id != 1]
    assert len(new) == 1
    covered = both.mask(new[0].id)
    assert tuple(np.median(both.image[covered], axis=0).round(-1).astype(int)) in RED_AND_BLUE
    assert not (covered & both.mask(1)).any()
    old, seen = first.mask(1), both.mask(1)
    assert not (seen & ~old).any()
    if not any(about.id == 1 for about in both.objects):
        assert (both.instances[old & ~covered] == VOID).all()


def test_what_people_said_of_one_picture_is_not_said_of_two() -> None:
    rng = np.random.default_rng(0)
    for join in (beside, pasted):
        both = join(one_dog("a", RED), one_dog("b", BLUE), "dog", rng)
        assert all(about.phrases == () for about in both.objects)


def test_only_pictures_with_the_same_kind_of_thing_are_joined() -> None:
    cat = Sample(
        "c",
        "voc",
        one_dog("c", BLUE).image,
        one_dog("c", BLUE).instances,
        (SampleObject(1, "cat"),),
    )
    composer = Composer(Pictures([one_dog("a", RED), cat]))
    assert len(composer.composed(one_dog("a", RED), np.random.default_rng(0)).objects) == 1


def test_regions_that_cannot_be_counted_stay_as_they_are() -> None:
    meadow = one_dog("a", RED, source="msrc")
    composer = Composer(Pictures([meadow, one_dog("b", BLUE, source="msrc")]))
    assert composer.composed(meadow, np.random.default_rng(0)) is meadow


def covered_dog(key: str) -> Sample:
    """A dog behind a cat: the map shows the cat, the dog's own mask is kept whole."""
    image = np.full((96, 128, 3), 128, np.uint8)
    dog = np.zeros((96, 128), bool)
    dog[20:80, 30:100] = True
    instances = np.where(dog, 1, 0).astype(np.int16)
    instances[40:60, 50:80] = 2
    image[dog], image[instances == 2] = RED, BLUE
    objects = (SampleObject(1, "dog"), SampleObject(2, "cat"))
    return Sample(key, "coco", image, instances, objects, masks={1: dog})


@pytest.mark.parametrize("seed", range(8))
def test_a_covered_object_keeps_its_whole_mask(seed: int) -> None:
    first, second = covered_dog("a"), covered_dog("b")
    for join in (beside, pasted):
        both = join(first, second, "dog", np.random.default_rng(seed))
        for number, mask in both.masks.items():
            colours = both.image[mask].astype(int)
            cat = (np.abs(colours - np.array(BLUE)).sum(1) < 60).mean()
            assert (both.instances[mask] == number).any()
            # A fifth of the dog is behind the cat, and belongs to its mask all the same.
            assert join is pasted or cat > 0.05
        if join is beside:
            assert len(both.masks) == 2
