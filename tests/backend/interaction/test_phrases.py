"""Phrases: which object they speak of, how long they hold, what stands in for them."""

import pytest
from sqlalchemy import select

from backend.db.models import EventRow, TargetRow
from backend.settings import Settings


def test_a_phrase_refines_the_target_at_hand(open_page):
    page = open_page()
    click = page.click(20)
    turn = page.type("the red cat")
    assert turn.target.region_id == click.target.region_id
    assert (turn.target.phrase, turn.target.phrase_source) == ("the red cat", "typed")
    assert len(turn.target.clicks) == 1


def test_a_phrase_alone_starts_a_target_of_the_label_it_names(open_page):
    turn = open_page().type("two small dogs on the left")
    assert turn.started
    assert turn.target.label.value == "Dog"
    assert turn.target.clicks == ()


def test_a_phrase_that_names_no_label_takes_the_one_used_last(open_page):
    page = open_page()
    page.click(20, "Dog")
    page.accept()
    page.work()
    region = page.last.target.region_id
    page.send([])
    page.delete_region(region)
    page.work()
    assert page.type("the thing on the left").target.label.value == "Dog"


def test_a_phrase_that_names_no_label_falls_back_to_the_first(open_page):
    assert open_page().type("the thing on the left").target.label.value == "Cat"


@pytest.mark.parametrize(("words", "label"), [("two cats", "Cat"), ("the red dog", "Dog")])
def test_the_same_phrase_id_with_new_text_is_the_same_target(open_page, words, label):
    page = open_page()
    first = page.type("red cat")
    second = page.type(words)
    assert second.target.region_id == first.target.region_id
    assert (second.target.phrase, second.target.label.value) == (words, label)


def test_a_replaced_phrase_does_not_hold_its_object(open_page):
    page = open_page()
    page.type("red cat")
    assert page.type("white cat").target.previous_mask is None


def test_a_phrase_added_to_clicks_starts_from_their_mask(open_page):
    page = open_page()
    page.click(20)
    assert page.type("red cat").target.previous_mask[24, 12]


@pytest.mark.parametrize("edited", [False, True])
def test_a_phrase_that_names_another_label_spares_an_accepted_object(open_page, edited):
    # given an accepted object of a phrase
    page = open_page(auto_accept=True)
    cat = page.type("a cat")
    # when the phrase is edited later, or a new one is typed
    page.work() if edited else page.remove_phrase()
    dog = page.type("a dog")
    # then that is an object of its own
    assert dog.started
    assert dog.target.label.value == "Dog"
    assert dog.target.region_id != cat.target.region_id


@pytest.mark.parametrize(
    ("phrase", "label", "same"),
    [
        ("red cat", "Cat", True),
        ("red cat", "Dog", False),
        ("the one on the left", "Dog", True),  # the click says what the words did not
    ],
)
def test_a_click_after_a_phrase_is_about_its_object_unless_the_label_differs(
    open_page, phrase, label, same
):
    page = open_page()
    first = page.type(phrase)
    turn = page.click(30, label)
    assert (turn.target.region_id == first.target.region_id) is same
    assert turn.target.label.value == label
    assert turn.target.phrase == (phrase if same else "")
    assert len(turn.target.clicks) == 1


def test_once_accepted_a_phrase_object_is_left_alone_by_plain_clicks(open_page):
    page = open_page(auto_accept=True)
    phrase = page.type("red cat")
    page.work()
    turn = page.click(30)
    assert turn.target.region_id != phrase.target.region_id
    assert turn.target.phrase_source == "label"


@pytest.mark.parametrize(("carry", "held"), [("none", False), ("target", True), ("task", True)])
def test_carrying_the_phrase_to_the_next_target(open_page, carry, held):
    page = open_page(Settings(carry_phrase=carry), auto_accept=True)
    page.click(20)
    page.type("red cat")
    page.work()
    assert (page.click(80).target.phrase == "red cat") is held


@pytest.mark.parametrize(("carry", "held"), [("target", False), ("task", True)])
def test_carrying_the_phrase_to_the_next_task(open_page, carry, held):
    policy = Settings(carry_phrase=carry)
    page = open_page(policy)
    page.click(20)
    page.type("red cat")
    other = open_page(policy, task=43)
    assert (other.click(80).target.phrase == "red cat") is held


def test_no_phrase_is_carried_between_annotators(open_page):
    policy = Settings(carry_phrase="task")
    for task, user, text in ((1, "ann@example.com", "red cat"), (2, "bob@example.com", "big cat")):
        page = open_page(policy, task=task, user=user)
        page.type(text)
        page.work()
        page.click(20)
    unknown = open_page(policy, task=3, user="eve@example.com")
    assert unknown.click(30).target.phrase_source == "label"


