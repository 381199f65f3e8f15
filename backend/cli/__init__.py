"""The command ``phraseclick``.

Every command imports what it needs when it runs: ``phraseclick --help`` answers at once and loads
neither torch nor gensim.
"""

import sys
from pathlib import Path

import typer

from backend.cli.bench import bench
from backend.cli.connect import connect, doctor
from backend.cli.demo import demo
from backend.cli.jobs import cancel, job, jobs, learn
from backend.cli.report import report
from backend.cli.samples import samples
from backend.cli.score import score
from backend.cli.serve import scheduler, serve, up, worker
from backend.cli.versions import compare, import_version, promote, rollback, versions
from model.errors import PhraseClickError
from training.commands import acquisition, evaluate, simulate, train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Click and phrase segmentation for Label Studio.",
)

_versions = (versions, promote, rollback, compare, import_version)
_jobs = (jobs, job, cancel, learn)
_processes = (serve, worker, scheduler, up)
for _command in (
    *_processes,
    bench,
    connect,
    doctor,
    demo,
    samples,
    score,
    report,
    train,
    evaluate,
    simulate,
    acquisition,
    *_jobs,
    *_versions,
):
    app.command()(_command)


def main() -> None:
    """Run the command; an error of the family is one sentence and exit status 1."""
    try:
        app(obj=_folder_of_version)
    except PhraseClickError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        sys.exit(1)


def _folder_of_version(name: str) -> Path:
    """For commands of rooms that know no registry, such as evaluate."""
    from backend.registry import resolve
    from backend.settings import get_settings

    return resolve(name, get_settings())
