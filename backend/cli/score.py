"""The command ``phraseclick score``: have the tasks that are left scored, or score them here.

Imported by the command line, so nothing heavy here.
"""

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.options import Data, settings_of

if TYPE_CHECKING:
    from backend.db.engine import Database
    from backend.jobs.queue import Jobs
    from backend.jobs.records import Job
    from backend.settings import Settings

# Between two tries where something else has to end first, such as a training.
_AGAIN_S = 1.0


def score(
    project: Annotated[str, typer.Option(help="Project's number in Label Studio.")],
    method: Annotated[
        str,
        typer.Option(
            help="clicks, saving, uncertainty or random.", show_default="PHRASECLICK_ACQUISITION"
        ),
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
        bool, typer.Option("--now", help="Score here and wait, instead of leaving it to a worker.")
    ] = False,
    data: Data = None,
) -> None:
    """Score the tasks that are left, so that Label Studio serves those worth labeling first."""
    from backend.db.engine import Database
    from backend.errors import JobError
    from backend.jobs.project_lookup import project_key
    from backend.jobs.queue import Jobs
    from backend.jobs.records import SCORING
    from backend.learning.scores import METHODS

    if method and method not in METHODS:
        raise JobError(f"--method is one of {', '.join(METHODS)}.")
    settings = settings_of(data)
    database = Database(settings.resolved_database_url)
    database.migrate()
    try:
        key = project_key(database, project)
        if sampling:
            _serve_by_score(settings, database, key)
        request = {name: it for name, it in (("method", method), ("masks", masks)) if it}
        jobs = Jobs(database)
        job = jobs.ask(key, SCORING, trigger="hand", by=_who(), request=request)
        if now:
            _tell(_done_here(settings, database, jobs, job))
        else:
            typer.echo(f"Job {job.id} is asked for: phraseclick job {job.id} --follow")
    finally:
        database.close()


def _serve_by_score(settings: "Settings", database: "Database", key: str) -> None:
    from backend.label_studio.client import LabelStudioHosts
    from backend.label_studio.payloads import Project
    from backend.label_studio.projects import Projects
    from backend.learning.score_job import BY_SCORE

    number = Project.read(key).id
    hosts = LabelStudioHosts(settings, Projects(database).announced)
    hosts.of(number).patch_project(number, sampling=BY_SCORE)
    typer.echo(f"Label Studio serves the tasks of project {number} by score from now on.")


def _done_here(settings: "Settings", database: "Database", jobs: "Jobs", job: "Job") -> "Job":
    """The job when it has ended: done by this process, unless a worker was quicker. Ctrl-C cancels
    it."""
    from rich.console import Console

    from backend.cli import job_tables
    from backend.jobs.lease import Leases
    from backend.jobs.runner import Runner

    runner = Runner(settings, database, Leases(settings.lease_s))
    ended = threading.Event()

    def work() -> None:
        while not jobs.get(job.id).ended:
            runner.run(job.id)
            ended.wait(_AGAIN_S)

    thread = threading.Thread(target=work, name="scoring", daemon=True)
    thread.start()
    try:
        return job_tables.follow(Console(soft_wrap=True, highlight=False), jobs, job.id)
    except KeyboardInterrupt:
        if not jobs.get(job.id).ended:
            jobs.cancel(job.id, _who())
        return jobs.get(job.id)
    finally:
        ended.set()
        thread.join()


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
            f"{told['version']}: {told['looked_at']} were looked at now, in {told['seconds']} s, "
            f"and {told['unreadable']} cannot be read."
        )


def _who() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "somebody"
