"""Commands about background jobs: ``jobs``, ``job``, ``cancel``, ``learn`` and ``score``."""

import threading
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backend.cli.common import (
    AnyProject,
    Data,
    Json,
    Project,
    console,
    enqueue,
    key_of,
    open_database,
    settings_of,
    user,
)
from backend.errors import JobError

if TYPE_CHECKING:
    from backend.db.engine import Database
    from backend.db.models.jobs import Job
    from backend.jobs.queue import Jobs
    from backend.settings import Settings

Number = Annotated[int, typer.Argument(help="Number of the job, from phraseclick jobs.")]

# Seconds between attempts while another job, such as a training, has to end first.
_RETRY_S = 1.0


def jobs(
    project: AnyProject = "",
    kind: Annotated[
        Literal["training", "scoring", "replay"] | None, typer.Option(help="Only this kind.")
    ] = None,
    state: Annotated[
        Literal["queued", "running", "done", "failed", "cancelled"] | None,
        typer.Option(help="Only this state."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many.")] = 20,
    json: Json = False,
    data: Data = None,
) -> None:
    """List jobs, newest first: waiting, running and ended. Times are UTC."""
    from backend.cli import tables
    from backend.jobs.queue import Jobs

    with open_database(settings_of(data)) as database:
        key = key_of(database, project) if project else None
        listed = Jobs(database).listed(key, kind, state, limit)
        if json:
            console().print_json(data=[tables.as_json(job) for job in listed])
        elif listed:
            tables.show_jobs(console(), listed)
        else:
            console().print("No jobs found.")


def job(
    number: Number,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show its progress until it ends.")
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Show one job and its log. With --follow, exit status 1 means that it was not done."""
    from backend.cli import tables
    from backend.jobs.queue import Jobs

    with open_database(settings_of(data)) as database:
        store = Jobs(database)
        shown = store.get(number)
        if follow:
            shown = tables.follow(console(stderr=json), store, number)
        log = [] if follow and not json else store.log(number)
        if json:
            lines = [tables.as_json(line) for line in log]
            console().print_json(data={**tables.as_json(shown), "log": lines})
        else:
            tables.show_job(console(), shown, log)
        if follow and shown.state != "done":
            raise typer.Exit(1)


def cancel(number: Number, data: Data = None) -> None:
    """Cancel a job: at once if it waits, after its current step if it runs."""
    from backend.jobs.queue import Jobs

    with open_database(settings_of(data)) as database:
        if Jobs(database).cancel(number, user()).ended:
            typer.echo(f"Job {number} is cancelled.")
        else:
            typer.echo(
                f"Job {number} ends after its current step. To watch: phraseclick job {number} -f"
            )


def learn(
    project: Project,
    now: Annotated[bool, typer.Option("--now", help="Start a training now.")] = False,
    budget: Annotated[
        str, typer.Option(help="With --now: quick, or thorough (pauses while people click).")
    ] = "quick",
    after_labels: Annotated[
        int | None,
        typer.Option(min=0, help="New labels that start a training; 0: as in the settings."),
    ] = None,
    schedule: Annotated[
        str, typer.Option(help="Cron line in UTC ('0 3 * * *': every night at 3), or 'none'.")
    ] = "",
    pause: Annotated[
        bool | None,
        typer.Option("--pause/--resume", help="Train only on request, or automatically again."),
    ] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Show or change when a project trains, or start a training now."""
    from backend.cli import tables
    from backend.db.models.jobs import TRAINING
    from backend.jobs.queue import Jobs
    from backend.jobs.schedules import Schedules, new_labels
    from backend.worker.celery_app import RUN_JOB

    if budget not in ("quick", "thorough"):
        raise typer.BadParameter("--budget is quick or thorough.")
    settings = settings_of(data)
    with open_database(settings) as database:
        key = key_of(database, project)
        schedules = Schedules(database)
        if after_labels is not None or schedule or pause is not None:
            schedules.change(
                key,
                user(),
                paused=pause,
                after_labels=after_labels,
                cron=None if not schedule else "" if schedule == "none" else schedule,
            )
        queued = None
        if now:
            queued = Jobs(database).enqueue(
                key, TRAINING, trigger="hand", by=user(), request={"budget": budget}
            )
            enqueue(settings, RUN_JOB, queued.id)
        current, new = schedules.get(key), new_labels(database, key)
        if json:
            shown = tables.schedule_as_json(current, new, settings)
            job = tables.as_json(queued) if queued else None
            console().print_json(data={**shown, "job": job})
            return
        if queued is not None:
            _say_queued(database, queued)
        tables.show_schedule(console(), current, new, settings)


def score(
    project: Project,
    method: Annotated[
        str,
        typer.Option(
            help="clicks, saving, uncertainty or random.", show_default="PHRASECLICK_ACQUISITION"
        ),
    ] = "",
    masks: Annotated[
        bool, typer.Option("--masks", help="Also write masks, by phrase or label names.")
    ] = False,
    sampling: Annotated[
        bool,
        typer.Option("--sampling", help="Set Label Studio to serve this project's tasks by score."),
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Score in this process and wait, not in a worker.")
    ] = False,
    data: Data = None,
) -> None:
    """Score the remaining tasks, so that Label Studio serves the most useful ones first."""
    from backend.db.models.jobs import SCORING
    from backend.jobs.queue import Jobs
    from training.acquisition import METHODS

    if method and method not in METHODS:
        raise JobError(f"--method is one of {', '.join(METHODS)}.")
    settings = settings_of(data)
    with open_database(settings) as database:
        key = key_of(database, project)
        if sampling:
            _serve_by_score(settings, database, key)
        options = {"method": method, "masks": masks}
        request = {name: value for name, value in options.items() if value}
        store = Jobs(database)
        job = store.enqueue(key, SCORING, trigger="hand", by=user(), request=request)
        if now:
            _show_scores(_run_here(settings, database, store, job))
        else:
            _say_queued(database, job)


def _say_queued(database: "Database", job: "Job") -> None:
    from backend.jobs.presence import runs

    typer.echo(f"Job {job.id} is queued. To watch it: phraseclick job {job.id} --follow")
    if not runs(database, "training"):
        typer.echo("No training worker is running: it waits until one is started (make run).")


def _serve_by_score(settings: "Settings", database: "Database", key: str) -> None:
    from backend.label_studio.payloads import Project, number_of
    from backend.label_studio.projects import LabelStudioHosts, Projects
    from backend.learning.score_job import BY_SCORE

    number = number_of(key)
    hosts = LabelStudioHosts(settings, Projects(database).announced)
    hosts.of(Project.read(key)).patch_project(number, sampling=BY_SCORE)
    typer.echo(f"Label Studio now serves the tasks of project {number} by score.")


def _run_here(settings: "Settings", database: "Database", jobs: "Jobs", job: "Job") -> "Job":
    """Run a job in this process, unless a worker took it first. Ctrl-C cancels it."""
    from backend.cli import tables
    from backend.jobs.lease import Leases
    from backend.jobs.runner import Runner

    runner = Runner(settings, database, Leases(settings.lease_s))
    ended = threading.Event()

    def work() -> None:
        while not jobs.get(job.id).ended:
            runner.run(job.id)
            ended.wait(_RETRY_S)

    thread = threading.Thread(target=work, name="scoring", daemon=True)
    thread.start()
    try:
        return tables.follow(console(), jobs, job.id)
    except KeyboardInterrupt:
        if not jobs.get(job.id).ended:
            jobs.cancel(job.id, user())
        return jobs.get(job.id)
    finally:
        ended.set()
        thread.join()


def _show_scores(job: "Job") -> None:

    if job.state != "done" or job.result is None:
        raise JobError(f"Job {job.id} is {job.state}. {job.error}")
    result = job.result
    if result.get("stopped"):
        typer.echo(result["stopped"])
    if "scored" in result:
        typer.echo(
            f"{result['scored']} of {result['left']} remaining tasks have a score from "
            f"{result['version']}. {result['looked_at']} were scored now, in "
            f"{result['seconds']} s; {result['unreadable']} could not be read."
        )
