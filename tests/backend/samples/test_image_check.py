"""Pictures under accepted masks: noted once, and then only that content counts."""

import hashlib
import socket
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from backend.db.models import AnnotatedPictureRow
from backend.errors import PictureAwayError, PictureError
from backend.images.loader import Pictures
from backend.samples.rules import labeled
from tests.backend.conftest import photograph
from tests.backend.samples.studio import PROJECT, region, settle
from tests.backend.samples.studio_pictures import SIZE, Team, settings_for


def noted(team: Team) -> list[Any]:
    with team.database.read() as connection:
        query = select(AnnotatedPictureRow).order_by(AnnotatedPictureRow.annotation_id)
        return list(connection.execute(query).all())


def test_the_first_check_saves_what_the_picture_is(team: Team) -> None:
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


def test_an_address_that_is_none_or_a_failure_stops_no_other_check(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an address that no parser takes, and a picture at which the backend itself fails
    team.studio.task(1, "http://[half/1.png")
    settle(team.store, team.studio.submit(1, 1, [region()]), team.now)
    team.label(2, [region()])
    team.label(3, [region()])
    read = Pictures.read

    def failing(pictures: Pictures, address: Any, *of: Any) -> Any:
        if address == "/files/2.png":
            raise OverflowError
        return read(pictures, address, *of)

    monkeypatch.setattr(Pictures, "read", failing)
    # when all are checked
    assert team.look() == 3
    # then the others are, and each says what is wrong
    assert [row.state for row in noted(team)] == ["gone", "gone", "good"]
    assert "not valid" in noted(team)[0].error
    assert "OverflowError" in noted(team)[1].error


def test_a_clock_that_is_set_back_delays_no_check(team: Team) -> None:
    team.host.pictures.pop(team.label(1, [region()]))
    team.look()
    team.wait(days=-365)

    assert team.look() == 1


@pytest.mark.parametrize("status", [0, 500, 503])
def test_a_host_that_is_away_says_nothing_of_its_pictures(team: Team, status: int) -> None:
    # given: a label whose picture was seen, one whose picture was not, and nobody who has them
    team.label(1, [region()])
    team.look()
    team.empty_cache()
    team.label(2, [region()])
    team.host.trouble = status or None
    if not status:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        team.settings = settings_for(team.settings.data, f"http://127.0.0.1:{port}")
    # when
    assert team.look() == 1
    image_check = team.image_check()
    with pytest.raises(PictureAwayError):
        image_check.read(labeled(team.database, PROJECT.key)[0].place)
    # then: nothing is known of the one, the other waits, and is read when it may be back
    assert image_check.unreached == 1
    assert [row.state for row in noted(team)] == ["good", "unseen"]
    assert noted(team)[1].error.startswith("The picture could not be read")
    assert team.look() == 0
    team.host.trouble = None
    team.settings = settings_for(team.settings.data, team.host.url)
    team.wait(minutes=6)
    assert team.look() == 1
    assert [(row.state, row.error) for row in noted(team)] == [("good", "")] * 2


def test_a_slow_failing_host_is_asked_twice_and_not_for_each_picture(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a host that takes connections and never answers
    monkeypatch.setattr("backend.samples.image_check._SLOW_S", 0.1)
    for number in range(1, 9):
        team.label(number, [region()])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        team.settings = settings_for(team.settings.data, url).model_copy(
            update={"picture_timeout_s": 0.4}
        )
        # when
        assert team.look() == 8
    # then
    rows = noted(team)
    assert [row.state for row in rows] == ["unseen"] * 8
    assert [row.attempts for row in rows] == [1, 1, 0, 0, 0, 0, 0, 0]
    assert len({row.error for row in rows}) == 1

    # and those that nobody asked for come first when it is back
    team.host.asked.clear()
    team.settings = settings_for(team.settings.data, team.host.url)
    team.wait(minutes=6)
    team.look()
    assert [row.state for row in noted(team)] == ["good"] * 8
    assert [path for path, _ in team.host.asked][-2:] == ["/files/1.png", "/files/2.png"]


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
    (labeled_image,) = labeled(team.database, PROJECT.key)
    before = team.image_check().read(labeled_image.place).array
    team.host.pictures[address] = photograph(SIZE, seed=99)
    # then: with the old one in the cache it is read as before
    assert np.array_equal(team.image_check().read(labeled_image.place).array, before)
    # and without it, an error is raised and the change is noted
    team.empty_cache()
    with pytest.raises(PictureError, match="not the one that was labeled"):
        team.image_check().read(labeled_image.place)
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


def test_a_check_ends_in_time(team: Team) -> None:
    for number in range(1, 4):
        team.label(number, [region()])

    assert team.image_check().run(seconds=-1) == 0
    assert [row.state for row in noted(team)] == ["unseen"] * 3
