"""An object finishes on the model version that it was begun with."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from backend.api.service import Service
from backend.db.engine import Database
from backend.db.models import TargetRow
from backend.registry.champions import STICKY_FOR


def versions(database: Database) -> list[str]:
    """Of all targets, in the order they began."""
    with database.read() as connection:
        query = select(TargetRow.model_version).order_by(TargetRow.id)
        return list(connection.execute(query).scalars())


def test_further_clicks_keep_the_version_and_a_new_object_takes_the_champion(
    open_page: Any, database: Database
) -> None:
    page = open_page(champion="old")
    assert page.click(10).target.model_version == "old"

    page.champion = "new"
    assert page.click(11).target.model_version == "old"
    page.accept()
    page.save_draft()
    assert page.click(12, "+ last object").target.model_version == "old"
    assert page.click(80, "Dog").target.model_version == "new"
    assert versions(database) == ["old", "new"]


def test_an_object_begins_with_the_version_that_serves_its_label(open_page: Any) -> None:
    # given a champion that has not learned "Dog"
    page = open_page(champion="tuned", others={"Dog": "base"})
    # when / then
    assert page.click(10, "Cat").target.model_version == "tuned"
    page.accept()
    page.save_draft()
    assert page.click(80, "Dog").target.model_version == "base"
    assert page.click(81, "Dog").target.model_version == "base"


@pytest.mark.parametrize("clicked", [False, True])
def test_an_object_of_words_that_gets_another_label_goes_on_with_what_serves_that(
    open_page: Any, *, clicked: bool
) -> None:
    # given a champion that has not learned "Dog", and a phrase that it answers
    page = open_page(champion="tuned", others={"Dog": "base"})
    assert page.type("the left one").target.model_version == "tuned"
    # when the words or the click say that it is a dog
    turn = page.click(10, "Dog") if clicked else page.type("the left dog")
    # then
    assert (turn.target.label.value, turn.target.model_version) == ("Dog", "base")


def test_a_phrase_and_its_click_are_one_object(open_page: Any) -> None:
    page = open_page(champion="old")
    page.type("the red cat")

    page.champion = "new"
    assert page.click(10).target.model_version == "old"


@pytest.mark.parametrize(
    ("submitted", "pause", "version"),
    [
        (True, timedelta(), "new"),  # what was submitted is finished
        (False, STICKY_FOR + timedelta(seconds=1), "new"),  # after a night it is new work
        (False, timedelta(), "old"),
        (False, timedelta(hours=11), "old"),  # a pause is not the end
    ],
)
def test_an_accepted_object_that_goes_on(
    open_page: Any, submitted: bool, pause: timedelta, version: str
) -> None:
    # given an accepted object
    page = open_page(champion="old")
    page.click(10)
    page.accept()
    page.submit() if submitted else page.save_draft()
    # when another version is promoted, and the object is refined
    page.champion = "new"
    page.clock.wait(pause.total_seconds())
    turn = page.click(11, "+ last object")
    # then
    assert turn.target.model_version == version


def test_where_its_version_could_not_be_had_it_stays_with_what_went_on(
    open_page: Any, database: Database
) -> None:
    page = open_page(champion="old")
    page.click(10)

    page.champion = page.answers_with = "new"
    page.click(11)
    assert versions(database) == ["new"]
    page.champion = page.answers_with = "newer"
    assert page.click(12).target.model_version == "new"


def test_each_label_of_a_phrase_is_asked_of_the_version_that_serves_it(
    service: Service,
    page: Any,
    picture_host: Any,
    two_cats: None,
    asked_of_base_for_cats: set[tuple[str, str, str]],
) -> None:
    # given a picture of two cats
    address = picture_host.add("/data/upload/6/a.png")
    # when an annotator asks for dogs, which the champion serves, and cats
    answer = service.predict(page.request([page.phrase("dogs and cats")], address=address))
    # then
    version = service.version
    assert asked_of_base_for_cats == {("base", "base", "cats"), (version, version, "dogs")}
    assert page.status(answer).startswith("'dogs and cats' → Cat: 2 objects")
    with service.database.read() as connection:
        query = select(TargetRow.label, TargetRow.model_version)
        assert connection.execute(query).all() == [("Cat", "base")] * 2
