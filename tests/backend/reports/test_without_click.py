"""Objects accepted without a click: which regions count, and where the share is shown."""

import pytest
from rich.console import Console
from sqlalchemy import update

from backend.db.engine import Database
from backend.db.models import RegionCostRow
from backend.reports.output import render
from backend.reports.queries import Report, Reports
from backend.reports.records import ReportFilter
from backend.reports.tables import in_terminal
from tests.backend.reports.filled import KEY, fill


@pytest.fixture
def reports(database: Database) -> Reports:
    """60 tasks with 120 objects: 12 of them without an event in the log, as drawn by hand."""
    fill(database)
    return Reports(database)


def came_from(reports: Reports, origin: str, task: int) -> None:
    """The regions of this task that the log does not know came from a prediction."""
    here = (RegionCostRow.task_id == task) & RegionCostRow.known.is_(False)
    with reports.database.write() as connection:
        connection.execute(update(RegionCostRow).where(here).values(origin=origin))


def test_only_an_unchanged_prediction_and_words_alone_need_no_click(reports: Reports) -> None:
    # given one region as predicted, one edited by hand, and one made by a phrase alone
    came_from(reports, "prediction", 5)
    came_from(reports, "prediction-changed", 10)
    alone = (RegionCostRow.task_id == 3) & (RegionCostRow.region_id == "r3-0")
    with reports.database.write() as connection:
        connection.execute(
            update(RegionCostRow)
            .where(alone)
            .values(positive=0, negative=0, phrases=1, interactions=1)
        )
    # when
    flags = {(region.task, region.region): region.without_click for region in reports.regions(KEY)}
    (total,) = reports.groups(KEY, "project")
    # then
    assert (flags[5, "r5-0"], flags[10, "r10-0"], flags[3, "r3-0"]) == (True, False, True)
    # and what was clicked had a click, and of what was drawn by hand nothing is known
    assert (flags[1, "r1-0"], flags[15, "r15-0"]) == (False, None)
    # and the share is of 108 known regions and the two from predictions
    assert total.without_click is not None
    assert total.without_click.n == 110
    assert total.without_click.mean == pytest.approx(2 / 110)


def test_reports_show_the_share(reports: Reports) -> None:
    came_from(reports, "prediction", 5)
    report = Report.of(reports, KEY, ReportFilter())
    console = Console(width=120)
    with console.capture() as capture:
        for part in in_terminal(report, 0):
            console.print(part)
    assert "1 % of 109 objects accepted without a click." in capture.get()
    assert "<dt>Without a click</dt><dd>1 %</dd><small>of 109 objects</small>" in render(report)
