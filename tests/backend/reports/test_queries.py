"""Filters of reports, and the cost frames that are kept in memory."""

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from backend.errors import FilterError
from backend.reports import cost_frame
from backend.reports.queries import Reports
from backend.reports.records import ReportFilter
from tests.backend.reports.conftest import Team


def test_nothing_said_narrows_nothing(team: Any) -> None:
    assert team.reports.where(team.key, since="", version="", annotator="") == ReportFilter()


@pytest.mark.parametrize(
    ("since", "until"), [("2026-11-01", "2026-11-30"), ("20261101", "2026-W49-1")]
)
def test_both_days_count(team: Any, since: str, until: str) -> None:
    where = team.reports.where(team.key, since=since, until=until)

    assert where.since == datetime(2026, 11, 1, tzinfo=UTC)
    assert where.until == datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-11-25T14:30", 14),
        ("2026-11-25T14:30Z", 14),
        ("2026-11-25T14:30+02:00", 12),
        ("2026-11-25 14:30:00", 14),
    ],
)
def test_a_moment_is_itself(team: Any, text: str, hour: int) -> None:
    where = team.reports.where(team.key, since=text, until=text)

    assert where.since == where.until == datetime(2026, 11, 25, hour, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-13-01", "25.11.2026", "0001-01-01T00:00+14:00", "9999-12-31"]
)
def test_what_is_no_time_is_refused_with_an_example(team: Any, text: str) -> None:
    with pytest.raises(FilterError, match="2026-11-25"):
        team.reports.where(team.key, until=text)


def test_an_annotator_goes_by_number_and_by_address(team: Any) -> None:
    for written in ("2", "bob@example.com", "Bob@Example.com"):
        assert team.reports.where(team.key, annotator=written).annotator == 2


@pytest.mark.parametrize("written", ["eve@example.com", "٣", "1" * 30, "-1"])
def test_an_unknown_annotator_is_refused_with_the_known_ones(team: Any, written: str) -> None:
    with pytest.raises(FilterError, match=r"ann@example\.com"):
        team.reports.where(team.key, annotator=written)


def test_an_empty_label_is_one(team: Any) -> None:
    assert team.reports.where(team.key, label="").label == ""
    assert team.reports.where(team.key).label is None


def test_a_character_that_no_database_takes_is_refused(team: Any) -> None:
    with pytest.raises(FilterError, match="label"):
        team.reports.where(team.key, label="a\x00b")


def test_a_history_that_several_ask_for_at_once_is_read_once(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: reports that have read nothing yet, and a reading that takes until all have asked
    reports = Reports(team.reports.database)
    begun: list[str] = []
    asked = threading.Event()
    read = cost_frame.read

    def slow(connection: Any, project: str, before: Any = None) -> cost_frame.CostFrame:
        begun.append(project)
        assert asked.wait(20)
        return read(connection, project, before)

    monkeypatch.setattr(cost_frame, "read", slow)
    titles: list[str] = []
    threads = [
        threading.Thread(target=lambda: titles.append(reports.project(team.key).title))
        for _ in range(4)
    ]

    # when
    for thread in threads:
        thread.start()
    time.sleep(0.3)  # all of them are there by now, and wait
    asked.set()
    for thread in threads:
        thread.join(20)

    # then
    assert len(titles) == 4
    assert begun == [team.key]
