"""Jobs: what is running and its progress, what ran, and what starts the next training.

A replay repeats labeled objects with two versions by simulated clicks. Wherever its figures are
shown, the word "simulated" is shown with them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Form, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import func, select

from backend.db.engine import records
from backend.db.models.jobs import REPLAY, SCORING, TRAINING, Job, LogLine, Schedule
from backend.errors import JobError
from backend.jobs.presence import runs
from backend.jobs.schedules import NewLabels, Schedules, count_new_labels
from backend.label_studio.payloads import number_of
from backend.reports import charts
from backend.reports.records import Interval
from backend.reports.tables import ErrorBar, error_bars
from backend.web.board import OWN_FORM, Asked, Board, Dashboard, Number, router
from backend.web.rendering import HEADERS, number_in

pages = router()

_SIZE = 30
# Lines of a log on a page; the command line shows all.
_LINES = 400
# Points of a curve, and rows of its table: more would not be visible.
_POINTS, _ROWS = 240, 25
_STEP_NAMES = ("step", "asked", "done")

Points = Sequence[charts.Point]


@dataclass(frozen=True)
class TrainingStatus:
    """Learning in one project.

    ``after``: number of new labels that starts a training; None: labels start none. ``training``:
    the newest one. ``job``: the newest job of any kind.
    """

    schedule: Schedule
    labels: NewLabels
    after: int | None
    training: Job | None
    job: Job | None

    @property
    def missing(self) -> int | None:
        """New labels until the next training; None if labels start none."""
        return None if self.after is None else max(0, self.after - self.labels.untried)

    @property
    def active(self) -> Job | None:
        """Its training that waits or runs."""
        return None if self.training is None or self.training.ended else self.training


def training_status(board: Dashboard, projects: Sequence[str]) -> dict[str, TrainingStatus]:
    schedules = {s.project: s for s in Schedules(board.database).all()}
    newest = select(func.max(Job.id)).group_by(Job.project)
    with board.database.read() as connection:
        new = count_new_labels(connection)
        last, training = (
            {job.project: job for job in records(connection, select(Job).where(Job.id.in_(ids)))}
            for ids in (newest, newest.where(Job.kind == TRAINING))
        )
    statuses = {}
    for key in projects:
        schedule = schedules.get(key, Schedule(project=key))
        starts = board.settings.learn and not schedule.paused
        statuses[key] = TrainingStatus(
            schedule,
            new.get(key, NewLabels()),
            (schedule.after_labels or board.settings.learn_after_labels) if starts else None,
            training.get(key),
            last.get(key),
        )
    return statuses


@dataclass(frozen=True)
class Outcome:
    """Interactions per object with both versions, over some of the objects (``over``)."""

    over: str
    before: float
    after: float
    difference: Interval
    error_bar: ErrorBar | None


@dataclass(frozen=True)
class Replay:
    """A replay that is done. Its result names both versions and the IoU that ends an object."""

    job: Job
    result: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Curves:
    """One chart of a job, for wide and narrow screens, and its figures for a table."""

    title: str
    wide: charts.Chart
    narrow: charts.Chart
    names: tuple[str, ...]
    rows: tuple[tuple[float, tuple[float | None, ...]], ...]
    text: str


@pages.get("/training")
def training(request: Request, board: Board, asked: Asked) -> Response:
    """All jobs, or those of one project; what starts the next."""
    listed = _listed(board, asked)
    shown = [p for p in board.reports.projects() if listed["key"] in (None, p.key)]
    return board.render.page(
        request,
        "training.html",
        section="Training",
        projects=shown,
        statuses=training_status(board, [project.key for project in shown]),
        settings=board.settings,
        kinds=(TRAINING, SCORING, REPLAY),
        states=("queued", "running", "done", "failed", "cancelled"),
        **listed,
    )


@pages.get("/training/now")
def now(request: Request, board: Board, asked: Asked) -> Response:
    """The current jobs, for the list's script."""
    listed = _listed(board, asked)
    answer = {
        "busy": bool(listed["running"]),
        "running": board.render.fragment(request, "running.html", **listed),
        "table": board.render.fragment(request, "job_table.html", **listed),
    }
    return JSONResponse(answer, headers=HEADERS)


