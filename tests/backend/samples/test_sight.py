"""Pictures under accepted masks: noted once, and then only that content counts."""

import hashlib
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from backend.errors import PictureError
from backend.samples.rules import labeled
from backend.tables import AnnotatedPictureRow
from tests.backend.conftest import photograph
from tests.backend.samples.studio import PROJECT, region, settle
from tests.backend.samples.studio_pictures import SIZE, Team


def noted(team: Team) -> list[Any]:
    with team.database.read() as connection:
        query = select(AnnotatedPictureRow).order_by(AnnotatedPictureRow.annotation_id)
        return list(connection.execute(query).all())


def test_the_first_look_notes_what_the_picture_is(team: Team) -> None:
    address = team.label(1, [region()])

    assert team.look() == 1

    (row,) = noted(team)
    assert (row.state, row.error) == ("good", "")
    assert row.key == hashlib.sha256(team.host.pictures[address]).hexdigest()
    assert team.look() == 0, "a good one is not looked at again"


def test_a_picture_that_is_gone_is_tried_again_later_and_later(team: Team) -> None:
    address = team.label(1, [region()])
    content = team.host.pictures.pop(address)

    looks = []
    for minutes in (0, 4, 2, 9, 2):
        team.wait(minutes=minutes)
        looks.append(team.look())
    assert looks == [1, 0, 1, 0, 1]
    assert noted(team)[0].state == "gone"
    assert "answered 404" in noted(team)[0].error

    team.host.pictures[address] = content
    team.wait(hours=1)
    team.look()
    assert (noted(team)[0].state, noted(team)[0].error) == ("good", "")


def test_a_picture_of_another_size_than_its_masks_is_another_picture(team: Team) -> None:
    team.label(1, [region("a", np.ones((30, 40), dtype=bool))])
    team.look()

    (row,) = noted(team)
    assert row.state == "changed"
    assert "64x48" in row.error
    assert "40x30" in row.error


def test_what_was_labeled_counts_while_the_cache_has_it_and_no_other_picture(team: Team) -> None:
    # given: another picture is put in the place of a labeled one
    address = team.label(1, [region()])
    team.look()
    (each,) = labeled(team.database, PROJECT.key)
    before = team.sight().read(each.place).array
    team.host.pictures[address] = photograph(SIZE, seed=99)
    # then: with the old one in the cache all is well
    assert np.array_equal(team.sight().read(each.place).array, before)
    # and without it, it is said and counted
    team.empty_cache()
    with pytest.raises(PictureError, match="Another picture"):
        team.sight().read(each.place)
    assert noted(team)[0].state == "changed"
    # until the old one is back
    team.host.pictures[address] = photograph(SIZE, seed=1)
    team.wait(hours=1)
    team.empty_cache()
    team.look()
    assert noted(team)[0].state == "good"


def test_a_new_version_belongs_to_the_picture_of_its_day(team: Team) -> None:
    address = team.label(1, [region()])
    team.look()
    team.host.pictures[address] = photograph(SIZE, seed=99)
    team.empty_cache()

    settle(team.store, team.studio.update(1, [region("b")]))
    team.look()

    (row,) = noted(team)
    assert row.state == "good"
    assert row.key == hashlib.sha256(photograph(SIZE, seed=99)).hexdigest()


def test_looking_ends_in_time(team: Team) -> None:
    for number in range(1, 4):
        team.label(number, [region()])

    assert team.sight().look(seconds=-1) == 0
    assert [row.state for row in noted(team)] == ["unseen"] * 3
