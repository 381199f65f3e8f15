"""What several commands share."""

import getpass
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from backend.db.engine import Database
    from backend.settings import Settings

Data = Annotated[
    Path | None,
    typer.Option(help="Folder that holds all state.", show_default="PHRASECLICK_DATA"),
]
Project = Annotated[str, typer.Option("--project", help="Project number in Label Studio.")]
AnyProject = Annotated[
    str, typer.Option("--project", help="Project number in Label Studio.", show_default="all")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_of(data: Path | None) -> "Settings":
    """The settings; ``--data`` overrides the environment."""
    from backend.settings import get_settings

    if data is not None:
        # Put into the environment, so that processes started from here use the same folder.
        os.environ["PHRASECLICK_DATA"] = str(data.resolve())
        get_settings.cache_clear()
    return get_settings()


def key_of(database: "Database", written: str) -> str:
    """The key of a project, from the key or its number. Raises ReportError if it is unknown."""
    from backend.label_studio.projects import project_key

    return project_key(database, written)


def keep_private(settings: "Settings") -> None:
    """Close the data folder to other users, and all files that this process creates from now on.

    Raises StorageError where it cannot be created or written to.
    """
    from backend.errors import StorageError
    from model.files import private_folder

    os.umask(0o077)
    try:
        private_folder(settings.data)
        with TemporaryFile(dir=settings.data):
            pass
    except OSError as error:
        raise StorageError(
            f"The data folder {settings.data} cannot be used: {error.strerror}. Choose one that "
            "this user can write to with --data or PHRASECLICK_DATA."
        ) from error


def open_database(settings: "Settings") -> "closing[Database]":
    """The backend's database with its tables up to date; closed afterwards."""
    from backend.db.migrations import open_database

    return closing(open_database(settings))


def console(*, soft_wrap: bool = True, stderr: bool = False) -> "Console":
    """Standard output or error, without line breaks (``soft_wrap``) or colours of its own.

    Names and texts from outside cannot repaint the terminal: control characters are escaped.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    from backend.logs import escaped_lines

    class Escaping(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else escaped_lines(text), style, control)

    return Escaping(soft_wrap=soft_wrap, highlight=False, stderr=stderr)


def user() -> str:
    """Who runs the command, for the log of jobs and promotions."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return "unknown user"


def enqueue(settings: "Settings", task: str, *arguments: object) -> None:
    """Send the worker a task. If the broker is away, the worker finds the work in the database."""
    from backend.worker import celery_app
    from model.files import private_folder

    private_folder(settings.data)
    try:
        celery_app.call(celery_app.build(settings), task, *arguments)
    except Exception as error:  # each broker's client raises its own
        typer.echo(
            f"The worker could not be notified ({error}); it checks the database by itself.",
            err=True,
        )
