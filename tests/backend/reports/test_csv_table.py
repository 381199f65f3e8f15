"""Spreadsheets open the table rightly, run nothing in it, and every text can be had back."""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.reports import csv_table
from backend.reports.columns import REGION_COLUMNS, TASK_COLUMNS, Column
from tests.backend.reports import big

DANGEROUS = tuple("=+-@\t\r＝＋－＠")


@dataclass(frozen=True)
class Row:
    label: str
    phrase: str = ""


COLUMNS = (Column("label", "text"), Column("phrase", "text"))


def opened(text: str) -> list[dict[str, str]]:
    """As a spreadsheet that keeps to the rules reads it."""
    raw = text.encode().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(raw, newline="")))


def table(*rows: Row) -> str:
    return "".join(csv_table.csv_text(rows, COLUMNS))


@pytest.mark.parametrize(
    "text",
    [
        'Traffic light, "red"',
        "two\nlines",
        "two\r\nlines",
        "=1+1",
        "+41 79",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1+1",
        "＝1+1",
        "'quoted'",
        "''",
        "cat;=1+1",
        "cat\n=1+1",
        "Straße ✓ 猫 🐈",
        "",
        " ",
    ],
)
def test_a_label_comes_back_as_it_was(text: str) -> None:
    (row,) = opened(table(Row(text, text)))

    assert csv_table.as_written(row["label"]) == text
    assert csv_table.as_written(row["phrase"]) == text


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("=+-@;'\",\t\r\n "))
    )
)
def test_any_text_comes_back_and_no_cell_is_a_formula(texts: list[str]) -> None:
    rows = opened(table(*(Row(text, text) for text in texts)))

    assert [csv_table.as_written(row["label"]) for row in rows] == texts
    for row in rows:
        for cell in row.values():
            assert not cell.lstrip(" ").startswith(DANGEROUS)


@given(st.text(st.sampled_from("=+-@;'\",\t\r\n ab")))
def test_nor_where_another_character_separates_cells(text: str) -> None:
    # given: a spreadsheet that is set up for semicolons or tabs, and knows no quotes
    written = table(Row(text, text)).removeprefix(csv_table.BYTE_ORDER_MARK)

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
def test_figures_are_said_as_spreadsheets_read_them(value: Any, said: str) -> None:
    assert csv_table.cell(value) == said


def test_the_teams_tasks_are_all_there_with_their_figures(team: Any) -> None:
    tasks = team.reports.tasks(team.key, size=10_000).items

    rows = opened("".join(csv_table.csv_text(tasks, TASK_COLUMNS)))

    assert len(rows) == len(tasks) > 50
    written = sum(int(row["interactions"]) for row in rows)
    assert written == team.story.interactions[team.key]
    assert any("'=Bus" in row["labels"] for row in rows)
    assert "project" not in rows[0]


def test_the_teams_regions_keep_labels_and_words(team: Any) -> None:
    regions = list(team.reports.regions(team.key))

    rows = opened("".join(csv_table.csv_text(regions, REGION_COLUMNS)))

    assert len(rows) == team.story.regions[team.key]
    assert {csv_table.as_written(row["label"]) for row in rows} == set(big.LABELS)
    assert [csv_table.as_written(row["phrase"]) for row in rows] == [it.phrase for it in regions]
    by_hand = [row for row in rows if row["known"] == "FALSE"]
    assert len(by_hand) == team.story.by_hand[team.key]
    assert {row["interactions"] for row in by_hand} == {""}
