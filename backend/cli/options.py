"""What several commands share. Imported by the command line, so nothing heavy here."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backend.settings import Settings

Data = Annotated[
    Path | None,
    typer.Option(help="Folder that holds all state.", show_default="PHRASECLICK_DATA"),
]
ProjectOption = Annotated[
    str, typer.Option("--project", help="Project's number in Label Studio.", show_default="all")
]


def settings_of(data: Path | None) -> "Settings":
    """The settings, with ``--data`` over what the environment says."""
    from backend.settings import get_settings

    if data is not None:
        # In the environment, so that every process started from here sees the same folder.
        os.environ["PHRASECLICK_DATA"] = str(data.resolve())
        get_settings.cache_clear()
    return get_settings()
