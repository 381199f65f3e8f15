"""Start programs: ``up``, ``serve``, ``worker``, ``scheduler``, ``demo``, ``bench``."""

import logging
import os
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backend.cli.common import Data, keep_private, open_database, settings_of

if TYPE_CHECKING:
    from backend.settings import Settings

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
Processes = Annotated[
    int, typer.Option(min=1, max=64, help="Number of server processes; each is multi-threaded.")
]
WithoutPassword = Annotated[
    bool,
    typer.Option(
        "--without-password",
        help="Listen beyond this machine without a password, because something else keeps "
        "strangers out.",
    ),
]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 9090,
    data: Data = None,
    processes: Processes = 1,
    without_password: WithoutPassword = False,
) -> None:
    """Start the server that Label Studio connects to."""
    from backend.api import server

    settings = _prepared(settings_of(data))
    server.check_guarded(settings, host, without_password=without_password)
    # What is wrong with database, checkpoint or device is a sentence here, and a traceback later.
    with open_database(settings):
        pass
    if processes == 1:  # otherwise this process loads no model
        from model.checkpoint import load
        from model.inference import device_named

        load(settings.checkpoint)
        device_named(settings.device)
    server.serve(settings, host=host, port=port, processes=processes)


def worker(
    queue: Annotated[
        Literal["support", "training"],
        typer.Option(help="support: process labels and images. training: train and score."),
    ] = "support",
    data: Data = None,
) -> None:
    """Start a background worker for one of the two queues."""
    from backend.worker import celery_app

    celery_app.run_worker(_prepared(settings_of(data)), queue)


def scheduler(data: Data = None) -> None:
    """Start the scheduler: cron schedules, maintenance, jobs whose worker stopped."""
    from backend.worker import celery_app

    celery_app.run_scheduler(_prepared(settings_of(data)))


def _prepared(settings: "Settings") -> "Settings":
    """The settings, after this process was set up to log and to keep its files private."""
    from backend import logs
    from backend.settings import unknown_variables

    logs.log_to_stderr(settings)
    keep_private(settings)
    for name in unknown_variables():
        logging.getLogger(__name__).warning("There is no setting %s; it is ignored.", name)
    return settings


def alive(
    kind: Annotated[
        Literal["server", "worker", "training", "scheduler"], typer.Argument(help="Which program.")
    ],
    data: Data = None,
) -> None:
    """Exit with 0 if such a program of this machine reported itself in the last half minute.

    For health checks of containers and services; asks the database only.
    """
    import socket

    from backend.db.engine import Database
    from backend.jobs.presence import processes

    here = kind, socket.gethostname()
    with closing(Database(settings_of(data).resolved_database_url)) as database:
        known = processes(database)
    if not any(one.is_running() and (one.kind, one.about.get("host")) == here for one in known):
        typer.echo(f"No {kind} of this machine has reported itself lately.", err=True)
        raise typer.Exit(1)


def up(
    host: Host = "127.0.0.1",
    port: Port = 9090,
    data: Data = None,
    processes: Processes = 1,
    without_password: WithoutPassword = False,
) -> None:
    """Start server, workers and scheduler, and restart any that stop. Ctrl-C ends all of them.

    Prints one line once all is ready. After that, only warnings and errors are logged unless
    PHRASECLICK_LOG_LEVEL says otherwise.
    """
    from backend.api import server
    from backend.worker.child_process import supervise

    settings = settings_of(data)
    if "log_level" not in settings.model_fields_set:
        os.environ["PHRASECLICK_LOG_LEVEL"] = "warning"
        settings = settings.model_copy(update={"log_level": "warning"})
    _prepared(settings)
    server.check_guarded(settings, host, without_password=without_password)
    server.check_address(host, port)
    threading.Thread(target=_announce, args=(host, port, data), daemon=True).start()
    program = [sys.executable, "-m", "backend.cli"]
    address = [f"--host={host}", f"--port={port}", f"--processes={processes}"]
    if without_password:
        address.append("--without-password")
    supervise(
        {
            "server": [*program, "serve", *address],
            "worker": [*program, "worker"],
            "training worker": [*program, "worker", "--queue=training"],
            "scheduler": [*program, "scheduler"],
        }
    )


def _announce(host: str, port: int, data: Path | None) -> None:
    """Print one line once the server answers: its address, the dashboard, the next command."""
    from backend.label_studio.credentials import load_credentials

    # A server that listens on every network is on this machine too.
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    url = f"http://{name}:{port}"
    while not _answers(f"{url}/health"):
        time.sleep(0.3)
    program = sys.argv[0] if Path(sys.argv[0]).name == "phraseclick" else "phraseclick"
    command = f"{program} doctor"
    if not load_credentials(settings_of(data)):
        command = f"{program} connect --url http://localhost:8080 --project 1"
        if port != 9090:
            command += f" --backend-url {url}"
    if data is not None:
        command += f" --data {data}"
    typer.echo(f"Ready at {url} · dashboard: {url}/dashboard · next: {command}")


def _answers(url: str) -> bool:
    import requests

    try:
        # Without a proxy, since it is on this machine.
        return requests.get(url, timeout=5, proxies={"http": ""}).ok
    except requests.RequestException:
        return False


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the demonstration instead of staying up.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Skip the learning loop, which takes some minutes.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Folder for pictures, report and state.")] = Path(
        "demo"
    ),
    label_studio: Annotated[
        Path | None,
        typer.Option(help="The label-studio program.", show_default="from make setup-label-studio"),
    ] = None,
) -> None:
    """Show the whole product in a Label Studio of its own, then stay up until Ctrl-C."""
    from backend.demo.show import Show

    if not Show(folder, label_studio, learns=not quick).run(stay=not once):
        raise typer.Exit(1)


def bench(
    json: Annotated[Path | None, typer.Option(help="Write the results to this file.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder for temporary files.", show_default="a new one")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Pictures of each size for the single annotator.")
    ] = 20,
    pictures: Annotated[
        int, typer.Option(min=0, help="Pictures to open before memory is measured.")
    ] = 500,
    seconds: Annotated[float, typer.Option(min=5, help="How long 20 annotators click.")] = 30.0,
    attacks: Annotated[
        bool, typer.Option("--attacks", help="Instead: 20 annotators while the server is attacked.")
    ] = False,
    soak: Annotated[
        float | None,
        typer.Option(min=1, help="Instead: 20 annotators for this many minutes; memory and files."),
    ] = None,
) -> None:
    """Measure a real server: first click, further clicks, phrases, 20 annotators, memory."""
    from backend.benchmark import attacks as under_attack
    from backend.benchmark import run

    if attacks:
        under_attack.run_attacks(json_file=json, folder=data, seconds=seconds)
    elif soak is not None:
        run.run_soak(json_file=json, folder=data, minutes=soak)
    else:
        run.run(json_file=json, folder=data, rounds=rounds, pictures=pictures, load_seconds=seconds)
