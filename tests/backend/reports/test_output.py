"""CSV that spreadsheets open correctly without running anything in it, and the JSON document."""

import csv
import io
import json
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.reports import output
from backend.reports.output import json_text
from backend.reports.queries import Report
from backend.reports.records import BYS, RegionCost, ReportFilter, TaskCost
from tests.backend.reports import big

DANGEROUS = tuple("=+-@\t\r＝＋－＠")


@dataclass(frozen=True)
class Row:
    label: str
    phrase: str = ""


def opened(text: str) -> list[dict[str, str]]:
    """The cells as a spreadsheet reads them."""
    raw = text.encode().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(raw, newline="")))


def as_written(text: str) -> str:
    return re.sub(r"(^|[;\t\r\n])'", r"\1", text)


def table(*rows: Row) -> str:
    return "".join(output.csv_text(rows, Row))


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("=+-@;'\",\t\r\n "))
    )
)
def test_any_text_comes_back_and_no_cell_is_a_formula(texts: list[str]) -> None:
    rows = opened(table(*(Row(text, text) for text in texts)))

    assert [as_written(row["label"]) for row in rows] == texts
    for row in rows:
        for cell in row.values():
            assert not cell.lstrip(" ").startswith(DANGEROUS)


@given(st.text(st.sampled_from("=+-@;'\",\t\r\n ab")))
def test_nor_where_another_character_separates_cells(text: str) -> None:
    # given: a spreadsheet that is set up for semicolons or tabs, and knows no quotes
    written = table(Row(text, text)).removeprefix(output.BYTE_ORDER_MARK)

    for separator in ";\t":
        for line in written.splitlines():
            for cell in line.split(separator)[1:]:
                assert not cell.startswith(DANGEROUS)


def test_it_begins_as_spreadsheets_need_it_to_read_utf_8() -> None:
    assert table(Row("Straße")).encode().startswith(b"\xef\xbb\xbflabel,phrase\r\n")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ""),
        (0, "0"),
        (True, "TRUE"),
        (False, "FALSE"),
        (0.123456, "0.1235"),
        (40.0, "40.0"),
        (datetime(2026, 11, 25, 9, 5, tzinfo=UTC), "2026-11-25 09:05:00"),
        (("Cat", "Dog"), "Cat | Dog"),
        ((0.5, None, 0.75), "0.5 |  | 0.75"),
        (("=1", "Dog"), "'=1 | Dog"),
        ((), ""),
    ],
)
def test_figures_are_written_as_spreadsheets_read_them(value: Any, said: str) -> None:
    assert output.cell(value) == said


def test_the_teams_tasks_are_all_there_with_their_figures(team: Any) -> None:
    tasks = team.reports.tasks(team.key, size=10_000).items

    rows = opened("".join(output.csv_text(tasks, TaskCost)))

    assert len(rows) == len(tasks) > 50
    written = sum(int(row["interactions"]) for row in rows)
    assert written == team.story.interactions[team.key]
    assert any("'=Bus" in row["labels"] for row in rows)
    assert "project" not in rows[0]


def test_the_teams_regions_keep_labels_and_words(team: Any) -> None:
    regions = list(team.reports.regions(team.key))

    rows = opened("".join(output.csv_text(regions, RegionCost)))

    assert len(rows) == team.story.regions[team.key]
    assert {as_written(row["label"]) for row in rows} == set(big.LABELS)
    assert [as_written(row["phrase"]) for row in rows] == [cost.phrase for cost in regions]
    by_hand = [row for row in rows if row["known"] == "FALSE"]
    assert len(by_hand) == team.story.by_hand[team.key]
    assert {row["interactions"] for row in by_hand} == {""}


def test_columns_are_a_contract() -> None:
    assert [field.name for field in fields(TaskCost)] == [
        *("task", "positive", "negative", "phrases", "boxes", "undos", "predictions"),
        "interactions",
        *("abandoned", "per_object", "seconds", "lead_time", "first_iou", "last_iou"),
        *("needed_85", "corrected", "objects", "unknown", "known", "versions", "labels"),
        *("annotators", "phrase", "last_at"),
    ]
    assert [field.name for field in fields(RegionCost)] == [
        *("task", "annotation", "region", "brush", "label", "annotator", "annotator_name"),
        *("version", "known", "origin", "positive", "negative", "phrases", "boxes", "undos"),
        *("predictions", "interactions", "phrase", "first_at", "accepted_at", "submitted_at"),
        *("seconds", "area", "pixels", "size", "first_iou", "last_iou", "ious", "needed_85"),
        *("corrected", "without_click"),
    ]


def document(team: Any, where: ReportFilter | None = None) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        "".join(json_text(Report.of(team.reports, team.key, where or ReportFilter())))
    )
    return loaded


def test_it_holds_everything_and_how_it_agrees(team: Any) -> None:
    report = document(team)

    tasks = [task["task"] for task in report["tasks"]]
    assert len(tasks) == team.reports.project(team.key).tasks
    assert tasks == sorted(tasks)
    interactions = sum(task["interactions"] for task in report["tasks"])
    assert interactions == team.story.interactions[team.key]
    assert len(report["regions"]) == team.story.regions[team.key]
    assert set(report["groups"]) == set(BYS) - {"project"}
    by_label = sum(group["n"] + group["unknown"] for group in report["groups"]["label"])
    assert (
        by_label
        == team.story.regions[team.key]
        == report["total"]["n"] + report["total"]["unknown"]
    )
    assert [change["promotion"]["version"] for change in report["promotions"]]
    assert report["reconciliation"]["agrees"] is True
    assert report["project"]["key"] == team.key


def test_unknown_is_null_and_not_zero(team: Any) -> None:
    by_hand = [region for region in document(team)["regions"] if not region["known"]]

    assert len(by_hand) == team.story.by_hand[team.key]
    for name in ("positive", "interactions", "seconds", "first_iou", "needed_85", "corrected"):
        assert {region[name] for region in by_hand} == {None}


def test_filters_are_written_and_applied(team: Any) -> None:
    report = document(team, ReportFilter(label="=Bus", annotator=2))

    assert report["filters"]["label"] == "=Bus"
    assert {region["label"] for region in report["regions"]} == {"=Bus"}
    assert {region["annotator"] for region in report["regions"]} == {2}
    assert all(task["labels"] == ["=Bus"] for task in report["tasks"])


def test_nothing_found_is_a_whole_document_too(team: Any) -> None:
    report = document(team, ReportFilter(label="Unicorn"))

    assert report["tasks"] == report["regions"] == report["groups"]["week"] == []
    assert report["total"] is None
