"""What an annotator draws: strokes of brush and eraser, and boxes."""

import numpy as np

from backend.label_studio.regions import parse_result
from tests.e2e.annotator_page import AnnotatorPage, at, decode, iou
from tests.e2e.photographs import CAT
from tests.e2e.studio import Studio

CAT_KEY, CAT_BOX, ADD = "2", "Alt+2", "a"


def test_strokes_are_drawn_as_the_page_draws_them(studio: Studio, page: AnnotatorPage) -> None:
    # given an accepted mask of the cat
    task = studio.task(CAT)
    page.open(studio.project(), task)
    page.click(55, 45, CAT_KEY)
    page.accept()
    page.page.wait_for_timeout(6_000)
    region = page.only()
    # when a part is erased and another one is painted
    page.stroke(region.id, "eraser", [(35, 50), (75, 55), (60, 80)])
    page.stroke(region.id, "add", [(5, 5), (20, 12)])
    # then the strokes over the mask are the pixels that the page burns in on submit
    draft, burnt = page.serialized(region.id)
    assert draft["value"]["touches"]
    (read,) = parse_result([draft])
    ours, theirs = read.mask(), decode(burnt)
    assert not np.array_equal(ours, region.mask)
    differing = np.count_nonzero(ours ^ theirs)
    print("pixels that differ:", differing, "of", theirs.sum())
    assert differing <= 0.002 * theirs.sum()
    # when the draft is saved and the object is refined
    page.draft_saved()
    page.click(30, 85, ADD)
    # then what was erased stays out, what was painted stays in
    after = page.regions()[-1].mask
    assert not at(after, 55, 52)
    assert at(after, 12, 8)
    kinds = [event["kind"] for event in studio.backend.events(task)]
    assert kinds == ["positive_click", "accept", "edit", "positive_click"]


def test_a_box_makes_a_mask(studio: Studio, page: AnnotatorPage) -> None:
    # given a photograph of a cat
    task = studio.task(CAT)
    page.open(studio.project(), task)
    # when a box is drawn around it
    page.draw_box(5, 5, 95, 95, CAT_BOX)
    # then there is one mask of that label in it
    region = page.only()
    assert region.label == "Cat"
    assert iou(region.mask, CAT.object()) > 0.5
    assert page.status.startswith("1 box → Cat, ")
    # and the log has one interaction
    assert [event["kind"] for event in studio.backend.events(task)] == ["box"]
