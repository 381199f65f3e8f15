"""Reports as files: a self-contained HTML page, CSV for spreadsheets, JSON, Parquet.

Each file is complete or not there. All but the page is written as it is read, so a long history
needs no memory. Columns are the fields of a record (``records``), by name and type.

A cell that begins with =, +, - or @ is a formula to a spreadsheet, and labels and phrases may be
anyone's words. Such a text gets an apostrophe before it; so does a text that begins with one, so
that removing one restores every text. The same is done after semicolons, tabs and
line breaks: a spreadsheet set up for another separator starts a new cell there, quoted or not.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args, get_origin, get_type_hints

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import TypeAdapter

from backend.errors import ReportError
from backend.reports import charts, tables, wording
from backend.reports.group_by import weeks_of
from backend.reports.queries import Report
from backend.reports.records import RegionCost, TaskCost
from model.files import atomic_file

if TYPE_CHECKING:
    import pyarrow

# The tables that are exported, by what their rows are.
RECORDS: dict[str, type] = {"tasks": TaskCost, "regions": RegionCost}

# Lets spreadsheets recognize UTF-8.
BYTE_ORDER_MARK = "\ufeff"
# Between the values in one cell.
_BETWEEN = " | "
# Full-width signs too: some spreadsheets treat them as the plain ones.
_OPENS_FORMULA = re.compile(r"(^|[;\t\r\n])(?=\s*['=+\-@＝＋－＠]|[\t\r\n])")
_DIGITS = 4

# Written at once: some 10 kB of text, and groups of Parquet that fit into memory and pack well.
_CSV_LINES, _JSON_LINES, _PARQUET_ROWS = 200, 50, 5_000


def csv_text(records: Iterable[object], of: type) -> Iterator[str]:
    """A CSV file in pieces; one column for each field of the records."""
    names = [field.name for field in fields(of)]
    piece = io.StringIO()
    piece.write(BYTE_ORDER_MARK)
    writer = csv.writer(piece, lineterminator="\r\n")
    writer.writerow(names)
    for number, record in enumerate(records, 1):
        writer.writerow([cell(getattr(record, name)) for name in names])
        if number % _CSV_LINES == 0:
            yield piece.getvalue()
            piece.seek(0)
            piece.truncate()
    yield piece.getvalue()


def cell(value: Any) -> str:
    """A value as a spreadsheet reads it; empty if unknown. Times are UTC."""
    if isinstance(value, str):
        return _guarded(value)
    if isinstance(value, tuple):
        return _guarded(_BETWEEN.join(_plain(part) for part in value))
    return _plain(value)


def _guarded(text: str) -> str:
    return _OPENS_FORMULA.sub(r"\1'", text)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return repr(round(value, _DIGITS))
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return str(value)


def json_text(report: Report) -> Iterator[str]:
    """A JSON document in pieces; its parts have the form of the API's answers."""
    yield f'{{\n"project": {_json(report.summary)},\n'
    yield f'"made_at": "{report.made_at.isoformat(timespec="seconds")}",\n'
    yield f'"filters": {_json(report.where)},\n'
    yield f'"total": {"null" if report.total is None else _json(report.total)},\n'
    yield '"tasks": '
    yield from _json_list(report.tasks())
    yield ',\n"regions": '
    yield from _json_list(report.regions())
    yield ',\n"groups": {'
    for number, (by, groups) in enumerate(report.groups.items()):
        yield f'{"," if number else ""}\n"{by}": '
        yield from _json_list(groups)
    yield '},\n"promotions": '
    yield from _json_list(report.promotions)
    yield f',\n"reconciliation": {_json(report.reconciliation)}\n}}\n'


def _json(record: object) -> str:
    return TypeAdapter(type(record)).dump_json(record).decode()


