"""What brush and eraser change is kept through later answers, and counts as a correction."""

import numpy as np
from sqlalchemy import select

from backend.db.models import EventRow
from backend.interaction.mask_history import ManualEdits
from backend.interaction.objects import Click
from backend.interaction.rules import UNREADABLE

WIDTH, HEIGHT = 64, 48


def edits_of(database):
    with database.read() as connection:
        query = select(EventRow.edited).where(EventRow.kind == "edit")
        return connection.execute(query).scalars().all()


def stroke(x, y, kind, width=16):
    """A dot at a place in percent; 16 percent of the picture's width are 10 pixels."""
    return {"type": kind, "relativePoints": [x, y], "relativeStrokeWidth": width}


def test_what_was_erased_stays_out_of_later_answers(open_page, database):
    # given an accepted mask at a click
    page = open_page(auto_accept=True)
    first = page.click(20)
    region = first.target.region_id
    page.work()
    # when the annotator erases most of it and clicks elsewhere
    page.stroke(region, stroke(22, 50, "eraser", 9))
    page.work()
    second = page.click(80, "+ last object")
    # then the mask before is the erased one, and the answer keeps it erased
    assert second.target.region_id == region
    assert not second.target.previous_mask[24, 13]
    assert second.target.edits.pixels == edits_of(database)[0]
    assert not page.mask(region)[24, 13]
    assert page.mask(region)[24, 50]
    # and so does the next answer, which saw no stroke
    page.work()
    page.click(60, "+ last object")
    assert not page.mask(region)[24, 13]
    assert len(edits_of(database)) == 1


def test_what_was_painted_stays_in_later_answers(open_page, database):
    # given a mask with a dot painted far from it
    page = open_page(auto_accept=True)
    region = page.click(20).target.region_id
    page.work()
    page.stroke(region, stroke(80, 20, "add"))
    page.work()
    # when a part is taken away elsewhere
    page.click(20, "- last object")
    # then the dot is still there
    assert page.mask(region)[10, 51]


def test_a_later_click_reverts_manual_edits_there(open_page):
    # given an erased place
    page = open_page(auto_accept=True)
    region = page.click(20).target.region_id
    page.work()
    page.stroke(region, stroke(20, 50, "eraser"))
    page.work()
    page.click(80, "+ last object")
    assert not page.mask(region)[24, 13]
    # when that place is clicked
    page.work()
    page.click(20, "+ last object")
    # then it is in the mask again
    assert page.mask(region)[24, 12]


def test_an_undone_stroke_is_forgotten(open_page, database):
    # given a stroke that a draft showed, and an answer after it
    page = open_page(auto_accept=True)
    region = page.click(20).target.region_id
    page.work()
    before = dict(page.regions)
    page.stroke(region, stroke(20, 50, "eraser"))
    page.work()
    page.click(80, "+ last object")
    # when Ctrl+Z brings the first answer back
    page.regions = before
    page.work()
    turn = page.click(60, "+ last object")
    # then the next answer knows nothing of the stroke
    assert turn.target.previous_mask[24, 12]
    assert turn.target.edits is None


def test_a_region_painted_from_nothing_is_the_last_object(open_page):
    # given an accepted mask, and another region painted by hand after it
    page = open_page(auto_accept=True)
    page.click(20)
    page.work()
    page.paint("painted", stroke(70, 50, "add"))
    page.work()
    # when the last object is refined
    turn = page.click(80, "+ last object")
    # then the painted region is meant, and what was painted stays
    assert turn.target.region_id == "painted"
    assert turn.target.previous_mask[24, 44]
    assert page.mask("painted")[24, 44]


def test_a_region_that_cannot_be_read_is_left_as_it_is(open_page):
    # given a region of a script, whose mask this backend cannot read
    page = open_page(auto_accept=True)
    page.paint("scripted")
    page.regions["scripted"]["value"]["rle"] = [1, 2, 3]
    page.work()
    # when the last object is refined
    turn = page.click(80, "+ last object")
    # then no answer replaces it, and that is said
    assert turn.target is None
    assert turn.notes == (UNREADABLE,)


def test_a_stroke_after_submit_differs_from_the_masks_own_border(open_page, database):
    # given a submitted mask, on which a patch too small for its IoU was painted
    page = open_page(auto_accept=True)
    for x in (20, 40, 60):
        page.click(x, "Cat" if x == 20 else "+ last object")
    (region,) = page.regions
    page.work()
    mask = page.mask(region)
    mask[5:8, 5:8] = True
    page.draw(region, mask)
    page.work()
    # when it is refined
    turn = page.click(90, "+ last object")
    # then the patch is in
    assert turn.target.previous_mask[6, 6]
    assert edits_of(database) == [9]


def click(x, y, positive=True):
    return Click("k", x, y, positive, "", "kp")


def test_a_later_edit_decides_over_an_earlier_one():
    # given a painted half, of which a part is erased afterwards
    nothing, left = np.zeros((2, 4, 4), bool)
    left[:, :2] = True
    without_corner = left.copy()
    without_corner[0, 0] = False
    # when both are joined
    painted = ManualEdits.between(nothing, left)
    edits = painted.then(ManualEdits.between(left, without_corner))
    # then each pixel is as the later one has it
    assert edits.pixels == 8
    assert edits.applied(nothing).sum() == 7


def test_a_click_takes_back_the_connected_part_alone():
    signs = np.zeros((4, 8), np.int8)
    signs[1, 1] = signs[1, 6] = -1
    left = ManualEdits(signs).after([click(20, 40), click(80, 40, positive=False)])
    assert left.pixels == 1
    assert left.signs[1, 6] == -1


def test_edits_of_a_replaced_picture_change_nothing():
    mask = np.zeros((3, 3), bool)
    assert (ManualEdits(np.ones((4, 4), np.int8)).applied(mask) == mask).all()
