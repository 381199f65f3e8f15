"""The application and its entry point.

Each command imports what it needs when it runs, so that ``phraseclick --help`` answers at once and
loads neither torch nor gensim. The modules of this package import nothing heavy at the top.
"""

import sys
from pathlib import Path
from typing import NoReturn

import typer

from backend.cli import connect, jobs, processes, reports, versions
from model.errors import PhraseClickError
from training import commands as training

COMMANDS = (
    processes.up,
    processes.alive,
    processes.serve,
    processes.worker,
    processes.scheduler,
    processes.demo,
    processes.bench,
    connect.connect,
    connect.doctor,
    connect.disconnect,
    reports.samples,
    reports.report,
    jobs.learn,
    jobs.score,
    jobs.jobs,
    jobs.job,
    jobs.cancel,
    versions.versions,
    versions.promote,
    versions.rollback,
    versions.compare,
    versions.import_version,
    training.train,
    training.evaluate,
    training.calibrate,
    training.average,
    training.reencode,
    training.simulate,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Click and phrase segmentation for Label Studio.",
)
for _command in COMMANDS:
    app.command()(_command)


def main() -> None:
    """Run the command. An error that the program knows is one sentence and exit status 1."""
    try:
        app(obj=_folder_of_version)
    except PhraseClickError as error:
        _end(str(error))
    except OSError as error:  # such as a full disk, or a folder of another user
        if error.strerror is None:
            raise
        _end(f"{error.filename or 'A file'} cannot be used: {error.strerror}.")
    except ValueError as error:
        _end(_about_settings(error))


def _end(sentence: str) -> NoReturn:
    from backend.logs import escaped_lines

    typer.secho(escaped_lines(sentence), fg=typer.colors.RED, err=True)
    sys.exit(1)


def _about_settings(error: ValueError) -> str:
    """What is wrong with the settings, a line each; any other error is raised again."""
    from pydantic import ValidationError

    if isinstance(error, UnicodeError):
        return "A name or file of this command is not in UTF-8."
    if not isinstance(error, ValidationError) or error.title != "Settings":
        raise error
    wrong = error.errors(include_input=False, include_url=False)
    return "\n".join(
        f"The setting PHRASECLICK_{str(one['loc'][0]).upper()} is wrong. {one['msg']}."
        for one in wrong
    )


def _folder_of_version(name: str) -> Path:
    """The checkpoint folder of a version: training's commands, such as evaluate, take names too."""
    from backend.registry.versions import resolve
    from backend.settings import get_settings

    return resolve(name, get_settings())
