"""Jobs in the terminal: a table of them, one with its log, and when a project trains."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from backend.db.models import Job, LogLine, Schedule
from backend.jobs.lease import short_process_id
from backend.jobs.new_labels import NewLabels
from backend.jobs.queue import Jobs
from backend.label_studio.payloads import number_of
from backend.settings import Settings

_COLOURS = {
    "queued": "cyan",
    "running": "yellow",
    "done": "green",
    "failed": "red",
    "cancelled": "magenta",
}
_LEVELS = {"warning": "yellow", "error": "red"}
_TRIGGERS = {
    "labels": "new labels",
    "label_studio": "Label Studio",
    "schedule": "schedule",
    "hand": "by hand",
    "promotion": "new champion",
}
_POLL_S = 0.5


def show(console: Console, jobs: Iterable[Job]) -> None:
    """A table with one row per job."""
    table = Table()
    for column in ("job", "project", "kind", "state", "done", "trigger", "started", "took", ""):
        table.add_column(column, justify="right" if column in ("job", "done", "took") else "left")
    for job in jobs:
        table.add_row(
            str(job.id),
            str(number_of(job.project)),
            job.kind,
            Text(job.state, style=_COLOURS.get(job.state, "")),
            f"{job.progress:.0%}" if job.started_at else "",
            _trigger(job),
            _time(job.started_at or job.due_at) if job.started_at else f"due {_time(job.due_at)}",
            _took(job),
            escape(job.error or job.message),
        )
    console.print(table)


def show_one(console: Console, job: Job, log: Iterable[LogLine]) -> None:
    """One job and its log."""
    table = Table(show_header=False, box=None)
    for name, value in _facts(job):
        table.add_row(name, escape(value))
    console.print(table)
    for line in log:
        show_line(console, line)


def follow(console: Console, jobs: Jobs, number: int) -> Job:
    """Show the progress of a job until it ends."""
    seen = 0
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            job = jobs.get(number)
            for line in jobs.log(number, seen):
                seen = line.id
                if line.line:
                    show_line(console, line)
            if job.ended:
                return job
            live.update(_bar(job))
            time.sleep(_POLL_S)


def show_line(console: Console, line: LogLine) -> None:
    """One line of a log; a point of a training curve is shown as its figures."""
    text = line.line or "  ".join(
        f"{name} {_figure(value)}" for name, value in _pairs(line.figures)
    )
    console.print(
        f"{_time(line.at)}  {escape(text)}",
        style=_LEVELS.get(line.level, "" if line.line else "dim"),
        highlight=False,
    )


def show_schedule(console: Console, schedule: Schedule, new: NewLabels, settings: Settings) -> None:
    """When a project trains, and how many labels are new."""
    number = number_of(schedule.project)
    enough = schedule.after_labels or settings.learn_after_labels
    if not settings.learn:
        how = "only on request (PHRASECLICK_LEARN is off)"
    elif schedule.paused:
        how = "only on request (paused)"
    else:
        how = f"after {enough} new labels"
        if schedule.cron:
            how += f", and on the schedule {schedule.cron} (UTC)"
            how += f", next at {_time(schedule.due_at)}" if schedule.due_at else ""
    console.print(f"Project {number} trains {how}.", highlight=False)
    tried = new.new - new.untried
    rest = f"; {tried} of them were in a training that failed or was cancelled" if tried else ""
    console.print(f"New labels: {new.new}{rest}.", highlight=False)


def as_json(record: Job | LogLine) -> dict[str, Any]:
    """A record as JSON values: times in ISO 8601."""
    return {name: _plain(value) for name, value in asdict(record).items()}


def schedule_as_json(schedule: Schedule, new: NewLabels, settings: Settings) -> dict[str, Any]:
    """When a project trains, with the defaults of the settings filled in."""
    return {
        **{name: _plain(value) for name, value in asdict(schedule).items()},
        "after_labels": schedule.after_labels or settings.learn_after_labels,
        "by_itself": settings.learn and not schedule.paused,
        **asdict(new),
    }


def _facts(job: Job) -> list[tuple[str, str]]:
    facts = [
        ("job", f"{job.id}: {job.kind} of project {number_of(job.project)}"),
        ("state", f"{job.state}, {job.progress:.0%}" + (f", {job.phase}" if job.phase else "")),
        ("trigger", f"{_trigger(job)}, {_time(job.created_at)}"),
        ("due", _time(job.due_at)),
    ]
    if job.started_at:
        facts.append(("started", f"{_time(job.started_at)}, took {_took(job)}"))
        facts.append(("attempts", str(job.attempts)))
        facts.append(("worker", short_process_id(job.worker)))
    if job.cancel_asked_at and not job.ended:
        facts.append(("cancelled by", f"{job.cancel_asked_by}, {_time(job.cancel_asked_at)}"))
    for name, value in (("doing", job.message), ("reason", job.error)):
        if value:
            facts.append((name, value))
    for name, value in _pairs(job.result):
        facts.append((name, _figure(value)))
    return facts


def _bar(job: Job) -> Table:
    table = Table.grid(padding=(0, 1))
    doing = job.message or (job.phase if job.state == "running" else f"{job.state} …")
    table.add_row(
        f"Job {job.id}",
        ProgressBar(total=1.0, completed=job.progress, width=30),
        f"{job.progress:4.0%}",
        escape(doing),
    )
    return table


def _trigger(job: Job) -> str:
    how = _TRIGGERS.get(job.trigger, job.trigger)
    return f"{how} ({job.asked_by})" if job.asked_by and job.trigger == "hand" else how


def _took(job: Job) -> str:
    if job.started_at is None:
        return ""
    end = job.ended_at or job.heartbeat_at or job.started_at
    seconds = max(0, int((end - job.started_at).total_seconds()))
    return f"{seconds // 60}:{seconds % 60:02}"


def _time(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else ""


def _pairs(values: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """The values that fit on a line; the rest is shown by --json."""
    pairs = (values or {}).items()
    return [(name, value) for name, value in pairs if isinstance(value, str | int | float)]


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
