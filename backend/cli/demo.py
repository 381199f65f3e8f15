"""The command ``phraseclick demo``. Imported by the command line, so nothing heavy here."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End after the table instead of staying up.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Without the learning loop, which takes some minutes.")
    ] = False,
    folder: Annotated[
        Path, typer.Option(help="Where pictures and, while it runs, all state are kept.")
    ] = Path("demo"),
    label_studio: Annotated[
        Path | None,
        typer.Option(
            help="The label-studio command.", show_default="that of make setup-label-studio"
        ),
    ] = None,
) -> None:
    """Show the whole product in a Label Studio of its own, then stay up until Ctrl-C."""
    from backend.demo.show import Show

    if not Show(folder, label_studio, learns=not quick).run(stay=not once):
        raise typer.Exit(1)
