"""The event log as the memory writes it, the masks it keeps, what it forgets."""

import time
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import func, select

from backend.db.models import AnswerRow, EventRow, TargetRow, TaskRow
from backend.interaction import store, submitted
from backend.interaction.mask_history import Answer
from backend.interaction.objects import Outcome
from backend.interaction.page_changes import recognise
from backend.interaction.request import Interaction
from backend.interaction.store import InteractionStore
from backend.interaction.submitted import forget_objects
from backend.label_studio.config import parse_config
from backend.label_studio.payloads import parse_predict
from backend.label_studio.rle import PackedMask
from backend.settings import Settings


def rows(database):
    with database.read() as connection:
        return connection.execute(select(EventRow).order_by(EventRow.id)).all()


def count(database, table):
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_click_is_logged_with_all_that_reports_need(open_page, database, clock):
    page = open_page(auto_accept=True)
    page.click(25, "Dog", 50)
    (row,) = rows(database)
    assert (row.kind, row.project, row.task_id) == ("positive_click", "6.1795384361", 42)
    assert (row.x_percent, row.y_percent, row.x_pixel, row.y_pixel) == (25, 50, 16, 24)
    assert (row.label, row.starts, row.region_id) == ("Dog", True, page.last.target.region_id)
    assert row.target_id == page.last.target.id
    assert (row.milliseconds, row.steps, row.confidence) == (12.5, {"decode": 8.0}, 0.9)
    assert (row.model_version, row.changed, row.error) == ("v1", 1.0, "")
    assert row.answered_at - row.created_at == timedelta(seconds=0.1)


def test_every_interaction_is_one_row(open_page, database):
    page = open_page()
    page.click(20)
    page.click(30, negative=True)
    page.type("red cat")
    page.type("white cat")
    page.undo_click()
    page.click(40)
    kinds = [row.kind for row in rows(database)]
    assert kinds == [
        "positive_click",
        "negative_click",
        "phrase",
        "phrase",
        "undo",
        "positive_click",
    ]
    assert [row.text for row in rows(database) if row.kind == "phrase"] == ["red cat", "white cat"]
    assert [row.starts for row in rows(database)] == [True] + [False] * 5


def test_change_is_measured_against_what_the_page_showed(open_page, database):
    page = open_page()
    page.click(20)
    page.click(80)
    first, second = rows(database)
    assert first.changed == 1.0
    assert second.changed == pytest.approx(0.5)


def test_repeated_ids_and_empty_contexts_write_nothing(open_page, database):
    page = open_page()
    page.click(20)
    page.type("red cat")
    before = rows(database)
    page.send_points()
    page.type("red cat")
    page.send([])
    assert rows(database) == before


def test_a_failed_prediction_is_logged_with_its_error(open_page, database):
    page = open_page(broken=True)
    page.click(20)
    (row,) = rows(database)
    assert row.error == "The picture could not be read"
    assert row.answered_at is not None
    assert row.confidence is None


def test_what_was_received_is_logged_before_it_is_answered(open_page, database, clock):
    page = open_page()
    page.make_point(20)
    request = parse_predict(page.body(list(page.points.values())))
    config = parse_config(page.config)
    page.memory.receive(Interaction.read(request, config, clock.now))
    (row,) = rows(database)
    assert (row.kind, row.answered_at) == ("positive_click", None)


@pytest.mark.parametrize(("width", "x_pixel"), [(None, 16), (128, 32)])
def test_pixels_are_those_of_the_page_or_else_of_the_answer(open_page, database, width, x_pixel):
    page = open_page()
    page.points[page.make_point(25)]["original_width"] = width
    page.send_points()
    (row,) = rows(database)
    assert row.x_pixel == x_pixel


def test_the_owner_is_logged_once_known(open_page, database):
    page = open_page()
    page.click(20)
    page.save_draft()
    page.click(30)
    assert [row.owner for row in rows(database)] == ["", "ann@example.com"]


def test_clicks_that_belong_to_nothing_are_logged_without_a_target(open_page, database):
    open_page().click(20, "+ last object")
    (row,) = rows(database)
    assert (row.target_id, row.region_id, row.kind) == (None, "", "positive_click")


