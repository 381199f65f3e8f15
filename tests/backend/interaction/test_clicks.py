"""Clicks: which belong together, which were undone, which begin a new object."""

import pytest

from backend.interaction.assignment import LABEL_UNKNOWN
from backend.settings import Settings


def ids(turn):
    return [click.id for click in turn.target.clicks]


def signs(turn):
    return [click.positive for click in turn.target.clicks]


def test_first_click_starts_a_target_of_its_label(open_page):
    page = open_page()
    turn = page.click(20, "Dog")
    assert turn.started
    assert turn.target.label.value == "Dog"
    assert turn.target.brush.name == "brush"
    assert turn.target.previous_mask is None


def test_clicks_that_arrive_together_are_one_target_exactly_those(open_page):
    page = open_page()
    first = page.make_point(20)
    second = page.make_point(30, negative=True)
    turn = page.send_points()
    assert ids(turn) == [first, second]
    assert signs(turn) == [True, False]


def test_a_missing_click_was_undone(open_page):
    page = open_page()
    page.click(20)
    page.click(30)
    gone = list(page.points)[-1]
    page.undo_click(gone)
    turn = page.click(40)
    assert gone not in ids(turn)
    assert len(ids(turn)) == 2


def test_an_undone_click_that_is_back_counts_again(open_page):
    page = open_page()
    page.click(20)
    page.click(30)
    identity, point = list(page.points.items())[-1]
    page.undo_click(identity)
    page.click(40)
    page.points[identity] = point
    turn = page.send_points()
    assert identity in ids(turn)
    assert len(ids(turn)) == 3


def test_undone_click_leaves_no_trace_in_the_previous_mask(open_page):
    page = open_page()
    page.click(20)
    page.click(80)
    page.undo_click()
    turn = page.click(50)
    previous = turn.target.previous_mask
    assert previous[24, 12]
    assert not previous[24, 50]


def test_clicks_of_two_labels_are_two_targets_side_by_side(open_page):
    page = open_page()
    cat = page.click(20, "Cat")
    dog = page.click(80, "Dog")
    again = page.click(25, "Cat")
    assert cat.target.region_id != dog.target.region_id
    assert again.target.region_id == cat.target.region_id
    assert len(ids(again)) == 2


@pytest.mark.parametrize("auto_accept", [True, False])
@pytest.mark.parametrize("label", ["+ last object", "- last object"])
def test_refine_labels_keep_class_and_region_and_say_the_sign(open_page, auto_accept, label):
    page = open_page(auto_accept=auto_accept)
    dog = page.click(20, "Dog")
    turn = page.click(30, label)
    assert turn.target.region_id == dog.target.region_id
    assert turn.target.label.value == "Dog"
    assert signs(turn) == [True, label.startswith("+")]


def test_refine_labels_refine_the_object_made_last(open_page):
    page = open_page(auto_accept=True)
    page.click(20, "Cat")
    dog = page.click(80, "Dog")
    turn = page.click(70, "+ last object")
    assert turn.target.region_id == dog.target.region_id


def test_refining_clicks_that_came_one_by_one_are_all_kept(open_page):
    page = open_page(auto_accept=True)
    page.click(20)
    page.click(30, "+ last object")
    turn = page.click(40, "- last object")
    assert signs(turn) == [True, True, False]


@pytest.mark.parametrize(
    ("label", "negative", "note"),
    [("+ last object", False, "no last object"), ("Cat", True, "remove a part")],
)
def test_refining_without_an_object_says_so_and_is_logged(open_page, label, negative, note):
    turn = open_page().click(20, label, negative=negative)
    assert turn.target is None
    assert note in turn.notes[0]
    assert len(turn.new) == 1


def test_a_lone_negative_refines_the_last_target_of_its_label(open_page):
    page = open_page(auto_accept=True)
    cat = page.click(20, "Cat")
    page.click(80, "Dog")
    turn = page.click(22, "Cat", negative=True)
    assert turn.target.region_id == cat.target.region_id
    assert signs(turn) == [True, False]


def test_a_negative_made_first_counts_once_the_object_is_clicked(open_page):
    page = open_page()
    page.click(20, negative=True)
    turn = page.click(30)
    assert signs(turn) == [False, True]
    assert len(turn.new) == 1


def test_a_lone_positive_is_a_new_object_where_refine_labels_are(open_page):
    page = open_page(auto_accept=True, touching=True)
    first = page.click(20)
    second = page.click(22)
    assert first.target.region_id != second.target.region_id
    assert second.started
    assert page.asked == 0


@pytest.mark.parametrize(
    ("choice", "touching", "same"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("refine", False, True),
        ("new", True, False),
    ],
)
def test_a_lone_positive_without_refine_labels(open_page, plain_config, choice, touching, same):
    page = open_page(
        Settings(new_object=choice), config=plain_config, auto_accept=True, touching=touching
    )
    first = page.click(20)
    second = page.click(30)
    assert (second.target.region_id == first.target.region_id) is same
    assert len(ids(second)) == (2 if same else 1)
    assert page.asked == (1 if choice == "auto" else 0)


