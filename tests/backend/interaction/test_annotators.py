"""Two annotators on one task do not mix, as far as Label Studio lets us know who asks."""

import pytest

ANN, BOB = "ann@example.com", "bob@example.com"


@pytest.mark.parametrize("auto_accept", [True, False])
def test_refining_never_reaches_the_other_annotators_object(open_page, auto_accept):
    ann = open_page(user=ANN, auto_accept=auto_accept)
    bob = open_page(user=BOB, auto_accept=auto_accept)
    hers = ann.click(20)
    ann.work()
    ann.send([])
    his = bob.click(70)
    bob.work()
    for _ in range(3):
        assert ann.click(22, "+ last object").target.region_id == hers.target.region_id
        assert bob.click(72, "- last object").target.region_id == his.target.region_id


def test_a_newcomer_without_a_draft_has_no_last_object(open_page):
    ann, bob = open_page(user=ANN), open_page(user=BOB)
    ann.click(20)
    ann.work()
    ann.send([])
    assert bob.click(22, "- last object").target is None


def test_who_began_within_seconds_of_another_gets_their_own_objects_back(open_page):
    ann = open_page(user=ANN, auto_accept=True)
    bob = open_page(user=BOB, auto_accept=True)
    hers, his = ann.click(20), bob.click(70)
    ann.work()
    bob.work()
    assert ann.click(22, "+ last object").target.region_id == hers.target.region_id
    assert bob.click(72, "+ last object").target.region_id == his.target.region_id


def test_the_same_click_ids_of_two_annotators_are_two_objects(open_page):
    ann, bob = open_page(user=ANN), open_page(user=BOB)
    hers = ann.click(20)
    ann.work()
    ann.send([])
    bob.save_draft()
    bob.points = dict(ann.points)
    his = bob.send_points()
    assert his.target.region_id != hers.target.region_id


def test_phrases_do_not_mix(open_page):
    ann = open_page(user=ANN, auto_accept=True)
    bob = open_page(user=BOB, auto_accept=True)
    ann.click(20)
    ann.work()
    bob.save_draft()
    his = bob.click(70)
    assert ann.type("red cat").target.label.value == "Cat"
    assert bob.click(72, "+ last object").target.phrase_source == "label"
    assert bob.last.target.region_id == his.target.region_id


def test_objects_without_an_owner_belong_to_no_one_after_ten_minutes(open_page):
    page = open_page()
    page.click(20)
    page.points.clear()
    page.clock.wait(11 * 60)
    assert page.click(22, "+ last object").target is None


def test_tasks_and_projects_do_not_mix(open_page):
    open_page(auto_accept=True).click(20)
    assert open_page(task=43).click(22, "+ last object").target is None
    assert open_page(project="6.1795380000").click(22, "+ last object").target is None
