"""What drafts and annotations show is believed once it is newer than the memory."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import select

from backend.db.models import EventRow, TargetRow
from backend.interaction.assignment import LABEL_UNKNOWN
from backend.label_studio.annotations import read_annotation
from backend.label_studio.config import LabelConfig
from backend.label_studio.payloads import Project


def kinds(database):
    with database.read() as connection:
        return list(connection.execute(select(EventRow.kind).order_by(EventRow.id)).scalars())


def states(database):
    with database.read() as connection:
        query = select(TargetRow.state).order_by(TargetRow.id)
        return list(connection.execute(query).scalars())


def test_an_accepted_object_is_logged_once(open_page, database):
    page = open_page()
    page.click(20)
    page.accept()
    page.work()
    page.click(80)
    page.work()
    page.click(85)
    assert kinds(database).count("accept") == 1
    assert states(database)[0] == "kept"


def test_a_deleted_region_is_not_brought_back_by_refining(open_page, database):
    page = open_page(auto_accept=True)
    first = page.click(20)
    second = page.click(80)
    page.work()
    page.send([])
    page.delete_region(second.target.region_id)
    page.work()
    turn = page.click(25, "+ last object")
    assert turn.target.region_id == first.target.region_id
    assert kinds(database).count("delete") == 1


def test_a_region_deleted_before_any_draft_saw_it_is_gone_too(open_page):
    page = open_page(auto_accept=True)
    page.click(20)
    page.save_draft()
    second = page.click(80)
    page.delete_region(second.target.region_id)
    page.work()
    turn = page.click(25, "- last object")
    assert turn.target.region_id != second.target.region_id


def test_the_only_object_deleted_leaves_nothing_to_refine(open_page):
    page = open_page(auto_accept=True)
    turn = page.click(20)
    page.work()
    page.send([])
    page.delete_region(turn.target.region_id)
    page.work()
    assert page.click(25, "+ last object").target is None


def test_a_region_whose_size_is_missing_is_not_gone(open_page):
    page = open_page(auto_accept=True)
    made = page.click(20).target
    page.regions[made.region_id]["original_width"] = None
    page.work()

    assert page.click(60, "+ last object").target.region_id == made.region_id


def test_a_label_that_the_config_has_lost_is_said(open_page):
    page = open_page(auto_accept=True)
    page.click(20)
    page.config = page.config.replace("Cat", "Lion")

    turn = page.click(60, "+ last object")

    assert (turn.target.label, LABEL_UNKNOWN in turn.notes) == (None, True)


def test_a_stale_draft_takes_nothing_away(open_page):
    page = open_page(auto_accept=True)
    page.click(20)
    page.save_draft()
    page.clock.wait(30)
    second = page.click(80)
    turn = page.click(82, "+ last object")  # the draft is from before the second object
    assert turn.target.region_id == second.target.region_id


def test_a_draft_saved_right_after_the_answer_takes_nothing_away(open_page):
    page = open_page(auto_accept=True)
    page.click(20)
    page.save_draft()
    before = dict(page.regions)
    turn = page.click(80)
    shown, page.regions = page.regions, before
    page.clock.wait(1)  # a slow page has not drawn the answer yet when it saves
    page.save_draft()
    page.regions = shown
    again = page.click(82, "+ last object")
    assert again.target.region_id == turn.target.region_id


def test_a_gone_region_that_is_back_can_be_refined_again(open_page):
    page = open_page(auto_accept=True)
    turn = page.click(20)
    page.work()
    page.send([])
    regions = dict(page.regions)
    page.delete_region(turn.target.region_id)
    page.work()
    page.send([])
    page.regions = regions
    page.work()
    again = page.click(25, "+ last object")
    assert again.target.region_id == turn.target.region_id


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


def test_key_points_that_stay_after_a_failure_do_not_look_like_auto_accept_off(open_page):
    page = open_page(auto_accept=True, broken=True)
    page.click(20)
    page.work()
    page.broken = False
    turn = page.click(30)
    assert len(turn.target.clicks) == 2
    page.work()
    assert page.type("red cat").target.region_id == turn.target.region_id


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
    page = open_page()
    page.click(20)
    page.accept()
    page.work()
    page.send([])
    # when a click refines it, whose mask is not accepted yet, and the draft shows the old one
    page.click(50, "+ last object")
    page.work()
    turn = page.click(80, "+ last object")
    # then that click counts
    assert [click.x_percent for click in turn.target.clicks] == [20, 50, 80]


def test_a_rejected_refinement_is_undone_also_where_another_one_waits(open_page):
    # given an accepted mask, and two clicks whose mask is rejected
    page = open_page()
    page.click(20)
    page.accept()
    page.work()
    page.send([])
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


def test_the_next_answer_builds_on_a_manually_edited_mask(open_page):
    page = open_page(auto_accept=True)
    first = page.click(20)
    drawn = np.zeros((48, 64), dtype=bool)
    drawn[40:, 50:] = True
    page.draw(first.target.region_id, drawn)
    page.work()
    turn = page.click(30, "+ last object")
    assert (turn.target.previous_mask == drawn).all()
    assert len(turn.target.clicks) == 2


def test_a_mask_in_a_stale_draft_is_not_believed(open_page):
    page = open_page(auto_accept=True)
    page.click(20)
    page.work()
    page.click(60, "+ last object")
    turn = page.click(30, "+ last object")
    assert len(turn.target.clicks) == 3
    assert turn.target.previous_mask[24, 38]


def test_a_class_changed_on_the_page_is_kept(open_page):
    page = open_page(auto_accept=True)
    turn = page.click(20, "Cat")
    page.regions[turn.target.region_id]["value"]["brushlabels"] = ["Dog"]
    page.work()
    assert page.click(30, "+ last object").target.label.value == "Dog"


def test_submitting_is_logged_and_the_object_can_still_be_refined(open_page, database):
    page = open_page(auto_accept=True)
    first = page.click(20)
    page.work()
    page.submit()
    assert kinds(database).count("submit") == 1
    assert states(database) == ["submitted"]
    page.clock.wait(2)
    assert page.click(30, "+ last object").target.region_id == first.target.region_id


def test_an_annotation_without_the_region_of_its_draft_means_gone(open_page, database):
    page = open_page(auto_accept=True)
    turn = page.click(20)
    page.work()
    page.send([])
    page.delete_region(turn.target.region_id)
    page.clock.wait(1)
    page.submit()
    assert states(database) == ["gone"]


def test_a_webhook_updates_objects_like_a_request(open_page, database):
    page = open_page(auto_accept=True)
    page.click(20)
    page.work()
    created = page.draft["created_at"]
    annotation = {
        "id": 7,
        "result": list(page.regions.values()),
        "updated_at": "2026-11-22T13:00:00Z",
        "draft_created_at": created,
    }
    config = LabelConfig.parse(page.config)
    saved = read_annotation(annotation, page.task, {}, config)
    assert saved is not None
    page.memory.settle(Project.read(page.project), page.task, saved, config)
    assert states(database) == ["submitted"]
    page.memory.deleted(Project.read(page.project), [7])
    assert states(database) == ["gone"]
    assert kinds(database) == ["positive_click", "accept", "submit", "delete"]


def test_a_webhook_about_a_task_that_nobody_clicked_on_writes_nothing(open_page, database):
    page = open_page()
    annotation = {"id": 7, "result": [], "updated_at": "2026-11-22T13:00:00Z"}
    saved = read_annotation(annotation, 1, {}, None)
    assert saved is not None
    page.memory.settle(Project(6), 1, saved, LabelConfig.parse(page.config))
    assert kinds(database) == []


@pytest.mark.parametrize("seconds", [-600, -20, 20, 600])
def test_clocks_that_differ_lose_no_object(open_page, clock, seconds):
    clock.ahead = timedelta(seconds=seconds)
    page = open_page(auto_accept=True)
    page.click(20)
    page.work(4)
    page.send([])
    second = page.click(80)
    page.clock.wait(2)
    turn = page.click(82, "+ last object")
    assert turn.target.region_id == second.target.region_id


def test_the_ghost_twin_of_a_mask_is_neither_click_nor_region(open_page):
    page = open_page(auto_accept=True)
    made = page.click(20)
    page.save_draft()
    twin = dict(page.regions[made.target.region_id])
    rle = twin["value"]["rle"]
    twin["value"] = {"format": "rle", "rle": rle, "keypointlabels": ["Cat"]}
    twin.update({"type": "keypointlabels", "from_name": "kp"})
    page.draft["result"].append(twin)
    turn = page.send([twin, *[]])
    assert turn.target is None
    assert len(turn.new) == 0


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
    page = open_page()
    page.click(20)
    page.accept()
    page.work()
    page.send([])
    page.click(50, "+ last object")
    page.type("the cat")
    # when that is rejected, and the draft shows the mask before
    page.reject()
    page.work()
    turn = page.click(80, "+ last object")
    # then its click counts no more
    assert [click.x_percent for click in turn.target.clicks] == [20, 80]


def test_words_refine_what_is_in_progress_also_where_accepting_was_noticed_late(open_page):
    # given a mask that waited long, was accepted, and is being refined
    page = open_page()
    first = page.click(20)
    page.clock.wait(6)
    page.save_draft()
    page.clock.wait(1)
    page.accept()
    page.clock.wait(1)
    page.click(50, "+ last object")
    # when only now a draft shows it, with the new point, and words follow
    page.work(10)
    turn = page.type("the cat")
    # then they are about the same object
    assert turn.target.region_id == first.target.region_id
    assert len(turn.target.clicks) == 2
