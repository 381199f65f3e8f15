"""The command ``phraseclick samples``: what became of the accepted labels, and their export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.options import Data, settings_of

if TYPE_CHECKING:
    from rich.console import Console

    from backend.db.engine import Database
    from backend.settings import Settings


def samples(
    project: Annotated[
        int | None, typer.Option(help="Project's number in Label Studio.", show_default="all")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write one project's samples to this shard (.tar).")
    ] = None,
    split: Annotated[str, typer.Option(help="Of an export: train, validation, or all.")] = "all",
    data: Data = None,
) -> None:
    """Show what became of the accepted labels, or export them as training data."""
    from rich.console import Console

    from backend.db.engine import Database
    from backend.errors import SamplesError
    from backend.label_studio.payloads import number_of
    from backend.samples.rules import projects

    if split not in ("all", "train", "validation"):
        raise SamplesError("--split is train, validation or all.")
    settings = settings_of(data)
    database = Database(settings.resolved_database_url)
    database.migrate()
    try:
        known = [key for key in projects(database) if project is None or number_of(key) == project]
        if not known:
            raise SamplesError(
                "No project has sent a label to this backend yet."
                if project is None
                else f"Project {project} has sent no label to this backend yet."
            )
        if export is None:
            for key in known:
                _show(Console(), database, key)
        elif len(known) == 1:
            _export(Console(), settings, database, known[0], export, split)
        else:
            raise SamplesError("An export takes one project: name it with --project.")
    finally:
        database.close()


def _show(console: "Console", database: "Database", key: str) -> None:
    from rich.table import Table

    from backend.samples.counts import count

    counts = count(database, key)
    table = Table(title=f"Project {key.partition('.')[0]}", title_justify="left")
    table.add_column("")
    table.add_column("")
    table.add_column("number", justify="right")
    before = ""
    for group, name, number in counts.rows():
        table.add_row(group if group != before else "", name, str(number))
        before = group
    console.print(table)
    asked = counts.asked_at.strftime("%Y-%m-%d %H:%M UTC") if counts.asked_at else "never"
    console.print(f"Label Studio was last asked for all of it: {asked}.", highlight=False)
    if counts.error:
        console.print(f"The last time it did not work: {counts.error}", highlight=False)


def _export(
    console: "Console",
    settings: "Settings",
    database: "Database",
    key: str,
    path: Path,
    split: str,
) -> None:
    from rich.progress import Progress

    from backend.errors import SamplesError
    from backend.samples.dataset import open_samples
    from backend.samples.export import export
    from backend.samples.rules import Split

    sides: dict[str, Split | None] = {"all": None, "train": "train", "validation": "validation"}
    dataset = open_samples(settings, database, key, sides[split])
    if not len(dataset):
        raise SamplesError(
            "There is no sample to export yet: phraseclick samples tells what became of the labels."
        )
    with Progress(console=console) as bar:
        task = bar.add_task("exporting", total=len(dataset))
        written, missing = export(
            dataset, path, lambda done, total: bar.update(task, completed=done)
        )
    for sentence in missing:
        console.print(sentence, style="yellow", highlight=False)
    console.print(f"{written} objects are in {path}.", highlight=False)
