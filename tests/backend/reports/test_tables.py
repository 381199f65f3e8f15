"""Columns that sort and write figures, and the error bars beside them."""

from dataclasses import dataclass

from backend.reports import tables
from backend.reports.records import Interval
from backend.reports.tables import Column


@dataclass(frozen=True)
class Row:
    name: str
    figure: Interval | float | None


def test_rows_without_the_figure_come_last_in_both_directions() -> None:
    column = Column("figure", "Figure")
    rows = [Row("no", None), Row("a", 2.0), Row("b", Interval(3.0, None, None, 1)), Row("c", 1.0)]

    for descending, names in ((False, ["c", "a", "b", "no"]), (True, ["b", "a", "c", "no"])):
        assert [row.name for row in column.order(rows, descending=descending)] == names
    assert [column.text(row) for row in (rows[0], rows[1])] == ["–", "2"]


def test_names_are_sorted_regardless_of_case() -> None:
    rows = [Row("b", 0), Row("A", 0), Row("C", 0)]

    assert [row.name for row in Column("name", "").order(rows, descending=False)] == ["A", "b", "C"]


def test_an_error_bar_is_cut_off_at_its_scale() -> None:
    alone = tables.error_bar(Interval(1.0, None, None, 1), -2.0, 2.0)
    assert alone == tables.ErrorBar(None, 112.5, None, 75.0)
    wide = tables.error_bar(Interval(0.0, -9.0, 9.0, 2), -2.0, 2.0)
    assert wide == tables.ErrorBar(0.0, 75.0, 150.0, 75.0)
    assert tables.error_bar(None, 0.0, 1.0) is None


def test_one_wide_interval_does_not_press_the_others_together() -> None:
    narrow, wide = Interval(-0.5, -0.6, -0.4, 900), Interval(-0.5, -40.0, 39.0, 2)

    assert tables.reach_of([narrow, wide, None], 0.2) == 1.5
    assert tables.reach_of([], 0.2) == 0.2
