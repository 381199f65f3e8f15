"""The command ``phraseclick report``: what labeling costs, on the terminal and as files.

Imported by the command line, so nothing heavy here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.options import Data, settings_of

if TYPE_CHECKING:
    from backend.reports.records import Where
    from backend.reports.report import Report
    from backend.reports.source import Reports

_FILE = "- for the terminal."


def report(
    project: Annotated[
        str,
        typer.Option(
            "--project", help="Project's number in Label Studio.", show_default="the only one"
        ),
    ] = "",
    since: Annotated[str, typer.Option(help="Submitted on this day or later: 2026-11-25.")] = "",
    until: Annotated[str, typer.Option(help="Submitted on this day or earlier.")] = "",
    version: Annotated[str, typer.Option(help="Made with this model version.")] = "",
    label: Annotated[str | None, typer.Option(help="Of this label.")] = None,
    annotator: Annotated[str, typer.Option(help="Number or e-mail address of the user.")] = "",
    phrase: Annotated[
        bool | None,
        typer.Option("--phrase/--no-phrase", help="Made with words, or without.", show_default=""),
    ] = None,
    tasks: Annotated[int, typer.Option(min=0, help="So many of the costliest tasks.")] = 20,
    json: Annotated[
        Path | None, typer.Option("--json", help=f"Write all of it as JSON; {_FILE}")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page that needs nothing but itself.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help=f"Write a table for spreadsheets; {_FILE}")
    ] = None,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="Write a typed table.")] = None,
    rows: Annotated[
        str, typer.Option(help="Of --csv and --parquet: one for each of 'tasks' or 'regions'.")
    ] = "tasks",
    data: Data = None,
) -> None:
    """Show what labeling costs: clicks, phrases, seconds, and whether the model makes it cheaper.

    Times are UTC. With a file named, the tables are left out.
    """
    from backend.errors import ReportError
    from backend.reports.filters import read_where
    from backend.reports.report import gather

    if rows not in ("tasks", "regions"):
        raise ReportError(f"--rows is tasks or regions, not {rows!r}.")
    with _reports(data) as reports:
        key = _project(reports, project)
        where = read_where(
            reports,
            key,
            since=since,
            until=until,
            version=version,
            label=label,
            annotator=annotator,
            phrase=phrase,
        )
        if json or html or not (csv or parquet):
            made = gather(reports, key, where)
            if json:
                from backend.reports.document import json_text

                _write(json, json_text(made))
            if html:
                from backend.reports.page import render

                _write(html, [render(made)])
            if not any((json, html, csv, parquet)):
                _show(made, tasks)
        if csv or parquet:
            _write_tables(reports, key, where, rows, csv, parquet)


@contextmanager
def _reports(data: Path | None) -> "Iterator[Reports]":
    from backend.db.engine import Database
    from backend.reports.source import Reports

    database = Database(settings_of(data).resolved_database_url)
    try:
        database.migrate()
        yield Reports(database)
    finally:
        database.close()


def _project(reports: "Reports", written: str) -> str:
    from backend.errors import ReportError
    from backend.label_studio.payloads import number_of

    known = reports.keys()
    if not known:
        raise ReportError("No project is known to this backend yet: connect one first.")
    if written:
        return reports.key(written)
    if len(known) > 1:
        numbers = ", ".join(map(str, sorted(set(map(number_of, known)))))
        raise ReportError(f"Name the project with --project; known are {numbers}.")
    return known[0]


def _show(made: "Report", tasks: int) -> None:
    from rich.console import Console

    from backend.reports.terminal import tables

    console = Console(highlight=False)
    for part in tables(made, tasks):
        console.print(part)


def _write_tables(
    reports: "Reports",
    project: str,
    where: "Where",
    rows: str,
    csv: Path | None,
    parquet: Path | None,
) -> None:
    from datetime import UTC, datetime

    from backend.reports.columns import REGION_COLUMNS, TASK_COLUMNS
    from backend.reports.report import every_task

    columns = TASK_COLUMNS if rows == "tasks" else REGION_COLUMNS

    def records() -> "Iterator[object]":
        if rows == "tasks":
            return every_task(reports, project, where)
        return reports.regions(project, where)

    if csv:
        from backend.reports.csv_table import csv_text

        _write(csv, csv_text(records(), columns))
    if parquet:
        from backend.reports.output import written
        from backend.reports.parquet import write_parquet

        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        with written(parquet) as aside:
            about = {"project": project, "rows": rows, "made_at": made_at}
            write_parquet(aside, records(), columns, about)
        typer.echo(f"Wrote {parquet}", err=True)


def _write(path: Path, pieces: "list[str] | Iterator[str]") -> None:
    from backend.reports.output import write_text

    if str(path) == "-":
        for piece in pieces:
            typer.echo(piece, nl=False)
        return
    write_text(path, pieces)
    typer.echo(f"Wrote {path}", err=True)
