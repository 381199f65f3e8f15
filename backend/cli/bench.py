"""The command ``phraseclick bench``. Imported by the command line, so nothing heavy here."""

from pathlib import Path
from typing import Annotated

import typer


def bench(
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder to work in; a fresh one if none.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Pictures of each size that one annotator works on.")
    ] = 20,
    pictures: Annotated[
        int, typer.Option(min=0, help="Pictures to open before the memory is read.")
    ] = 500,
    seconds: Annotated[float, typer.Option(min=5, help="How long 20 annotators click.")] = 30.0,
) -> None:
    """Measure a real server: first click, further clicks, phrases, 20 annotators, memory."""
    from backend.benchmark.run import run

    run(json_file=json, folder=data, rounds=rounds, pictures=pictures, load_seconds=seconds)
