"""The event log's own rows; what the memory writes into it is tested in memory/."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.db.models import EventRow
from backend.interaction.objects import Event, Outcome
from backend.interaction.store import append_events, complete_events, logged_clicks
from backend.label_studio.payloads import Project

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PROJECT = Project(6, "1795384361")


@pytest.fixture
def database(tmp_path):
    fresh = Database(f"sqlite:///{tmp_path}/events.db")
    migrate(fresh)
    yield fresh
    fresh.close()


def click(identity, request="r1", kind="positive_click", **values):
    return Event(kind, request_id=request, click_id=identity, **values)


def rows(connection):
    return connection.execute(select(EventRow).order_by(EventRow.id)).all()


def test_rows_come_back_as_they_were_written(database):
    event = click("k1", x_percent=25.0, y_percent=50.0, label="Cat", target_id=3, region_id="pc-1")
    with database.write() as connection:
        append_events(connection, PROJECT, 42, [(event, "ann")], NOW)
        (row,) = rows(connection)
    assert (row.project, row.task_id, row.owner, row.created_at) == (PROJECT.key, 42, "ann", NOW)
    assert {name: getattr(row, name) for name in vars(event)} == vars(event)
    assert row.answered_at is None


def test_appending_nothing_writes_nothing(database):
    with database.write() as connection:
        append_events(connection, PROJECT, 42, [], NOW)
        assert rows(connection) == []


def test_only_the_rows_of_the_request_are_completed(database):
    written = [(click("k1"), ""), (click("k2"), ""), (click("k3", "r2"), ""), (Event("undo"), "")]
    later = NOW + timedelta(seconds=1)
    outcome = Outcome(None, 0.8, "v1", 31.5, {"encode": 20.0})
    with database.write() as connection:
        append_events(connection, PROJECT, 42, written, NOW)
        complete_events(connection, "r1", outcome, later, changed=0.25)
        log = rows(connection)
    assert [row.answered_at for row in log] == [later, later, None, None]
    assert (log[0].milliseconds, log[0].steps, log[0].confidence, log[0].changed) == (
        31.5,
        {"encode": 20.0},
        0.8,
        0.25,
    )


def test_pixels_that_are_known_stay(database):
    known = click("k1", x_percent=50.0, y_percent=50.0, x_pixel=1.0, y_pixel=2.0)
    unknown = click("k2", x_percent=50.0, y_percent=25.0)
    with database.write() as connection:
        append_events(connection, PROJECT, 42, [(known, ""), (unknown, "")], NOW)
        complete_events(connection, "r1", Outcome(np.zeros((300, 400), bool)), NOW)
        places = [(row.x_pixel, row.y_pixel) for row in rows(connection)]
    assert places == [(1.0, 2.0), (200.0, 75.0)]


def test_signs_are_those_logged_by_the_same_annotator(database):
    with database.write() as connection:
        append_events(
            connection,
            PROJECT,
            42,
            [
                (click("k1"), "ann"),
                (click("k2", kind="negative_click"), ""),
                (click("k3", kind="negative_click"), "bob"),
            ],
            NOW,
        )
        ids = ["k1", "k2", "k3", "k4"]
        ann = logged_clicks(connection, PROJECT, 42, ids, "ann")
        anybody = logged_clicks(connection, PROJECT, 42, ids, "")
        elsewhere = logged_clicks(connection, PROJECT, 43, ids, "")
    assert ann == {"k1": True, "k2": False}
    assert anybody == {"k1": True, "k2": False, "k3": False}
    assert elsewhere == {}