def test_a_carried_phrase_is_not_said_of_another_label(open_page):
    page = open_page(Settings(carry_phrase="target"), auto_accept=True)
    page.type("red cat")
    page.work()
    assert page.click(80, "Dog").target.phrase == ""


@pytest.mark.parametrize(
    ("label", "switch", "read"),
    [
        ("Cat", True, ("Cat", "label")),
        ("Dog", True, ("", "none")),  # its words are unknown to the reader of these tests
        ("Cat", False, ("", "none")),
    ],
)
def test_with_no_phrase_typed_the_known_label_is_read(open_page, label, switch, read):
    turn = open_page(Settings(label_as_phrase=switch)).click(20, label)
    assert (turn.target.phrase, turn.target.phrase_source) == read


def test_a_phrase_refines_with_auto_accept_although_the_draft_shows_the_mask(open_page):
    page = open_page(auto_accept=True)
    click = page.click(20)
    page.work()
    assert page.type("red cat").target.region_id == click.target.region_id


def test_a_phrase_after_an_explicit_accept_starts_a_new_object(open_page):
    page = open_page()
    page.click(20)
    page.work()  # key points in a draft long after their answer: Auto-Accept is off
    first = page.click(24)
    page.accept()
    page.work()
    turn = page.type("the other cat")
    assert turn.target.region_id != first.target.region_id


@pytest.mark.parametrize("ticked", [False, True])
def test_a_refinement_opens_an_accepted_object_again_until_the_next_tick(open_page, ticked):
    page = open_page()
    page.click(20)
    page.work()
    first = page.click(24)
    page.accept()
    page.work()
    assert page.click(30, "+ last object").target.region_id == first.target.region_id
    if ticked:
        page.accept()
    page.work()
    turn = page.type("the red cat")
    assert (turn.target.region_id == first.target.region_id) is not ticked


def test_a_phrase_after_submitting_starts_a_new_object(open_page):
    page = open_page(auto_accept=True)
    first = page.click(20)
    page.work()
    page.submit()
    assert page.type("red cat").target.region_id != first.target.region_id


def test_a_phrase_after_its_object_was_deleted_does_not_touch_the_one_before(open_page):
    page = open_page(auto_accept=True)
    kept = page.click(20)
    page.work()
    deleted = page.click(80)
    page.work()
    page.delete_region(deleted.target.region_id)
    page.work()
    turn = page.type("red cat")
    assert turn.started
    assert turn.target.region_id not in (kept.target.region_id, deleted.target.region_id)


def test_editing_the_phrase_speaks_of_the_object_made_since(open_page):
    page = open_page(auto_accept=True)
    page.click(20)
    page.type("red cat")
    second = page.click(80)
    turn = page.type("white cat")
    assert turn.target.region_id == second.target.region_id


def test_the_same_phrase_twice_counts_once(open_page):
    page = open_page()
    page.click(20)
    page.type("red cat")
    again = page.type("red cat")
    assert len(again.new) == 0
    assert again.target.phrase == "red cat"


def test_a_phrase_taken_back_from_clicks_leaves_them(open_page):
    page = open_page()
    page.click(20)
    page.type("red cat")
    turn = page.type("")
    assert turn.target is not None
    assert turn.target.phrase_source == "label"


def test_an_empty_phrase_alone_is_answered_with_nothing(open_page):
    turn = open_page().type("   ")
    assert turn.target is None


def test_a_phrase_deleted_from_the_page_no_longer_holds(open_page):
    page = open_page()
    page.click(20)
    page.type("red cat")
    page.work()
    page.remove_phrase()
    page.work()
    assert page.click(30).target.phrase_source == "label"


def test_words_replaced_on_the_page_stay_said_of_their_object(open_page, database):
    page = open_page()
    page.click(20)
    first = page.type("red cat")
    page.accept()
    page.work()
    page.click(80)  # the draft shows the words
    page.remove_phrase()
    page.type("white cat")  # in the field again, so under a new id
    page.work()
    page.click(85)
    with database.read() as connection:
        rows = connection.execute(select(TargetRow.region_id, TargetRow.phrase))
        phrases = dict(rows.all())
        kinds = list(connection.execute(select(EventRow.kind)).scalars())
    assert phrases[first.target.region_id] == "red cat"
    assert "undo" not in kinds


def test_clicks_and_phrase_in_one_request_are_one_target(open_page):
    page = open_page()
    page.make_point(20)
    item = {
        "id": "tx",
        "from_name": "phrase",
        "to_name": "image",
        "type": "textarea",
        "value": {"text": ["red cat"]},
    }
    turn = page.send([*page.points.values(), item])
    assert (turn.target.phrase, len(turn.target.clicks), len(turn.new)) == ("red cat", 1, 2)
