"""Tables as CSV that a spreadsheet opens rightly, and without running what a label says.

A cell that begins with =, +, - or @ is a formula to a spreadsheet, and labels and phrases are
anybody's words. Such a text gets an apostrophe before it; so does one that begins with an
apostrophe, so that taking one off gives every text back (``as_written``). The same is done behind
semicolons, tabs and line breaks: to a spreadsheet set up for another separator a new cell begins
there, whatever is quoted.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from backend.reports.columns import Column, cells

# So that spreadsheets take it for UTF-8.
BYTE_ORDER_MARK = "\ufeff"

# Between the names in one cell.
BETWEEN = " | "

# Full-width signs too: some spreadsheets take them for the plain ones.
_OPENS_FORMULA = re.compile(r"(^|[;\t\r\n])(?=\s*['=+\-@＝＋－＠]|[\t\r\n])")
_GUARD = re.compile(r"(^|[;\t\r\n])'")

_DIGITS = 4
# Written at once: a few ten kB.
_LINES = 200


def csv_text(records: Iterable[object], columns: tuple[Column, ...]) -> Iterator[str]:
    """The file in pieces, never all of it in memory."""
    piece = io.StringIO()
    piece.write(BYTE_ORDER_MARK)
    writer = csv.writer(piece, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    for number, row in enumerate(cells(records, columns), 1):
        writer.writerow([cell(value) for value in row])
        if number % _LINES == 0:
            yield piece.getvalue()
            piece.seek(0)
            piece.truncate()
    yield piece.getvalue()


def cell(value: Any) -> str:
    """A figure as a spreadsheet reads it; empty where it is not known. Times are UTC."""
    if isinstance(value, str):
        return guarded(value)
    if isinstance(value, tuple):
        return guarded(BETWEEN.join(_plain(each) for each in value))
    return _plain(value)


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return _OPENS_FORMULA.sub(r"\1'", text)


def as_written(text: str) -> str:
    """What ``guarded`` was given."""
    return _GUARD.sub(r"\1", text)


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
