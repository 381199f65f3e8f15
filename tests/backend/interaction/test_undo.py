"""What was undone or rejected counts no more: the page sends nothing, only drafts show it."""

import pytest

from tests.backend.databases import kinds


def with_accepted_mask(open_page):
    """A page with a mask of a click at 20 %, accepted and shown by a draft; Auto-Accept off."""
    page = open_page()
    page.click(20)
    page.accept()
    page.work()
    page.send([])
    return page


def test_with_auto_accept_a_draft_without_key_points_undoes_none(open_page):
    page = open_page(auto_accept=True)
    page.click(20)
    page.work()
    turn = page.click(25, "+ last object")
    assert len(turn.target.clicks) == 2


def test_without_auto_accept_key_points_missing_from_a_newer_draft_were_undone(open_page, database):
    page = open_page()
    page.click(20)
    page.click(30)
    page.work()
    page.send([])  # the draft shows key points long after the answer
    page.undo_click()
    page.work()
    turn = page.type("red cat")
    assert [click.x_percent for click in turn.target.clicks] == [20]
    assert kinds(database).count("undo") == 1


def test_a_suggestion_is_not_gone_while_its_key_points_stand(open_page, database):
    page = open_page()
    first = page.click(20)
    page.regions |= page.shown
    page.work()
    page.send([])  # the draft shows the region,
    page.delete_region(first.target.region_id)
    page.work()  # and a newer one its key point alone
    turn = page.click(30)
    assert turn.target.region_id == first.target.region_id
    assert "delete" not in kinds(database)


def test_all_key_points_undone_before_the_phrase_leave_a_new_object(open_page):
    page = open_page()
    first = page.click(20)
    page.work()
    page.send([])
    page.undo_click()
    page.work()
    turn = page.type("red cat")
    assert turn.target.region_id != first.target.region_id
    assert turn.target.clicks == ()


def test_undoing_all_and_clicking_elsewhere_is_not_asked_of_the_model(open_page, plain_config):
    page = open_page(config=plain_config, touching=True)
    page.click(20)
    page.work()
    page.undo_click()
    page.work()
    turn = page.click(70)
    assert [click.x_percent for click in turn.target.clicks] == [70]


def test_a_mask_that_is_back_after_two_undone_answers_is_news(open_page):
    # given a mask that a draft has shown
    page = open_page(auto_accept=True)
    page.click(20)
    page.work()
    # when two clicks refine it and are undone, so that the next draft shows the first mask again
    page.click(50, "+ last object")
    page.click(80, "+ last object")
    page.undo_answer()
    page.undo_answer()
    page.work()
    turn = page.click(35, "+ last object")
    # then they count no more
    assert [click.x_percent for click in turn.target.clicks] == [20, 35]


def test_a_mask_stays_no_news_while_a_suggestion_waits(open_page):
    # given an accepted mask that a draft has shown, Auto-Accept off
    page = with_accepted_mask(open_page)
    # when a click refines it, whose mask is not accepted yet, and the draft shows the old one
    page.click(50, "+ last object")
    page.work()
    turn = page.click(80, "+ last object")
    # then that click counts
    assert [click.x_percent for click in turn.target.clicks] == [20, 50, 80]


def test_a_rejected_refinement_is_undone_also_where_another_one_waits(open_page):
    # given an accepted mask, and two clicks whose mask is rejected
    page = with_accepted_mask(open_page)
    page.click(50, "+ last object")
    page.click(60, "+ last object")
    page.reject()
    # when a draft shows the accepted mask and the key point of the next refinement
    page.clock.wait(4)
    page.click(70, "+ last object")
    page.work(10)
    turn = page.click(80, "+ last object")
    # then the rejected ones count no more
    assert [click.x_percent for click in turn.target.clicks] == [20, 70, 80]


def test_ctrl_z_after_a_refinement_takes_its_click_back(open_page, database):
    page = open_page(auto_accept=True)
    first = page.click(20)
    page.click(60, "+ last object")
    page.undo_answer()
    page.work()
    turn = page.click(30, "+ last object")
    assert turn.target.region_id == first.target.region_id
    assert [click.x_percent for click in turn.target.clicks] == [20, 30]
    assert not turn.target.previous_mask[24, 38]
    assert kinds(database).count("undo") == 1


def test_ctrl_z_shows_in_a_draft_that_was_saved_with_the_next_click(open_page):
    # given a refinement that was undone long ago
    page = open_page(auto_accept=True)
    page.click(20)
    page.click(60, "+ last object")
    page.undo_answer()
    page.clock.wait(12)
    # when the page saves its draft for the first time as the next click is made
    page.make_point(30, "+ last object")
    page.save_draft()
    turn = page.send_points("+ last object")
    # then the undone click counts no more
    assert [click.x_percent for click in turn.target.clicks] == [20, 30]


def test_a_click_that_changed_nothing_can_be_undone(open_page):
    # given a negative click beside the mask, whose answer is the same mask
    page = open_page(auto_accept=True)
    page.click(20)
    page.click(80, "- last object")
    # when it is undone
    page.undo_answer()
    page.work()
    turn = page.click(30, "+ last object")
    # then it counts no more
    assert [click.x_percent for click in turn.target.clicks] == [20, 30]


def test_an_accepted_mask_in_its_first_draft_undoes_no_refinement(open_page):
    # given a mask that was accepted and refined before any draft was saved, Auto-Accept off
    page = open_page()
    page.click(20)
    page.accept()
    page.click(50, "+ last object")
    # when the draft shows the old mask and the point, and a click of another label comes
    page.work()
    turn = page.click(80, "- last object")
    # then the refinement counts
    assert [click.x_percent for click in turn.target.clicks] == [20, 50, 80]


@pytest.mark.parametrize("seen", [False, True])
def test_a_rejected_suggestion_is_gone_once_a_draft_was_saved_after_it(open_page, seen):
    # given an accepted mask, and a suggestion that is rejected at once
    page = open_page()
    first = page.click(20)
    page.accept()
    if seen:
        page.work()
    page.click(70)
    page.clock.wait(1)
    page.reject()
    # when the page saves five seconds after the click
    page.clock.wait(3.9)
    page.save_draft()
    page.clock.wait(20)
    turn = page.click(25, "+ last object")
    # then the last object is the accepted one
    assert turn.target.region_id == first.target.region_id
    assert [click.x_percent for click in turn.target.clicks] == [20, 25]


def test_a_rejected_suggestion_is_gone_although_its_words_stand_in_their_field(open_page):
    # given an accepted mask, and a click and a phrase whose mask is rejected
    page = open_page()
    first = page.click(20)
    page.accept()
    page.work()
    page.click(70)
    page.type("the cat")
    page.reject()
    # when the page has saved, and a click refines the last object
    page.work()
    turn = page.click(25, "+ last object")
    # then that is the accepted one
    assert turn.target.region_id == first.target.region_id
    assert turn.target.phrase_source != "typed"


def test_a_rejected_refinement_is_undone_also_where_words_came_after_it(open_page):
    # given an accepted mask that a draft has shown, refined by a click and then by words
    page = with_accepted_mask(open_page)
    page.click(50, "+ last object")
    page.type("the cat")
    # when that is rejected, and the draft shows the mask before
    page.reject()
    page.work()
    turn = page.click(80, "+ last object")
    # then its click counts no more
    assert [click.x_percent for click in turn.target.clicks] == [20, 80]
