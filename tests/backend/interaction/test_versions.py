"""An object finishes on the model version that it was begun with."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import TargetRow
from backend.registry.pruning import STICKY_FOR


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


def test_a_phrase_and_its_click_are_one_object(open_page: Any) -> None:
    page = open_page(champion="old")
    page.type("the red cat")

    page.champion = "new"
    assert page.click(10).target.model_version == "old"


def test_what_was_submitted_is_finished(open_page: Any) -> None:
    page = open_page(champion="old")
    page.click(10)
    page.accept()
    page.submit()

    page.champion = "new"
    assert page.click(11, "+ last object").target.model_version == "new"


def test_after_a_night_it_continues_with_the_champion(open_page: Any) -> None:
    page = open_page(champion="old")
    page.click(10)
    page.accept()
    page.save_draft()

    page.champion = "new"
    page.clock.wait(STICKY_FOR.total_seconds() + 1)
    assert page.click(11, "+ last object").target.model_version == "new"


@pytest.mark.parametrize("hours", [0, 11])
def test_a_pause_is_not_the_end(open_page: Any, hours: int) -> None:
    page = open_page(champion="old")
    page.click(10)
    page.accept()
    page.save_draft()

    page.champion = "new"
    page.clock.wait(timedelta(hours=hours).total_seconds())
    assert page.click(11, "+ last object").target.model_version == "old"


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