@pages.get("/training/{job}")
def job_page(request: Request, board: Board, job: Number) -> Response:
    job_row = board.jobs.get(job)
    log = board.jobs.log(job)
    lines = _lines(log)
    return board.render.page(
        request,
        "job.html",
        section="Training",
        job=job_row,
        replay=replay_of(job_row),
        **_waits(board, job_row),
        curves=_curves(log),
        lines=lines[-_LINES:],
        cut=len(lines) > _LINES,
        last=log[-1].id if log else 0,
    )


@pages.get("/training/{job}/live")
def live(
    request: Request,
    board: Board,
    job: Number,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> Response:
    """What changed, for the page's script: the head, the lines after ``after``, and the curves if
    there is a new point."""
    job_row = board.jobs.get(job)
    new = board.jobs.log(job, after)
    curves = None
    if any(line.figures is not None for line in new):
        drawn = _curves(board.jobs.log(job))
        curves = board.render.fragment(request, "job_curves.html", curves=drawn)
    answer: dict[str, Any] = {
        "ended": job_row.ended,
        "last": new[-1].id if new else after,
        "head": board.render.fragment(
            request, "job_head.html", job=job_row, **_waits(board, job_row)
        ),
        "lines": board.render.fragment(request, "job_lines.html", lines=_lines(new)),
        "curves": curves,
    }
    return JSONResponse(answer, headers=HEADERS)


@pages.post("/training/start", dependencies=[OWN_FORM])
def start(request: Request, board: Board, project: Annotated[str, Form()] = "") -> Response:
    return request_job(request, board, board.key(project), TRAINING)


def request_job(request: Request, board: Dashboard, key: str, kind: str) -> Response:
    """Enqueue a job of a project, and show it."""
    asked = board.jobs.enqueue(key, kind, trigger="hand", by=board.render.who)
    board.service.job_asked()
    said = f"{kind.capitalize()} {asked.id} of project {number_of(key)} was requested."
    return board.render.redirect(request, f"/training/{asked.id}", said)


@pages.post("/training/plan", dependencies=[OWN_FORM])
def change_schedule(
    request: Request,
    board: Board,
    project: Annotated[str, Form()] = "",
    after_labels: Annotated[str, Form()] = "",
    cron: Annotated[str, Form()] = "",
    paused: Annotated[str, Form()] = "",
) -> Response:
    key = board.key(project)
    request.state.back = back = f"/training?project={key}"
    Schedules(board.database).change(
        key,
        board.render.who,
        paused=bool(paused),
        after_labels=_labels(after_labels),
        cron=cron,
    )
    return board.render.redirect(request, back, "The schedule was saved.")


@pages.post("/training/{job}/cancel", dependencies=[OWN_FORM])
def cancel(request: Request, board: Board, job: Number) -> Response:
    """Cancel a job: at once if it waits, after the current step if it runs."""
    request.state.back = back = f"/training/{job}"
    ended = board.jobs.cancel(job, board.render.who).ended
    said = f"Job {job} was cancelled." if ended else f"Job {job} stops after the current step."
    return board.render.redirect(request, back, said)


def _listed(board: Dashboard, asked: Mapping[str, str]) -> dict[str, Any]:
    key = board.key(asked["project"]) if asked["project"] else None
    listed = board.jobs.listed(
        project=key,
        kind=asked["kind"] or None,
        state=asked["state"] or None,
        limit=_SIZE + 1,
        before=number_in(asked["before"]),
    )
    return {
        "asked": asked,
        "key": key,
        "jobs": listed[:_SIZE],
        "older": listed[_SIZE - 1].id if len(listed) > _SIZE else None,
        "running": board.jobs.listed(project=key, state="running"),
        "outcome": _outcome,
    }


def _labels(text: str) -> int:
    """A number of labels; 0: as in the settings."""
    text = text.strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 9):
        raise JobError(f"{text!r} is not a number of labels: write 1 or more, or leave it empty.")
    return int(text)


