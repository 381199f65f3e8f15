"""An annotator makes one object: clicks, removes parts, types, undoes, accepts."""

from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import ASTRONAUT, CAT
from tests.e2e.regions import at, iou
from tests.e2e.studio import Studio

PERSON, CAT_KEY = "1", "2"


def test_a_positive_click_gives_a_mask_on_the_object(studio: Studio, page: AnnotatorPage) -> None:
    # given a photograph of a cat
    page.open(studio.project(), studio.task(CAT))
    # when its face is clicked
    page.click(55, 45, CAT_KEY)
    # then one mask of that label covers the cat, and the status line says so
    region = page.only()
    assert region.label == "Cat"
    assert at(region.mask, 55, 45)
    assert iou(region.mask, CAT.object()) > 0.6
    assert page.status.startswith("1 click → Cat, ")
    # and what is coloured on the screen is that mask
    assert iou(page.painted(CAT.width, CAT.height), region.mask) > 0.95


def test_an_alt_click_takes_away(studio: Studio, page: AnnotatorPage) -> None:
    # given a mask of the cat, its mouth in it
    page.open(studio.project(), studio.task(CAT))
    page.click(55, 45, CAT_KEY)
    before = page.only()
    assert at(before.mask, 60, 75)
    page.picture("before")
    # when the mouth is Alt-clicked
    page.click(60, 75, CAT_KEY, keys=("Alt",))
    # then that place is out, the mask is smaller, and the rest stays
    after = page.only()
    assert after.id == before.id
    assert not at(after.mask, 60, 75)
    assert after.mask.sum() < before.mask.sum()
    assert at(after.mask, 55, 45)
    assert page.status.startswith("2 clicks, 1 negative → Cat, ")


def test_a_phrase_changes_the_mask(studio: Studio, page: AnnotatorPage) -> None:
    # given a click on the suit, which could mean the suit or the woman
    page.open(studio.project(), studio.task(ASTRONAUT))
    page.click(35, 75, PERSON)
    before = page.only()
    # when she is named
    page.say("the woman's face and hair")
    # then the same region holds another mask, which still keeps to the click
    after = page.only()
    assert after.id == before.id
    assert iou(before.mask, after.mask) < 0.98
    assert "woman's face" in page.status
    # and other words give another one again
    page.say("orange suit")
    again = page.only()
    assert again.id == before.id
    assert iou(again.mask, after.mask) < 0.99
    assert "'orange suit'" in page.status


def test_a_phrase_comes_first_and_a_click_refines_it(studio: Studio, page: AnnotatorPage) -> None:
    # given a phrase alone
    page.open(studio.project(), studio.task(CAT))
    page.say("a cat")
    first = page.only()
    assert first.label == "Cat"
    assert iou(first.mask, CAT.object()) > 0.6
    assert page.status.startswith("'a cat' → Cat")
    # when the cat is clicked too
    page.click(25, 80, CAT_KEY)
    # then it is still one object, made of both
    second = page.only()
    assert second.id == first.id
    assert at(second.mask, 25, 80)
    assert page.status.startswith("1 click, 'a cat' → Cat")


def test_an_undone_click_counts_no_more(studio: Studio, page: AnnotatorPage) -> None:
    # given a click on the cat and one beside it
    task = studio.task(CAT)
    page.open(studio.project(), task)
    page.click(55, 45, CAT_KEY)
    first = page.only()
    page.click(95, 60, CAT_KEY)
    assert page.status.startswith("2 clicks → Cat")
    # when the second is undone and the cat is clicked elsewhere
    page.undo()
    assert page.clicks_on_page() == 1
    page.click(30, 60, CAT_KEY)
    # then the mask rests on the first and the third
    assert page.status.startswith("2 clicks → Cat")
    assert page.only().id == first.id
    kinds = [event["kind"] for event in studio.backend.events(task)]
    assert kinds == ["positive_click", "positive_click", "undo", "positive_click"]


def test_accepting_keeps_the_mask_and_rejecting_throws_it_away(
    studio: Studio, page: AnnotatorPage
) -> None:
    # given a mask
    page.open(studio.project(), studio.task(CAT))
    page.click(55, 45, CAT_KEY)
    suggested = page.only()
    assert suggested.suggested
    # when it is accepted
    page.accept()
    # then it stays as it was, its click is gone
    kept = page.only()
    assert not kept.suggested
    assert kept.id == suggested.id
    assert iou(kept.mask, suggested.mask) == 1.0
    assert page.clicks_on_page() == 0
    # and another one that is rejected leaves no trace
    page.click(95, 60, "3")
    assert len(page.regions()) == 2
    page.reject()
    assert page.only().id == kept.id
