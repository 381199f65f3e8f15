"""The HTML report: self-contained, everything escaped, with the report's figures."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from backend.reports.output import render
from backend.reports.queries import Report
from backend.reports.records import ReportFilter
from tests.backend.reports import big


class PageParser(HTMLParser):
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
    return Report.of(team.reports, team.key, ReportFilter())


@pytest.fixture(scope="module")
def page(report: Report) -> PageParser:
    return PageParser(render(report))


def test_it_sends_no_requests(page: PageParser) -> None:
    assert page.refers == ["data:,"]
    assert not {"script", "img", "iframe", "form", "object"} & set(page.tags)
    assert page.open == []


def test_what_people_wrote_is_text(page: PageParser) -> None:
    assert "Ampel <b>" in page.texts
    assert any("=Bus" in text for text in page.texts)


def test_its_figures_are_the_reports(page: PageParser, report: Report) -> None:
    assert report.total is not None
    assert report.total.clicks is not None
    assert f"{report.total.clicks.mean.mean:.2f}" in page.texts
    said = " ".join(page.texts)
    for version in {change.promotion.version for change in report.promotions}:
        assert version in said
    for person in big.ANNOTATORS.values():
        assert person in said
    assert "agree" in said


def test_charts_say_in_words_what_they_draw(report: Report) -> None:
    labels = re.findall(r'role="img" aria-label="([^"]+)"', render(report))

    assert any("in the first" in label for label in labels)
    assert any("in one interaction" in label for label in labels)


def test_what_was_left_out_is_said(team: Any) -> None:
    where = ReportFilter(label="Cat", since=datetime(2026, 6, 1, tzinfo=UTC), phrase=False)

    said = " ".join(PageParser(render(Report.of(team.reports, team.key, where))).texts)

    assert "since 2026-06-01 00:00 UTC, label Cat, made without a phrase" in said


def test_disagreement_is_shown(report: Report) -> None:
    differs = replace(report.reconciliation, differences=("Task 3 counts 2 <clicks>, the log 3.",))

    read = PageParser(render(replace(report, reconciliation=differs)))

    assert "Task 3 counts 2 <clicks>, the log 3." in read.texts
