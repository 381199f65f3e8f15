"""The place that reports ask: what is read once is not read again."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from backend.reports import cost_frame
from backend.reports.source import Reports
from tests.backend.reports.conftest import Team


def test_a_history_that_several_ask_for_at_once_is_read_once(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: reports that have read nothing yet, and a reading that takes until all have asked
    reports = Reports(team.reports.database)
    begun: list[str] = []
    asked = threading.Event()
    read = cost_frame.read

    def slow(connection: Any, project: str, before: Any = None) -> cost_frame.Ledger:
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