def _json_list(records: Iterable[object]) -> Iterator[str]:
    """One record per line."""
    remaining = iter(records)
    before = "[\n"
    while some := list(islice(remaining, _JSON_LINES)):
        form = TypeAdapter(type(some[0]))
        yield before + ",\n".join(form.dump_json(record).decode() for record in some)
        before = ",\n"
    yield "[]" if before == "[\n" else "\n]"


def write_parquet(path: Path, records: Iterable[object], rows: str, project: str) -> None:
    """Write a Parquet file, each column with its type, for pandas, Polars and DuckDB.

    Raises ReportError if it cannot be written.
    """
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    schema = pyarrow.schema(
        [(name, _arrow_type(hint)) for name, hint in get_type_hints(RECORDS[rows]).items()],
        metadata={"project": project, "rows": rows, "made_at": made_at},
    )
    remaining = iter(records)
    with _writing(path) as file, ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(islice(remaining, _PARQUET_ROWS)):
            writer.write_table(pyarrow.Table.from_pylist([vars(row) for row in group], schema))


def _arrow_type(hint: Any) -> "pyarrow.DataType":
    """The type of a column; a tuple is a list in each cell."""
    import pyarrow

    if NoneType in get_args(hint):
        (hint,) = (option for option in get_args(hint) if option is not NoneType)
    if get_origin(hint) is tuple:
        return pyarrow.list_(_arrow_type(get_args(hint)[0]))
    if get_origin(hint) is Literal:
        return pyarrow.string()
    return {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
        datetime: pyarrow.timestamp("us", tz="UTC"),
    }[hint]


def write_text(path: Path, pieces: Iterable[str]) -> None:
    """Write a text file. Raises ReportError if it cannot be written."""
    with _writing(path) as file:
        file.writelines(piece.encode() for piece in pieces)


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    try:
        with atomic_file(path, durable=False) as file:
            yield file
    except OSError as error:
        why = error.strerror or str(error)
        raise ReportError(f"{path} cannot be written: {why}. Name another file.") from None


# -- HTML; the dashboard has the same style sheet and templates

TEMPLATES = Path(__file__).parent / "templates"
# The style sheet of the report and of the dashboard.
STYLE = Path(__file__).parent / "static"

# More would make the page slow to open; --csv has all of them.
_MOST_TASKS = 200

FILTERS = {
    "number": wording.number,
    "signed": wording.signed,
    "share": wording.share,
    "duration": wording.duration,
    "counted": wording.counted,
    "day": wording.day,
    "minute": wording.minute,
    "serves": wording.serves,
    "promoted": wording.promoted,
}


@cache
def environment(*folders: Path) -> Environment:
    """Templates in these folders, else those of reports; texts of users are escaped."""
    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES, STYLE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= FILTERS
    made.globals |= {
        "error_bar_width": tables.ERROR_BAR_WIDTH,
        "group_columns": tables.GROUPS,
        "task_columns": tables.TASKS,
        "promotion_columns": tables.PROMOTIONS,
    }
    return made


def render(report: Report) -> str:
    weeks = weeks_of(report.groups["week"])
    marks = [change.promotion for change in report.promotions]
    total = report.total
    template = environment().get_template("report.html")
    return template.render(
        report=report,
        facts=wording.facts(report.summary),
        empty=wording.empty(report),
        filters=wording.filters(report.where),
        not_known=wording.not_known(total.unknown) if total else "",
        agreement=list(wording.agreement(report.reconciliation)),
        weeks=[charts.weeks_chart(weeks, marks, width, report.made_at) for width in charts.WIDTHS],
        weeks_text=charts.weeks_text(weeks) if weeks else "",
        bars=[
            charts.bars([("Objects", total.histogram)] if total else [], width)
            for width in charts.WIDTHS
        ],
        group_tables=[
            tables.GroupTable.of(by, groups) for by, groups in report.groups.items() if groups
        ],
        promotions=tables.promotion_rows(report.promotions),
        tasks=report.costliest(_MOST_TASKS),
    )
