"""The command ``phraseclick``.

Every command imports what it needs when it runs: ``phraseclick --help`` answers at once and loads
neither torch nor gensim.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backend.connect import connect, doctor
from backend.demo.command import demo
from backend.jobs.commands import cancel, job, jobs, learn
from backend.learning.commands import score
from backend.registry.commands import compare, import_version, promote, rollback, versions
from backend.reports.commands import report
from backend.samples.command import samples
from model.errors import PhraseClickError
from training.commands import acquisition, evaluate, simulate, train

if TYPE_CHECKING:
    from backend.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Click and phrase segmentation for Label Studio.",
)

_versions = (versions, promote, rollback, compare, import_version)
_jobs = (jobs, job, cancel, learn)
for _command in (
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

Data = Annotated[
    Path | None,
    typer.Option(help="Folder that holds all state.", show_default="PHRASECLICK_DATA"),
]
Host = Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 for every network.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to serve on.")]
Processes = Annotated[int, typer.Option(min=1, max=64, help="Server processes; one has threads.")]


@app.command()
def serve(
    host: Host = "127.0.0.1", port: Port = 9090, data: Data = None, processes: Processes = 1
) -> None:
    """Start the backend that Label Studio connects to."""
    from backend import serving

    settings = _settings(data)
    serving.log_to_stderr(settings)
    serving.serve(settings, host=host, port=port, processes=processes)


@app.command()
def worker(
    queue: Annotated[
        Literal["support", "training"],
        typer.Option(help="What to work on: samples and pictures, or trainings and re-scorings."),
    ] = "support",
    data: Data = None,
) -> None:
    """Start a background worker: it takes in labels, or it trains."""
    from backend import serving, work

    settings = _settings(data)
    serving.log_to_stderr(settings)
    work.run_worker(settings, queue)


@app.command()
def scheduler(data: Data = None) -> None:
    """Start the clock that wakes the workers: schedules, upkeep, jobs whose worker died."""
    from backend import serving, work

    settings = _settings(data)
    serving.log_to_stderr(settings)
    work.run_scheduler(settings)


@app.command()
def up(
    host: Host = "127.0.0.1", port: Port = 9090, data: Data = None, processes: Processes = 1
) -> None:
    """Start server, workers and scheduler together, keep them running, end all with Ctrl-C."""
    from backend import serving, supervise

    settings = _settings(data)
    serving.log_to_stderr(settings)
    serving.check_address(host, port)
    me = [sys.executable, "-m", "backend.cli"]
    supervise.supervise(
        {
            "server": [
                *me,
                "serve",
                f"--host={host}",
                f"--port={port}",
                f"--processes={processes}",
            ],
            "worker": [*me, "worker"],
            "training worker": [*me, "worker", "--queue=training"],
            "scheduler": [*me, "scheduler"],
        }
    )


@app.command()
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
    from backend.bench import run

    run(json_file=json, folder=data, rounds=rounds, pictures=pictures, load_seconds=seconds)


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

    return resolve(name, _settings(None))


def _settings(data: Path | None) -> "Settings":
    from backend.settings import get_settings

    if data is not None:
        # In the environment, so that every process started from here sees the same folder.
        os.environ["PHRASECLICK_DATA"] = str(data.resolve())
        get_settings.cache_clear()
    return get_settings()


if __name__ == "__main__":
    main()
