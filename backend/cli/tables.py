"""Jobs, schedules and model versions in the terminal: tables, progress, JSON."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import class_mapper

from backend.db.models import Base, Job, LogLine, Schedule, Version
from backend.jobs.lease import short_process_id
from backend.jobs.queue import Jobs
from backend.jobs.schedules import NewLabels
from backend.label_studio.payloads import number_of
from backend.registry.champions import EVERYONE
from backend.registry.versions import Registry
from backend.reports.wording import minute
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
# Promotions below the table of versions.
_PROMOTIONS = 10


# -- jobs


def show_jobs(console: Console, jobs: Iterable[Job]) -> None:
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


def show_job(console: Console, job: Job, log: Iterable[LogLine]) -> None:
    table = Table(show_header=False, box=None)
    for name, value in _facts(job):
        table.add_row(name, escape(value))
    console.print(table)
    for line in log:
        show_line(console, line)


def follow(console: Console, jobs: Jobs, number: int) -> Job:
    """Show the progress of a job until it ends."""
    seen = 0
    columns = (
        "{task.description}",
        BarColumn(30),
        "{task.percentage:3.0f}%",
        "{task.fields[doing]}",
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(f"Job {number}", total=1.0, doing="")
        while True:
            job = jobs.get(number)
            for line in jobs.log(number, seen):
                seen = line.id
                if line.line:
                    show_line(console, line)
            if job.ended:
                return job
            doing = job.message or (job.phase if job.state == "running" else f"{job.state} …")
            progress.update(bar, completed=job.progress, doing=escape(doing))
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


def as_json(record: Base) -> dict[str, Any]:
    """A record as JSON values: times in ISO 8601."""
    columns = (column.key for column in class_mapper(type(record)).column_attrs)
    values = {name: getattr(record, name) for name in columns}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def schedule_as_json(schedule: Schedule, new: NewLabels, settings: Settings) -> dict[str, Any]:
    """When a project trains, with the defaults of the settings filled in."""
    return {
        **as_json(schedule),
        "after_labels": schedule.after_labels or settings.learn_after_labels,
        "by_itself": settings.learn and not schedule.paused,
        **asdict(new),
    }


# -- versions


def show_versions(console: Console, registry: Registry, project: str | None) -> None:
    champions, base = registry.champions(), registry.base_name
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("version", "of", "state", "parent", "labels", "since", "serves"):
        table.add_column(head, no_wrap=head not in ("of", "parent", "serves"), overflow="fold")
    for version in registry.all(project):
        table.add_row(
            version.name,
            _owner(version.project),
            version.state,
            version.parent or "-",
            str(version.data.get("labels", "-")),
            minute(version.created_at),
            ", ".join(map(_owner, champions.owners(version.name, base))),
        )
    console.print(table)
    for promotion in registry.history(project)[-_PROMOTIONS:]:
        default = "what serves all" if promotion.project else base
        change = (
            f"{promotion.kind} for {scope_of(promotion.project)} to {promotion.version or default}"
        )
        why = f": {promotion.why}" if promotion.why else ""
        console.print(escape(f"{minute(promotion.at)} {change} by {promotion.who}{why}"))


def versions_as_json(registry: Registry, project: str | None) -> dict[str, Any]:
    """Versions, champions and promotions as JSON values."""
    champions, base = registry.champions(), registry.base_name
    serves = champions.of_owner(EVERYONE) or base
    return {
        "base": base,
        "serves": serves if project is None else champions.of_owner(project) or serves,
        "champions": {
            key: champions.of_owner(key) or serves
            for key in sorted(champions.by_project)
            if key != EVERYONE and project in (None, key)
        },
        "versions": [as_json(version) for version in registry.all(project)],
        "promotions": [as_json(promotion) for promotion in registry.history(project)],
    }


def side_by_side(console: Console, one: Version, other: Version) -> None:
    """The metrics of two versions with their difference, then the origin of each."""
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("", one.name, other.name, "difference"):
        table.add_column(head, overflow="fold", justify="left" if not head else "right")
    mine, theirs = one.figures, other.figures
    for name in dict.fromkeys([*mine, *theirs]):
        a, b = mine.get(name), theirs.get(name)
        difference = f"{b - a:+.4g}" if a is not None and b is not None else ""
        table.add_row(name, _figure(a), _figure(b), difference)
    for what in ("state", "parent", "project", "created_by"):
        table.add_row(what, str(getattr(one, what)) or "-", str(getattr(other, what)) or "-", "")
    table.add_row("created", minute(one.created_at), minute(other.created_at), "")
    for what in dict.fromkeys([*one.data, *other.data]):
        table.add_row(f"data: {what}", _short(one.data.get(what)), _short(other.data.get(what)), "")
    console.print(table)
    if not set(mine) & set(theirs):
        console.print(
            "The two have no metric in common. Measure them with --measure, or with "
            "phraseclick evaluate."
        )


def scope_of(project: str) -> str:
    """Whom a version is for: a project by its number, or all."""
    return f"project {number_of(project)}" if project else "all projects"


def _owner(project: str) -> str:
    return str(number_of(project)) if project else "all"


def freed(versions: Sequence[Version]) -> str:
    """What a prune frees, in words."""
    megabytes = sum(version.size_bytes for version in versions) / 1e6
    return f"{len(versions)} version{'s' * (len(versions) != 1)}, {megabytes:.1f} MB."


# -- inside


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
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    text = _figure(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
