"""Objects accepted without a click: which regions count, and where the share is shown."""

from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import update

from backend.db.engine import Database
from backend.db.models import RegionCostRow
from backend.reports import wording
from backend.reports.output import render
from backend.reports.queries import Report, Reports
from backend.reports.records import RegionCost, ReportFilter
from backend.reports.tables import in_terminal
from tests.backend.reports.big import PROJECT, fill_one


@pytest.fixture
def reports(database: Database) -> Reports:
    """Some 150 objects; some are without an event in the log, as drawn by hand."""
    fill_one(database, 600)
    return Reports(database)


def change(reports: Reports, region: RegionCost, **values: Any) -> None:
    here = (RegionCostRow.annotation_id == region.annotation) & (
        RegionCostRow.region_id == region.region
    )
    with reports.database.write() as connection:
        connection.execute(update(RegionCostRow).where(here).values(**values))


def test_only_an_unchanged_prediction_and_words_alone_need_no_click(reports: Reports) -> None:
    # given one region as predicted, one edited by hand, and one made by a phrase alone
    before = list(reports.regions(PROJECT))
    predicted, edited, drawn, *_ = (region for region in before if not region.known)
    words, boxed, clicked, *_ = (region for region in before if region.positive)
    change(reports, predicted, origin="prediction")
    change(reports, edited, origin="prediction-changed")
    change(reports, words, positive=0, negative=0, phrases=1, interactions=1)
    change(reports, boxed, positive=0, negative=0, boxes=1, interactions=1)
    # when
    flags = {region.region: region.without_click for region in reports.regions(PROJECT)}
    (total,) = reports.groups(PROJECT, "project")
    # then
    assert [flags[one.region] for one in (predicted, edited, words)] == [True, False, True]
    # and a click or a box is one, and of what was drawn by hand nothing is known
    shown = flags[clicked.region], flags[boxed.region], flags[drawn.region]
    assert shown == (False, False, None)
    # and the share is of the known regions and the two from predictions
    assert total.without_click is not None
    assert total.without_click.n == sum(region.known for region in before) + 2
    assert total.without_click.mean == pytest.approx(
        sum(flag is True for flag in flags.values()) / total.without_click.n
    )


def test_reports_show_the_share(reports: Reports) -> None:
    report = Report.of(reports, PROJECT, ReportFilter())
    console = Console(width=120)
    with console.capture() as capture:
        for part in in_terminal(report, 0):
            console.print(part)
    assert report.total is not None
    assert report.total.without_click is not None
    share, objects = wording.share(report.total.without_click), report.total.without_click.n
    assert f"{share} of {objects} objects accepted without a click." in capture.get()
    said = f"<dt>Without a click</dt><dd>{share}</dd><small>of {objects} objects</small>"
    assert said in render(report)
