"""The commands that run long: ``serve``, ``worker``, ``scheduler``, and ``up`` for all of them.

Imported by the command line, so nothing heavy here.
"""

import sys
from typing import Annotated, Literal

import typer

from backend.cli.options import Data, settings_of

Host = Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 for every network.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to serve on.")]
Processes = Annotated[int, typer.Option(min=1, max=64, help="Server processes; one has threads.")]


def serve(
    host: Host = "127.0.0.1", port: Port = 9090, data: Data = None, processes: Processes = 1
) -> None:
    """Start the backend that Label Studio connects to."""
    from backend import logs
    from backend.api import server

    settings = settings_of(data)
    logs.log_to_stderr(settings)
    server.serve(settings, host=host, port=port, processes=processes)


def worker(
    queue: Annotated[
        Literal["support", "training"],
        typer.Option(help="What to work on: samples and pictures, or trainings and re-scorings."),
    ] = "support",
    data: Data = None,
) -> None:
    """Start a background worker: it takes in labels, or it trains."""
    from backend import logs
    from backend.worker import celery_app

    settings = settings_of(data)
    logs.log_to_stderr(settings)
    celery_app.run_worker(settings, queue)


def scheduler(data: Data = None) -> None:
    """Start the clock that wakes the workers: schedules, upkeep, jobs whose worker died."""
    from backend import logs
    from backend.worker import celery_app

    settings = settings_of(data)
    logs.log_to_stderr(settings)
    celery_app.run_scheduler(settings)


def up(
    host: Host = "127.0.0.1", port: Port = 9090, data: Data = None, processes: Processes = 1
) -> None:
    """Start server, workers and scheduler together, keep them running, end all with Ctrl-C."""
    from backend import logs
    from backend.api import server
    from backend.worker import supervisor

    settings = settings_of(data)
    logs.log_to_stderr(settings)
    server.check_address(host, port)
    me = [sys.executable, "-m", "backend.cli"]
    supervisor.supervise(
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
