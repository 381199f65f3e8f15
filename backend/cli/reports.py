"""Commands about accepted labels: ``samples`` (what was kept) and ``report`` (what they cost)."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backend.cli.common import AnyProject, Data, console, open_database, settings_of
from backend.errors import ReportError

if TYPE_CHECKING:
    from rich.console import Console

    from backend.db.engine import Database
    from backend.reports.queries import Reports
    from backend.settings import Settings

_FILE = "- prints it."


def samples(
    project: AnyProject = "",
    export: Annotated[
        Path | None, typer.Option(help="Write the samples of one project to this shard (.tar).")
    ] = None,
    split: Annotated[
        Literal["all", "train", "validation"], typer.Option(help="Which samples to export.")
    ] = "all",
    data: Data = None,
) -> None:
    """Show which accepted labels were kept as samples and why, or export them."""
    from backend.label_studio.payloads import number_of
    from backend.samples.rules import projects

    settings = settings_of(data)
    with open_database(settings) as database:
        known = [key for key in projects(database) if project in ("", key, str(number_of(key)))]
        if not known:
            raise ReportError(
                f"Project {project} has not sent any labels yet."
                if project
                else "No project has sent any labels yet."
            )
        if export is None:
            for key in known:
                _show_counts(console(soft_wrap=False), database, key)
        elif len(known) == 1:
            _export(console(), settings, database, known[0], export, split)
        else:
            raise ReportError("Name the project to export with --project.")


def report(
    project: Annotated[
        str,
        typer.Option(
            "--project", help="Project number in Label Studio.", show_default="the only one"
        ),
    ] = "",
    since: Annotated[str, typer.Option(help="Submitted on this day (2026-11-25) or later.")] = "",
    until: Annotated[str, typer.Option(help="Submitted on this day or earlier.")] = "",
    version: Annotated[str, typer.Option(help="Only this model version.")] = "",
    label: Annotated[str | None, typer.Option(help="Only this label.")] = None,
    annotator: Annotated[str, typer.Option(help="Only this user: number or e-mail address.")] = "",
    phrase: Annotated[
        bool | None,
        typer.Option(
            "--phrase/--no-phrase",
            help="Only objects with, or without, a phrase.",
            show_default="both",
        ),
    ] = None,
    tasks: Annotated[int, typer.Option(min=0, help="Number of most expensive tasks to show.")] = 20,
    json: Annotated[
        Path | None, typer.Option("--json", help=f"Write everything as JSON; {_FILE}")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a self-contained HTML page.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help=f"Write a table for spreadsheets; {_FILE}")
    ] = None,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="Write a typed table.")] = None,
    rows: Annotated[
        str, typer.Option(help="Rows of --csv and --parquet: tasks or regions.")
    ] = "tasks",
    data: Data = None,
) -> None:
    """Show what labeling costs: clicks, phrases, seconds, and whether each promotion reduced them.

    Times are UTC. If an output file is given, the tables are not printed.
    """
    from backend.reports.output import RECORDS, csv_text, json_text, render, write_parquet
    from backend.reports.queries import Report, Reports
    from backend.reports.tables import in_terminal

    if rows not in RECORDS:
        raise ReportError(f"--rows is tasks or regions, not {rows!r}.")
    if str(json) == str(csv) == "-":
        raise ReportError("Print --json or --csv, and name a file for the other.")
    with open_database(settings_of(data)) as database:
        reports = Reports(database)
        key = _project(reports, project)
        where = reports.where(
            key,
            since=since,
            until=until,
            version=version,
            label=label,
            annotator=annotator,
            phrase=phrase,
        )
        if json or html or not (csv or parquet):
            made = Report.of(reports, key, where)
            if json:
                _write(json, json_text(made))
            if html:
                _write(html, [render(made)])
            if not any((json, html, csv, parquet)):
                output = console(soft_wrap=False)
                for part in in_terminal(made, tasks):
                    output.print(part)
        entries = reports.every_task if rows == "tasks" else reports.regions
        if csv:
            _write(csv, csv_text(entries(key, where), RECORDS[rows]))
        if parquet:
            write_parquet(parquet, entries(key, where), rows, key)
            typer.echo(f"Wrote {parquet}", err=True)


def _project(reports: "Reports", written: str) -> str:
    from backend.label_studio.payloads import number_of
    from backend.label_studio.projects import project_key

    known = reports.keys()
    if not known:
        raise ReportError("No project is connected to this backend yet. Run phraseclick connect.")
    if written:
        return project_key(reports.database, written)
    if len(known) > 1:
        numbers = ", ".join(map(str, sorted(set(map(number_of, known)))))
        raise ReportError(f"Choose a project with --project: {numbers}.")
    return known[0]


def _write(path: Path, pieces: "list[str] | Iterator[str]") -> None:
    from backend.reports.output import write_text

    if str(path) == "-":
        for piece in pieces:
            typer.echo(piece, nl=False)
        return
    write_text(path, pieces)
    typer.echo(f"Wrote {path}", err=True)


def _show_counts(output: "Console", database: "Database", key: str) -> None:
    from rich.table import Table

    from backend.samples.rules import count_samples

    counts = count_samples(database, key)
    table = Table(title=f"Project {key.partition('.')[0]}", title_justify="left")
    table.add_column("")
    table.add_column("")
    table.add_column("number", justify="right")
    before = ""
    for (group, name), number in counts.numbers.items():
        table.add_row(group if group != before else "", name, str(number))
        before = group
    output.print(table)
    asked = counts.asked_at.strftime("%Y-%m-%d %H:%M UTC") if counts.asked_at else "never"
    output.print(f"Last synced with Label Studio: {asked}.")
    if counts.error:
        output.print(f"The last sync failed: {counts.error}", markup=False)


def _export(
    output: "Console",
    settings: "Settings",
    database: "Database",
    key: str,
    path: Path,
    split: 'Literal["all", "train", "validation"]',
) -> None:
    from rich.progress import Progress

    from backend.samples.dataset import export, open_samples

    dataset = open_samples(settings, database, key, None if split == "all" else split)
    if not len(dataset):
        raise ReportError(
            "There are no samples to export yet. phraseclick samples shows which were skipped."
        )
    with Progress(console=output) as bar:
        task = bar.add_task("exporting", total=len(dataset))
        written, missing = export(
            dataset, path, lambda done, total: bar.update(task, completed=done)
        )
    for sentence in missing:
        output.print(sentence, style="yellow", markup=False)
    output.print(f"Wrote {written} object{'' if written == 1 else 's'} to {path}.", markup=False)