def test_a_late_answer_never_overwrites_a_later_one(open_page, database, clock):
    page = open_page()
    config = parse_config(page.config)

    def receive():
        request = parse_predict(page.body(list(page.points.values())))
        return page.memory.receive(Interaction.read(request, config, clock.now))

    page.make_point(20)
    first = receive()
    page.make_point(30)
    second = receive()
    early, late = np.ones((48, 64), bool), np.eye(48, 64, dtype=bool)
    page.memory.record(second, Outcome(early), now=clock.now)
    page.memory.record(first, Outcome(late), now=clock.now)
    page.make_point(40)
    assert receive().target.previous_mask.all()


def test_an_empty_mask_leaves_the_one_that_the_page_shows(open_page, database):
    page = open_page(auto_accept=True)
    page.click(20)
    request = parse_predict(page.body([page.points[page.make_point(80, "- last object")]]))
    config = parse_config(page.config)
    turn = page.memory.receive(Interaction.read(request, config, page.clock.now))
    page.memory.record(turn, Outcome(np.zeros((48, 64), bool)), now=page.clock.now)
    again = page.click(60, "+ last object")
    assert again.target.previous_mask[24, 12]
    assert len(again.target.clicks) == 3


def test_memory_survives_a_restart(open_page, database):
    page = open_page(auto_accept=True)
    first = page.click(20)
    page.memory = InteractionStore(database, Settings())
    turn = page.click(30, "+ last object")
    assert turn.target.region_id == first.target.region_id
    assert turn.target.previous_mask[24, 12]


def test_only_the_last_masks_of_a_target_are_kept(open_page, database):
    page = open_page()
    for x in range(5, 95, 6):
        page.click(x)
    assert count(database, AnswerRow) == store.ANSWERS_KEPT


def test_old_targets_are_forgotten_but_the_log_stays(open_page, database, clock):
    page = open_page()
    page.click(20)
    other = open_page(task=43)
    clock.wait(10 * 24 * 3600)
    other.click(30)
    clock.wait(5 * 24 * 3600)
    assert forget_objects(database, timedelta(days=14), clock.now) == 1
    assert count(database, TargetRow) == count(database, TaskRow) == count(database, AnswerRow) == 1
    assert len(rows(database)) == 2


def test_the_number_of_targets_is_bounded(open_page, database, clock, monkeypatch):
    monkeypatch.setattr(submitted, "TARGETS_KEPT", 3)
    page = open_page(auto_accept=True)
    made = [page.click(20).target.id for _ in range(5)]
    assert forget_objects(database, timedelta(days=14), clock.now) == 2
    with database.read() as connection:
        left = connection.execute(select(TargetRow.id).order_by(TargetRow.id)).scalars().all()
    assert list(left) == made[2:]


def test_after_forgetting_a_click_begins_a_new_object(open_page, database, clock):
    page = open_page()
    page.click(20)
    clock.wait(15 * 24 * 3600)
    forget_objects(database, timedelta(days=14), clock.now)
    turn = page.click(30)
    assert turn.started
    assert len(turn.target.clicks) == 2


def test_a_mask_encoded_again_is_the_answer_that_is_most_like_it():
    # given two answers that differ by a few pixels, and the older one with another pixel
    older, newer = np.zeros((2, 48, 64), bool)
    older[4:44, 4:60] = newer[4:44, 4:59] = True
    shown = older.copy()
    shown[4, 4] = False
    answers = [
        Answer(turn, [], "", False, "", PackedMask.pack(mask))
        for turn, mask in ((2, newer), (1, older))
    ]
    # when the page shows it, then it is recognised
    assert recognise(PackedMask.pack(shown), answers) is answers[1]


@pytest.mark.timed
def test_speed_does_not_depend_on_the_masks_already_there(open_page):
    page = open_page(auto_accept=True)

    def median():
        spent = []
        for _ in range(15):
            start = time.perf_counter()
            page.click(20)
            spent.append(time.perf_counter() - start)
        return sorted(spent)[len(spent) // 2]

    median()
    few = median()
    for _ in range(100):
        page.click(50)
    assert median() < 3 * few + 0.01
