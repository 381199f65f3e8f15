"""What a source leaves out is never asked for, and never taken for background."""

from __future__ import annotations

import re

import numpy as np
import pytest

from training.data.sample import Sample, SampleObject
from training.data.transforms import cut
from training.prompts.prompts import PromptMaker, PromptRecipe
from training.prompts.scenes import PictureScene, annotated_concepts


def sample(source: str, *objects: tuple[str, tuple[int, int, int, int]]) -> Sample:
    """Objects by category and box (left, top, right, bottom) in a picture of 200 x 120."""
    image = np.full((120, 200, 3), 128, np.uint8)
    instances = np.zeros((120, 200), np.int16)
    about = []
    for number, (category, (left, top, right, bottom)) in enumerate(objects, 1):
        image[top:bottom, left:right] = (40 * number, 200 - 40 * number, 90)
        instances[top:bottom, left:right] = number
        about.append(SampleObject(number, category))
    return Sample("picture", source, image, instances, tuple(about))


def shown(picture: Sample, *, mirrored: bool = False) -> PictureScene:
    box = (0.0, 0.0, 200.0, 120.0)
    return PictureScene(cut(picture, box, 120, 200, mirrored=mirrored, kind="whole"))


@pytest.mark.parametrize("source", ["coco_persons", "persons"])
def test_one_person_of_perhaps_many_is_clicked_and_never_compared(source: str) -> None:
    # given one outlined person on the left; who else is there was not annotated
    scene = shown(sample(source, ("person", (10, 10, 50, 110))))
    recipe = PromptRecipe(both=0.3, phrase_only=0.6, absent=0.1)
    known = annotated_concepts({source: {"person"}})

    made = [PromptMaker(scene, known, recipe, np.random.default_rng(n)).one() for n in range(200)]

    texts = {prompt.phrase.text for prompt in made if prompt is not None and prompt.phrase}
    assert all(prompt is not None and prompt.clickable for prompt in made)
    assert texts <= {"person", "a person", "human", "a human"}
    assert texts


def test_of_a_lone_person_elsewhere_a_place_is_said() -> None:
    scene = shown(sample("voc", ("person", (10, 10, 50, 110))))
    recipe = PromptRecipe(both=1.0, phrase_only=0, absent=0)

    made = [PromptMaker(scene, {}, recipe, np.random.default_rng(n)).one() for n in range(60)]

    assert any(p is not None and p.phrase and "left" in p.phrase.text for p in made)


def test_nothing_is_absent_where_not_all_is_annotated() -> None:
    known = annotated_concepts(
        {"cats": {"cat"}, "facade": {"window"}, "carparts": {"hood"}, "synthetic": {"ring"}}
    )

    assert known == {"synthetic": ("ring",)}


CAR = sample(
    "carparts",
    ("front left door", (10, 20, 60, 100)),
    ("back left door", (70, 20, 120, 100)),
    ("left mirror", (130, 10, 150, 30)),
)


def texts_for(scene: PictureScene, number: int, recipe: PromptRecipe) -> set[str]:
    made = [PromptMaker(scene, {}, recipe, np.random.default_rng(n)).one() for n in range(300)]
    return {p.phrase.text for p in made if p is not None and p.phrase and p.phrase.ids == (number,)}


def test_parts_are_called_by_their_names_which_a_mirror_swaps() -> None:
    recipe = PromptRecipe(both=0.5, phrase_only=0.5, absent=0)
    plain, mirrored = shown(CAR), shown(CAR, mirrored=True)

    assert "left mirror" in texts_for(plain, 3, recipe)
    assert "right mirror" in texts_for(mirrored, 3, recipe)
    assert not any("left mirror" in text for text in texts_for(mirrored, 3, recipe))
    assert "front left door" in texts_for(plain, 1, recipe)
    assert "front right door" in texts_for(mirrored, 1, recipe)


def test_a_side_in_a_name_is_the_only_side_that_is_said() -> None:
    texts = texts_for(shown(CAR), 1, PromptRecipe(both=0.5, phrase_only=0.5, absent=0))

    assert all(len(re.findall("left|right", text)) <= 1 for text in texts), texts


def test_the_bare_noun_means_every_part_of_that_kind() -> None:
    recipe = PromptRecipe(both=0, phrase_only=1.0, absent=0)
    made = [PromptMaker(shown(CAR), {}, recipe, np.random.default_rng(n)).one() for n in range(300)]
    doors = [
        p for p in made if p and p.phrase and re.fullmatch("(all |the )?doors?", p.phrase.text)
    ]

    assert doors
    assert all(p.phrase is not None and p.phrase.ids == (1, 2) for p in doors)
