"""The commands about jobs: ``jobs``, ``job``, ``cancel`` and ``learn``.

Imported by the command line, so nothing heavy here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.options import Data, settings_of

if TYPE_CHECKING:
    from backend.db.engine import Database
    from backend.jobs.records import Job
    from backend.jobs.schedules import Plans
    from backend.settings import Settings

Number = Annotated[int, typer.Argument(help="The job's number, as phraseclick jobs shows it.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


def jobs(
    project: Annotated[
        str, typer.Option(help="Project's number in Label Studio.", show_default="all")
    ] = "",
    kind: Annotated[str, typer.Option(help="Only such: training, scoring, replay.")] = "",
    state: Annotated[
        str, typer.Option(help="Only such: queued, running, done, failed, cancelled.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="So many of the newest.")] = 20,
    json: Json = False,
    data: Data = None,
) -> None:
    """Show trainings and other jobs: what waits, what runs, what came of the last ones."""
    from rich.console import Console

    from backend.cli import job_tables
    from backend.jobs.queue import Jobs

    with _database(data) as (_, database):
        key = _key(database, project) if project else None
        found = Jobs(database).listed(key, kind or None, state or None, limit)
        console = Console(soft_wrap=True, highlight=False)
        if json:
            console.print_json(data=[job_tables.as_json(each) for each in found])
        elif found:
            job_tables.show(console, found)
        else:
            console.print("There is no such job.")


def job(
    number: Number,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show it as it goes on, until it ends.")
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Show one job with its log. With --follow the exit status tells whether it was done."""
    from rich.console import Console

    from backend.cli import job_tables
    from backend.jobs.queue import Jobs

    with _database(data) as (_, database):
        store = Jobs(database)
        console = Console(soft_wrap=True, highlight=False)
        found = store.get(number)
        if follow:
            found = job_tables.follow(Console(stderr=True) if json else console, store, number)
        log = [] if follow and not json else store.log(number)
        if json:
            lines = [job_tables.line_as_json(line) for line in log]
            console.print_json(data={**job_tables.as_json(found), "log": lines})
        else:
            job_tables.show_one(console, found, log)
        if follow and found.state != "done":
            raise typer.Exit(1)


def cancel(number: Number, data: Data = None) -> None:
    """End a job: at once where it waits, within a step where it runs."""
    from backend.jobs.queue import Jobs

    with _database(data) as (_, database):
        found = Jobs(database).cancel(number, _who())
        if found.ended:
            typer.echo(f"Job {number} is cancelled.")
        else:
            typer.echo(f"Job {number} ends within a step. See it: phraseclick job {number}")


def learn(
    project: Annotated[str, typer.Option(help="Project's number in Label Studio.")],
    now: Annotated[
        bool, typer.Option("--now", help="Start a training, however few labels are new.")
    ] = False,
    after_labels: Annotated[
        int | None,
        typer.Option(min=0, help="New labels that start a training; 0: as the settings say."),
    ] = None,
    schedule: Annotated[
        str, typer.Option(help="Cron line, in UTC ('0 3 * * *': every night at 3), or 'none'.")
    ] = "",
    pause: Annotated[
        bool | None,
        typer.Option("--pause/--resume", help="Learn only by hand, or by itself again."),
    ] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Show or change how a project learns from its labels, or have it learn now."""
    from rich.console import Console

    from backend.cli import job_tables
    from backend.jobs.new_labels import new_labels
    from backend.jobs.queue import Jobs
    from backend.jobs.records import TRAINING
    from backend.jobs.schedules import Plans

    with _database(data) as (settings, database):
        key = _key(database, project)
        plans = Plans(database)
        _change(plans, key, after_labels, schedule, pause)
        asked = None
        if now:
            asked = Jobs(database).ask(key, TRAINING, trigger="hand", by=_who())
            _ring(settings, asked)
        plan, new = plans.get(key), new_labels(database, key)
        console = Console(soft_wrap=True, highlight=False)
        if json:
            told = job_tables.plan_as_json(plan, new, settings)
            console.print_json(data={**told, "job": job_tables.as_json(asked) if asked else None})
            return
        if asked is not None:
            console.print(f"Job {asked.id} is asked for: phraseclick job {asked.id} --follow")
        job_tables.show_plan(console, plan, new, settings)


@contextmanager
def _database(data: Path | None) -> "Iterator[tuple[Settings, Database]]":
    from backend.db.engine import Database

    settings = settings_of(data)
    database = Database(settings.resolved_database_url)
    database.migrate()
    try:
        yield settings, database
    finally:
        database.close()


def _change(
    plans: "Plans", key: str, after_labels: int | None, schedule: str, pause: bool | None
) -> None:
    from backend.jobs.schedules import UNCHANGED

    if after_labels is None and not schedule and pause is None:
        return
    plans.change(
        key,
        _who(),
        paused=pause,
        after_labels=UNCHANGED if after_labels is None else after_labels or None,
        cron=None if not schedule else "" if schedule == "none" else schedule,
    )


def _key(database: "Database", written: str) -> str:
    from backend.jobs.project_lookup import project_key

    return project_key(database, written)


def _ring(settings: "Settings", asked: "Job") -> None:
    """Without it the clock starts the job a few seconds later."""
    from backend.worker import celery_app

    settings.data.mkdir(parents=True, exist_ok=True)
    try:
        celery_app.call(celery_app.build(settings), celery_app.RUN_JOB, asked.id)
    except Exception as error:  # whatever the broker's client raises
        typer.echo(f"The worker could not be called ({error}); it looks by itself.", err=True)


def _who() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "somebody"
