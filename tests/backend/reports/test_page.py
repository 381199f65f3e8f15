"""The page of a report: whole by itself, everything escaped, the figures in it; and its charts."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from backend.db.engine import Database
from backend.reports import charts
from backend.reports.page import render
from backend.reports.records import GroupCost, Interval, Spread, Where
from backend.reports.report import Report, gather
from backend.reports.source import Reports
from tests.backend.reports import big
from tests.backend.reports.conftest import connect


class Read(HTMLParser):
    """Tags with what they refer to, texts, and whether every tag is closed."""

    _EMPTY = frozenset({"meta", "link", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.refers: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.refers += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag not in self._EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


@pytest.fixture(scope="module")
def report(team: Any) -> Report:
    return gather(team.reports, team.key, Where())


@pytest.fixture(scope="module")
def page(report: Report) -> Read:
    return Read(render(report))


def test_it_asks_nobody_for_anything(page: Read) -> None:
    assert page.refers == ["data:,"]
    assert not {"script", "img", "iframe", "form", "object"} & set(page.tags)
    assert page.open == []


def test_what_people_wrote_is_text(page: Read) -> None:
    assert "Ampel <b>" in page.texts
    assert any("=Bus" in text for text in page.texts)


def test_its_figures_are_the_reports(page: Read, report: Report) -> None:
    assert report.total is not None
    assert report.total.clicks is not None
    assert f"{report.total.clicks.mean.mean:.2f}" in page.texts
    said = " ".join(page.texts)
    for version in {it.promotion.version for it in report.promotions}:
        assert version in said
    for person in big.ANNOTATORS.values():
        assert person in said
    assert "agree" in said


def test_charts_say_in_words_what_they_draw(report: Report) -> None:
    labels = re.findall(r'role="img" aria-label="([^"]+)"', render(report))

    assert any("in the first" in label for label in labels)
    assert any("in one interaction" in label for label in labels)


def test_what_was_left_out_is_said(team: Any) -> None:
    where = Where(label="Cat", since=datetime(2026, 6, 1, tzinfo=UTC), phrase=False)

    said = " ".join(Read(render(gather(team.reports, team.key, where))).texts)

    assert "since 2026-06-01 00:00 UTC, label Cat, made without words" in said


def test_a_filter_that_leaves_nothing_says_so(team: Any) -> None:
    said = Read(render(gather(team.reports, team.key, Where(label="Unicorn")))).texts

    assert "Nothing in this project fits these filters." in said


def test_disagreement_is_shown(report: Report) -> None:
    differs = replace(report.reconciliation, differences=("Task 3 counts 2 <clicks>, the log 3.",))

    read = Read(render(replace(report, reconciliation=differs)))

    assert "Task 3 counts 2 <clicks>, the log 3." in read.texts


def test_a_project_nobody_worked_in_has_a_page(database: Database) -> None:
    connect(database, big.PROJECT)

    said = Read(render(gather(Reports(database), big.PROJECT, Where()))).texts

    assert any("Nobody has clicked" in text for text in said)


def test_it_ships(tmp_path: Path) -> None:
    assert (Path(charts.__file__).parent / "page.html").is_file()


# -- charts


def group(name: str, mean: float, n: int = 10, histogram: tuple[int, ...] = ()) -> GroupCost:
    interval = Interval(mean, mean - 0.5, mean + 0.5, n)
    return GroupCost(
        name=name,
        title=name,
        n=n,
        unknown=0,
        tasks=n,
        clicks=Spread(mean, interval),
        seconds=None,
        one=None,
        first_iou=None,
        last_iou=None,
        needed_85=None,
        corrected=None,
        histogram=histogram or (0,) * 21,
    )


def test_weeks_lie_in_their_frame_and_higher_is_more() -> None:
    drawn = charts.weeks([group("2026-11-02", 4.0), group("2026-11-16", 2.0)], [])

    assert drawn is not None
    first, last = drawn.points
    assert drawn.left < first.x < last.x < drawn.right
    assert drawn.top <= first.high < first.y < first.low <= drawn.bottom
    assert first.y < last.y
    # The week between, in which nobody worked, takes its place.
    assert last.x - first.x == pytest.approx((drawn.right - drawn.left) * 2 / 3, abs=0.2)


def test_one_week_makes_no_line() -> None:
    assert charts.weeks([group("2026-11-02", 4.0)], []) is None


def many_weeks(number: int) -> Iterator[GroupCost]:
    for week in range(number):
        yield group(
            datetime.fromordinal(739_000 - 739_000 % 7 + 1 + 7 * week).date().isoformat(), 2.0
        )


def test_days_below_the_axis_never_touch() -> None:
    drawn = charts.weeks(list(many_weeks(60)), [])

    assert drawn is not None
    places = [tick.at for tick in drawn.across if tick.text]
    assert len(places) > 5
    assert all(b - a >= 46 for a, b in pairwise(places))


def test_bars_are_as_high_as_there_are_objects() -> None:
    drawn = charts.histogram(group("all", 2.0, 30, (0, 20, 10, *(0,) * 18)))

    assert drawn is not None
    one, two, *rest = drawn.bars
    assert one.height == pytest.approx(2 * two.height)
    assert all(bar.height == 0 for bar in rest)
    assert one.text == "20 objects (66.7 %): 1 interaction"
    assert "67 %" in drawn.said


def test_those_who_took_twenty_or_more_stand_in_the_last_bar() -> None:
    drawn = charts.histogram(group("all", 2.0, 3, (0, 2, *(0,) * 18, 1)))

    assert drawn is not None
    assert drawn.bars[-1].text == "1 object (33.3 %): 20 or more interactions"
    assert drawn.across[-1].text == "20+"


def test_no_object_no_histogram() -> None:
    assert charts.histogram(group("none", 0.0, 0)) is None


def test_a_whisker_is_cut_off_at_its_scale() -> None:
    drawn = charts.whisker(Interval(1.0, None, None, 1), -2.0, 2.0, 100.0)
    assert drawn == charts.Whisker(75.0, 75.0, 75.0, 50.0)
    wide = charts.whisker(Interval(0.0, -9.0, 9.0, 2), -2.0, 2.0, 100.0)
    assert wide == charts.Whisker(0.0, 50.0, 100.0, 50.0)
    assert charts.whisker(None, 0.0, 1.0, 100.0) is None
