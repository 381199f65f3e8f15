"""What drafts and annotations show is believed once it is newer than the memory."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import select

from backend.db.models import TargetRow
from backend.interaction.assignment import LABEL_UNKNOWN
from backend.interaction.submitted import annotation_saved, annotations_deleted
from backend.label_studio.annotations import read_annotation
from backend.label_studio.config import parse_config
from backend.label_studio.payloads import Project
from tests.backend.databases import kinds


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


def test_key_points_that_stay_after_a_failure_do_not_look_like_auto_accept_off(open_page):
    page = open_page(auto_accept=True, broken=True)
    page.click(20)
    page.work()
    page.broken = False
    turn = page.click(30)
    assert len(turn.target.clicks) == 2
    page.work()
    assert page.type("red cat").target.region_id == turn.target.region_id


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
    config = parse_config(page.config)
    saved = read_annotation(annotation, page.task, {}, config)
    assert saved is not None
    annotation_saved(database, Project.read(page.project), page.task, saved, config)
    assert states(database) == ["submitted"]
    annotations_deleted(database, Project.read(page.project), [7])
    assert states(database) == ["gone"]
    assert kinds(database) == ["positive_click", "accept", "submit", "delete"]


def test_a_webhook_about_a_task_that_nobody_clicked_on_writes_nothing(open_page, database):
    page = open_page()
    annotation = {"id": 7, "result": [], "updated_at": "2026-11-22T13:00:00Z"}
    saved = read_annotation(annotation, 1, {}, None)
    assert saved is not None
    annotation_saved(database, Project(6), 1, saved, parse_config(page.config))
    assert kinds(database) == []


@pytest.mark.parametrize("seconds", [-600, -20, 0, 20, 600])
def test_a_draft_from_before_an_object_takes_nothing_away_by_any_clock(open_page, clock, seconds):
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


@pytest.mark.parametrize("auto_accept", [True, False])
def test_two_drafts_of_one_user_have_a_last_object_each(open_page, database, auto_accept):
    # given a task that one annotator labels twice, with an object in each draft
    first = open_page(auto_accept=auto_accept)
    dog = first.click(20, "Dog")
    first.work()
    second = open_page(auto_accept=auto_accept, drafts=[first.draft])
    cat = second.click(60)
    second.work()
    # when they go on with one and then, after another change there, with the other
    again = second.click(65, "+ last object")
    first.drafts = [second.draft]
    first.work()
    back = first.click(30, "+ last object")
    # then each goes on with its own
    assert again.target.region_id == cat.target.region_id
    assert back.target.region_id == dog.target.region_id
    assert len(back.target.clicks) == 2
    assert "undo" not in kinds(database)
