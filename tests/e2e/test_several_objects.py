"""More than one object on a picture: new ones, the last one made larger or smaller, submitting."""

import pytest

from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import CAT, COFFEE, COINS
from tests.e2e.regions import at, decode, iou
from tests.e2e.studio import Studio

PERSON, CAT_KEY, DOG, CUP, ADD, REMOVE = "1", "2", "3", "6", "a", "s"
PROMPTS = ("positive_click", "negative_click", "phrase")


@pytest.mark.parametrize("auto_accept", [False, True], ids=["accept_by_hand", "auto_accept"])
def test_what_the_page_shows_is_what_label_studio_stores(
    studio: Studio, page: AnnotatorPage, *, auto_accept: bool
) -> None:
    # given two objects on one picture, made one after the other
    task = studio.task(COFFEE)
    page.open(studio.project(), task, auto_accept=auto_accept)
    page.click(50, 35, CUP)
    if not auto_accept:
        page.accept()
    first = page.only()
    page.click(59, 71, CUP)
    if not auto_accept:
        page.accept()
    # then there are two masks, each with its click, the first untouched
    regions = page.regions()
    assert len(regions) == 2
    assert not any(region.suggested for region in regions)
    assert iou(regions[0].mask, first.mask) == 1.0
    assert at(regions[0].mask, 50, 35)
    assert at(regions[1].mask, 59, 71)
    # and the screen shows both
    shown = regions[0].mask | regions[1].mask
    assert iou(page.painted(COFFEE.width, COFFEE.height), shown) > 0.95
    # when the annotator submits
    page.picture("before_submit")
    page.submit()
    # then the annotation holds one brush region for each, exactly as shown
    (annotation,) = studio.api.annotations(task)
    stored = [item for item in annotation["result"] if item["type"] == "brushlabels"]
    assert [item["id"] for item in stored] == [region.id for region in regions]
    for item, region in zip(stored, regions, strict=True):
        assert item["value"]["brushlabels"] == ["Cup"]
        assert iou(decode(item), region.mask) >= 0.99
    # and no key point is left over
    assert not [item for item in annotation["result"] if item["type"] == "keypointlabels"]


def test_opening_and_submitting_count_no_prompts(studio: Studio, page: AnnotatorPage) -> None:
    # given a task that was opened, twice
    task = studio.task(CAT)
    page.open(studio.project(), task)
    page.open(studio.project(), task)
    assert studio.backend.events(task) == []
    # when it is clicked once and spoken to once, accepted and submitted
    page.click(55, 45, CAT_KEY)
    page.say("the cat")
    page.accept()
    page.submit()
    page.open(studio.project(), task)
    # then the log holds that click and that phrase, answered, and no prompt else
    events = [event for event in studio.backend.events(task) if event["kind"] in PROMPTS]
    assert [(event["kind"], event["text"]) for event in events] == [
        ("positive_click", ""),
        ("phrase", "the cat"),
    ]
    assert all(event["milliseconds"] > 0 and event["model_version"] for event in events)


def test_the_last_object_is_refined_after_it_was_accepted(
    studio: Studio, page: AnnotatorPage
) -> None:
    # given an accepted mask of the cat
    page.open(studio.project(), studio.task(CAT))
    page.click(55, 45, CAT_KEY)
    page.accept()
    first = page.only()
    # when a place in it is clicked with "- last object" (Ctrl clicks through the mask)
    page.click(60, 75, REMOVE, keys=("Control",))
    page.picture("smaller")
    page.accept()
    # then it is the same region, smaller, of the same class
    smaller = page.only()
    assert smaller.id == first.id
    assert smaller.label == "Cat"
    assert not at(smaller.mask, 60, 75)
    # and with "+ last object" the place comes back
    page.click(60, 75, ADD)
    page.accept()
    larger = page.only()
    assert larger.id == first.id
    assert larger.label == "Cat"
    assert at(larger.mask, 60, 75)


def test_with_auto_accept_each_click_counts_though_only_the_newest_is_sent(
    studio: Studio, page: AnnotatorPage
) -> None:
    # given Auto-Accept, and a click that made a mask at once
    task = studio.task(CAT)
    page.open(studio.project(), task, auto_accept=True)
    page.click(55, 45, CAT_KEY)
    first = page.only()
    assert not first.suggested
    assert page.clicks_on_page() == 0
    # when a part is taken away with Ctrl+Alt, and more is added to the last object
    page.click(60, 75, CAT_KEY, keys=("Control", "Alt"))
    page.click(25, 80, ADD, keys=("Control",))
    # then all three clicks make one mask
    region = page.only()
    assert region.id == first.id
    assert region.label == "Cat"
    assert page.status.startswith("3 clicks, 1 negative → Cat")
    assert at(region.mask, 25, 80)
    assert not at(region.mask, 60, 75)
    # and a phrase refines the same one
    page.say("the face of the cat")
    assert page.only().id == first.id
    assert page.status.startswith("3 clicks, 1 negative, 'the face of the cat' → Cat")


def test_another_label_makes_another_object(studio: Studio, page: AnnotatorPage) -> None:
    # given an accepted mask of one label
    page.open(studio.project(), studio.task(COFFEE))
    page.click(50, 35, CUP)
    page.accept()
    # when another label is clicked beside it
    page.click(12, 85, DOG)
    page.accept()
    # then there are two objects
    assert [region.label for region in page.regions()] == ["Cup", "Dog"]


def test_a_plural_suggests_several_objects_and_a_click_refines_one(
    studio: Studio, page: AnnotatorPage
) -> None:
    # given the suggestions for a plural, each an object of its own
    page.open(studio.project(cup="Coin"), studio.task(COINS, cup="Coin"))
    page.say("coins")
    before = {region.id: region for region in page.regions()}
    assert len(before) >= 20  # of 24
    assert all(region.suggested and region.label == "Coin" for region in before.values())
    assert page.status.startswith(f"'coins' → Coin: {len(before)} objects")
    # when one of them is clicked
    page.click(40, 17, CUP)
    # then that one is refined, and the others stay as they were
    after = {region.id: region for region in page.regions()}
    assert set(after) == set(before)
    (clicked,) = [name for name, region in before.items() if at(region.mask, 40, 17)]
    assert at(after[clicked].mask, 40, 17)
    for name in set(before) - {clicked}:
        assert iou(after[name].mask, before[name].mask) == 1.0
    # and all of them are accepted together
    page.accept()
    assert {region.id for region in page.regions() if not region.suggested} == set(before)