def test_touching_is_asked_of_the_last_target_of_the_label_with_its_mask(open_page, plain_config):
    page = open_page(config=plain_config, auto_accept=True)
    cat = page.click(20, "Cat")
    page.click(80, "Dog")
    seen = []
    page._touches = lambda click, view: seen.append((click, view)) or True
    turn = page.click(24, "Cat")
    click, view = seen[0]
    assert view.region_id == cat.target.region_id == turn.target.region_id
    assert view.previous_mask[24, 12]
    assert click.x_percent == 24


def test_no_lock_is_held_while_the_model_is_asked(open_page, plain_config, database):
    page = open_page(config=plain_config, auto_accept=True)
    page.click(20)
    written = []

    def touches(*_):
        with database.write():
            written.append(True)
        return True

    page._touches = touches
    assert not page.click(24).started
    assert written == [True]


def test_a_task_that_never_holds_still_is_decided_all_the_same(open_page, plain_config):
    """While the model is asked, the object gets another answer; the model is not asked again."""
    page = open_page(config=plain_config, auto_accept=True, touching=True)
    page.click(20)
    other = open_page(config=plain_config, auto_accept=True, regions=page.regions)
    asked = []

    def touches(*_):
        asked.append(other.click(50, negative=True))
        return True

    page._touches = touches
    assert page.click(24).target is not None
    assert len(asked) == 1


def test_two_quick_clicks_with_auto_accept_whose_first_answer_was_thrown_away(open_page):
    page = open_page(auto_accept=True)
    page.make_point(20)
    first = page.send(list(page.points.values()), lost=True)
    page.make_point(30)
    second = page.send_points()
    assert second.target.region_id == first.target.region_id
    assert len(ids(second)) == 2


def test_quick_clicks_on_a_refined_object_keep_what_the_page_used_up(open_page, plain_config):
    page = open_page(config=plain_config, auto_accept=True, touching=True)
    page.click(20)
    page.make_point(30)
    page.send(list(page.points.values()), lost=True)
    page.make_point(40)
    turn = page.send_points()
    assert [click.x_percent for click in turn.target.clicks] == [20, 30, 40]


def test_the_same_request_twice_counts_once_and_is_answered_the_same(open_page):
    page = open_page()
    page.click(20)
    page.click(30)
    again = page.send_points()
    assert len(again.new) == 0
    assert len(ids(again)) == 2
    once_more = page.send_points()
    assert (again.target.previous_mask == once_more.target.previous_mask).all()


def test_a_sign_the_page_has_lost_is_taken_from_the_log(open_page):
    page = open_page()
    page.click(20)
    page.click(30, negative=True)
    for point in page.points.values():
        del point["is_positive"]
    turn = page.click(40)
    assert signs(turn) == [True, False, True]


def test_a_sign_in_another_annotators_log_says_nothing(open_page):
    ann, bob = open_page(user="ann@example.com"), open_page(user="bob@example.com")
    ann.save_draft()
    bob.save_draft()
    ann.click(20, negative=True)
    ann.click(30)
    bob.points = {name: {**point, "is_positive": None} for name, point in ann.points.items()}
    assert signs(bob.send_points()) == [True, True]


def test_an_unknown_click_without_sign_is_positive(open_page):
    page = open_page()
    page.make_point(20)
    del next(iter(page.points.values()))["is_positive"]
    assert signs(page.send_points()) == [True]


def test_a_label_that_the_config_does_not_have_is_not_guessed(open_page):
    page = open_page()

    turn = page.click(20, "Bird")

    assert turn.target.label is None
    assert LABEL_UNKNOWN in turn.notes


def test_a_click_that_was_moved_is_where_it_is_now(open_page):
    page = open_page()
    page.click(20)
    next(iter(page.points.values()))["value"]["x"] = 60
    turn = page.send_points()
    assert [click.x_percent for click in turn.target.clicks] == [60]
    assert len(turn.new) == 0


def test_accepting_ends_an_object_and_the_next_click_begins_another(open_page):
    page = open_page()
    first = page.click(20)
    page.accept()
    second = page.click(70)
    assert first.target.region_id != second.target.region_id
    assert len(ids(second)) == 1


def test_empty_contexts_are_no_turn(open_page):
    page = open_page()
    page.click(20)
    turn = page.send([])
    assert turn.target is None
    assert turn.notes == ()
    assert len(page.click(30).target.clicks) == 2


def test_a_failed_answer_keeps_the_clicks(open_page):
    page = open_page(broken=True)
    page.click(20)
    page.broken = False
    turn = page.click(30)
    assert len(ids(turn)) == 2
    assert turn.target.previous_mask is None


def test_a_negative_refines_a_mask_that_only_the_draft_knows(open_page):
    page = open_page(auto_accept=True)
    made = page.click(20, "Dog")
    page.save_draft()
    region = made.target.region_id
    other = open_page(auto_accept=True, task=43, draft=page.draft)
    turn = other.click(22, "Dog", negative=True)
    assert turn.target.region_id == region
    assert not turn.started
    assert turn.target.previous_mask[24, 12]
