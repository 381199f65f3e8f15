"""The command ``phraseclick score``: have the tasks that are left scored, or score them here.

Imported by the command line, so nothing heavy here.
"""

import getpass
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backend.database import Database
    from backend.jobs.records import Job
    from backend.jobs.store import Jobs
    from backend.settings import Settings

_LOOK_S = 0.5


def score(
    project: Annotated[str, typer.Option(help="Project's number in Label Studio.")],
    method: Annotated[
        str,
        typer.Option(help="clicks, uncertainty or random.", show_default="PHRASECLICK_ACQUISITION"),
    ] = "",
    masks: Annotated[
        bool, typer.Option("--masks", help="Write masks by phrase or label names, too.")
    ] = False,
    sampling: Annotated[
        bool,
        typer.Option(
            "--sampling", help="Let Label Studio serve the project's tasks by score from now on."
        ),
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Score here and wait, instead of asking a worker.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder that holds all state.", show_default="PHRASECLICK_DATA"),
    ] = None,
) -> None:
    """Score the tasks that are left, so that Label Studio serves those worth labeling first."""
    from backend.database import Database
    from backend.errors import JobError
    from backend.jobs.records import SCORING
    from backend.jobs.store import Jobs
    from backend.learning.scores import METHODS
    from backend.registry.registry import Registry
    from backend.registry.storage import open_store
    from backend.settings import get_settings

    if method and method not in METHODS:
        raise JobError(f"--method is one of {', '.join(METHODS)}.")
    if data is not None:
        os.environ["PHRASECLICK_DATA"] = str(data.resolve())
        get_settings.cache_clear()
    settings = get_settings()
    database = Database(settings.resolved_database_url)
    database.migrate()
    try:
        key = Registry(database, open_store(settings), settings).project_key(project)
        if sampling:
            _serve_by_score(settings, database, key)
        request = {name: it for name, it in (("method", method), ("masks", masks)) if it}
        jobs = Jobs(database)
        job = jobs.ask(key, SCORING, trigger="hand", by=getpass.getuser(), request=request)
        if not now:
            typer.echo(f"Job {job.id} scores project {project}. See phraseclick job {job.id}.")
            return
        _tell(_done_here(settings, database, jobs, job))
    finally:
        database.close()


def _serve_by_score(settings: "Settings", database: "Database", key: str) -> None:
    from backend.contract import Project
    from backend.label_studio import LabelStudioHosts
    from backend.learning.scoring import BY_SCORE
    from backend.projects import Projects

    number = Project.read(key).id
    hosts = LabelStudioHosts(settings, Projects(database).announced)
    hosts.of(number).patch_project(number, sampling=BY_SCORE)
    typer.echo(f"Label Studio serves the tasks of project {number} by score from now on.")


def _done_here(settings: "Settings", database: "Database", jobs: "Jobs", job: "Job") -> "Job":
    """Do the job in this process, unless a worker was quicker; show how far it is. Ctrl-C cancels
    it."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from backend.jobs.leases import Leases
    from backend.jobs.running import Runner

    runner = Runner(settings, database, Leases(settings.lease_s))

    def work() -> None:
        while not jobs.get(job.id).ended:
            runner.run(job.id)
            time.sleep(_LOOK_S)

    columns = (TextColumn("scoring"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn()) as bar:
        shown = bar.add_task("", total=1.0)
        thread = threading.Thread(target=work, name="scoring", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_LOOK_S)
                state = jobs.get(job.id)
                bar.update(shown, completed=state.progress, description=state.message)
        except KeyboardInterrupt:
            if not jobs.get(job.id).ended:
                jobs.cancel(job.id, getpass.getuser())
            thread.join()
    return jobs.get(job.id)


def _tell(job: "Job") -> None:
    from backend.errors import JobError

    if job.state != "done" or job.result is None:
        raise JobError(f"Job {job.id} is {job.state}. {job.error}")
    told = job.result
    if told.get("stopped"):
        typer.echo(told["stopped"])
    if "scored" in told:
        typer.echo(
            f"{told['scored']} of {told['left']} tasks that are left have a score of "
            f"{told['version']}; {told['looked_at']} were looked at now in {told['seconds']} s, "
            f"{told['unreadable']} cannot be read."
        )