def _outcome(job: Job) -> str:
    """A short summary: why the job failed, what it made, or its progress."""
    result = job.result or {}
    if job.error or not result:
        return job.error or job.message
    if (replay := replay_of(job)) is not None and replay.outcomes:
        first = replay.outcomes[0]
        return f"Simulated: {first.before:.2f} to {first.after:.2f} interactions per object."
    if job.kind == TRAINING and result.get("version"):
        return f"{result['version']}, {'promoted' if result.get('promoted') else 'not promoted'}."
    return str(result.get("reason") or result.get("stopped") or job.message)


def replay_of(job: Job) -> Replay | None:
    """The result of a replay; None for any other job, and for one that is not done."""
    result = job.result
    if job.kind != REPLAY or job.state != "done" or not result or not result.get("simulated"):
        return None
    parts = (("all", "All labeled objects"), ("held_out", "Held-out images only"))
    summaries = [(name, result[key]) for key, name in parts if result.get(key)]
    differences = [Interval(**summary["difference"]) for _, summary in summaries]
    bars = error_bars(differences)
    outcomes = (
        Outcome(name, summary["before"], summary["after"], difference, bar)
        for (name, summary), difference, bar in zip(summaries, differences, bars, strict=True)
    )
    return Replay(job, result, tuple(outcomes))


def _waits(board: Dashboard, job: Job) -> dict[str, Any]:
    """late: seconds since the last heartbeat of a running job. alone: no worker will take it."""
    late = None
    if job.state == "running" and job.heartbeat_at is not None:
        late = (datetime.now(UTC) - job.heartbeat_at).total_seconds()
    return {"late": late, "alone": job.state == "queued" and not runs(board.database, "training")}


def _lines(log: Sequence[LogLine]) -> list[LogLine]:
    return [line for line in log if line.line]


def _curves(log: Sequence[LogLine]) -> list[Curves]:
    """Charts of the last attempt: one of losses, one of IoUs."""
    attempt = max((line.attempt for line in log), default=1)
    points = [line.figures for line in log if line.figures and line.attempt == attempt]
    series: dict[str, dict[str, list[charts.Point]]] = {"Loss": {}, "IoU": {}}
    for number, figures in enumerate(points, 1):
        values = {name: float(value) for name, value in figures.items() if _is_number(value)}
        step = next((values[name] for name in _STEP_NAMES if name in values), float(number))
        for name, value in values.items():
            if title := _chart_of(name):
                series[title].setdefault(name, []).append((step, value))
    return [made for title, curves in series.items() if (made := _chart(title, curves))]


def _chart(title: str, curves: Mapping[str, Points]) -> Curves | None:
    thinned = {name: points[:: len(points) // _POINTS + 1] for name, points in curves.items()}
    wide, narrow = (
        charts.curves(thinned, width, share=title == "IoU")
        for width in (0.48 * charts.WIDE, charts.NARROW)
    )
    if wide is None or narrow is None:
        return None
    names = tuple(line.name for line in wide.lines)
    values: dict[float, dict[str, float]] = defaultdict(dict)
    for name in names:
        for step, value in thinned[name]:
            values[step][name] = value
    steps = sorted(values)
    rows = tuple(
        (step, tuple(values[step].get(name) for name in names))
        for step in [*steps[: -1 : len(values) // _ROWS + 1], steps[-1]]
    )
    ends = ", ".join(f"{name} {curves[name][-1][1]:.3g}" for name in names)
    return Curves(title, wide, narrow, names, rows, f"{title} by step; last values: {ends}.")


def _chart_of(name: str) -> str:
    lower = name.lower()
    if "loss" in lower:
        return "Loss"
    # "clicks@1" and the like: IoU after that many.
    return "IoU" if "iou" in lower or "@" in lower else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
