"""Jobs: what runs and how far it is, what ran, and what starts the next training."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Form, Request, Response
from fastapi.responses import JSONResponse

from backend.db.models.jobs import REPLAY, SCORING, TRAINING, Job, LogLine
from backend.errors import JobError
from backend.jobs.schedules import Schedules
from backend.web import charts
from backend.web.board import GENUINE, Board, router
from backend.web.rendering import HEADERS, asked_of, number_in
from backend.web.replays import replay_of
from backend.web.training_status import standings

pages = router()

_SIZE = 30
# Lines of a log that a page holds; the command line shows them all.
_LINES = 400
# A curve is as clear with so many points, and quicker to draw.
_POINTS = 240
_STEP = ("step", "asked", "done")


@dataclass(frozen=True)
class Curves:
    """One chart of a job, for wide and for narrow screens, and its figures for a table."""

    title: str
    wide: charts.CurvesChart
    narrow: charts.CurvesChart
    names: tuple[str, ...]
    rows: tuple[tuple[float, tuple[float | None, ...]], ...]
    said: str


@pages.get("/training")
def training(request: Request, board: Board) -> Response:
    """All jobs, or those of one project; what starts the next."""
    told = _listed(request, board)
    summaries = board.reports.projects()
    shown = [it for it in summaries if told["key"] in (None, it.key)]
    return board.render.page(
        request,
        "training.html",
        section="Training",
        projects=shown,
        standings=standings(board.database, board.settings, [it.key for it in shown]),
        settings=board.settings,
        kinds=(TRAINING, SCORING, REPLAY),
        states=("queued", "running", "done", "failed", "cancelled"),
        **told,
    )


@pages.get("/training/now")
def now(request: Request, board: Board) -> Response:
    """What the list's script asks for: the jobs anew."""
    told = _listed(request, board)
    answer = {
        "busy": bool(told["running"]),
        "running": board.render.fragment(request, "running.html", **told),
        "table": board.render.fragment(request, "job_table.html", **told),
    }
    return JSONResponse(answer, headers=HEADERS)


@pages.get("/training/{job}")
def job(request: Request, board: Board, job: int) -> Response:
    """One job: its progress, curves and log."""
    it = board.jobs.get(job)
    log = board.jobs.log(job)
    words = _words(log)
    return board.render.page(
        request,
        "job.html",
        section="Training",
        job=it,
        replay=replay_of(it),
        late=_late(it),
        curves=_curves(log),
        lines=words[-_LINES:],
        cut=len(words) > _LINES,
        last=log[-1].id if log else 0,
        phases=_phases(log),
    )


@pages.get("/training/{job}/live")
def live(request: Request, board: Board, job: int, after: int = 0) -> Response:
    """What the page's script asks for every second: the head anew, the curves where a point came,
    and the lines since ``after``."""
    it = board.jobs.get(job)
    new = board.jobs.log(job, after)
    points = any(line.figures is not None for line in new)
    log = board.jobs.log(job) if points else new
    answer: dict[str, Any] = {
        "ended": it.ended,
        "last": new[-1].id if new else after,
        "head": board.render.fragment(request, "job_head.html", job=it, late=_late(it)),
        "lines": board.render.fragment(request, "job_lines.html", lines=_words(new)),
        "curves": board.render.fragment(request, "job_curves.html", curves=_curves(log))
        if points
        else None,
    }
    return JSONResponse(answer, headers=HEADERS)


@pages.post("/training/start", dependencies=[GENUINE])
def start(request: Request, board: Board, project: Annotated[str, Form()] = "") -> Response:
    """Train now, whatever is new."""
    key = board.reports.key(project)
    asked = board.jobs.enqueue(key, TRAINING, trigger="hand", by=board.render.who)
    board.service.job_asked()
    said = f"Training {asked.id} of project {key.partition('.')[0]} is asked for."
    return board.render.sent_on(request, f"/training/{asked.id}", said)


@pages.post("/training/plan", dependencies=[GENUINE])
def plan(
    request: Request,
    board: Board,
    project: Annotated[str, Form()] = "",
    after_labels: Annotated[str, Form()] = "",
    cron: Annotated[str, Form()] = "",
    paused: Annotated[str, Form()] = "",
) -> Response:
    """Change what starts a project's trainings."""
    key = board.reports.key(project)
    back = f"/training?project={key}"
    try:
        Schedules(board.database).change(
            key,
            board.render.who,
            paused=bool(paused),
            after_labels=_labels(after_labels),
            cron=cron,
        )
    except JobError as error:
        return board.render.sent_on(request, back, str(error), good=False)
    return board.render.sent_on(request, back, "The plan is kept.")


@pages.post("/training/{job}/cancel", dependencies=[GENUINE])
def cancel(request: Request, board: Board, job: int) -> Response:
    """End a job: at once where it waits, within a step where it runs."""
    try:
        it = board.jobs.cancel(job, board.render.who)
    except JobError as error:
        return board.render.sent_on(request, f"/training/{job}", str(error), good=False)
    said = f"Job {job} is cancelled." if it.ended else f"Job {job} ends within a step."
    return board.render.sent_on(request, f"/training/{job}", said)


def _listed(request: Request, board: Board) -> dict[str, Any]:
    """Jobs, as the address' query narrows them."""
    asked = asked_of(request)
    key = board.reports.key(asked["project"]) if asked.get("project") else None
    found = board.jobs.listed(
        project=key,
        kind=asked.get("kind") or None,
        state=asked.get("state") or None,
        limit=_SIZE + 1,
        before=number_in(asked.get("before")),
    )
    return {
        "asked": asked,
        "key": key,
        "jobs": found[:_SIZE],
        "older": found[_SIZE - 1].id if len(found) > _SIZE else None,
        "running": board.jobs.listed(project=key, state="running"),
        "outcome": _outcome,
    }


def _labels(text: str) -> int | None:
    """None: as the settings say."""
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 9):
        raise JobError(f"{text!r} is no number of labels: write 1 or more, or leave it empty.")
    return int(text)


def _outcome(it: Job) -> str:
    """In a few words: why it ended, what it made, how far it is."""
    told = it.result or {}
    if it.error or not told:
        return it.error or it.message
    if (replay := replay_of(it)) is not None and replay.outcomes:
        first = replay.outcomes[0]
        return f"Simulated: {first.before:.2f} to {first.after:.2f} interactions an object."
    if it.kind == TRAINING and told.get("version"):
        became = "promoted" if told.get("promoted") else "not promoted"
        return f"{told['version']}, {became}."
    return str(told.get("reason") or told.get("stopped") or it.message)


def _late(it: Job) -> float | None:
    """Seconds since a running job was heard of."""
    if it.state != "running" or it.heartbeat_at is None:
        return None
    return (datetime.now(UTC) - it.heartbeat_at).total_seconds()


def _words(log: Sequence[LogLine]) -> list[LogLine]:
    return [line for line in log if line.line]


def _phases(log: Sequence[LogLine]) -> list[tuple[str, datetime]]:
    """Names and beginnings, as the job told them."""
    start = "Phase: "
    return [(it.line.removeprefix(start), it.at) for it in log if it.line.startswith(start)]


def _curves(log: Sequence[LogLine]) -> list[Curves]:
    """Charts of what the last attempt told: losses in one, IoUs in the other."""
    attempt = max((line.attempt for line in log), default=1)
    told = [line.figures for line in log if line.figures and line.attempt == attempt]
    series: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for number, figures in enumerate(told, 1):
        step = next((float(figures[name]) for name in _STEP if _is_number(figures, name)), number)
        for name in figures:
            if _is_number(figures, name) and (kind := _kind(name)):
                series[kind][name].append((float(step), float(figures[name])))
    return [made for title in ("Loss", "IoU") if (made := _chart(title, series[title]))]


def _chart(title: str, found: dict[str, list[tuple[float, float]]]) -> Curves | None:
    thinned = {name: points[:: len(points) // _POINTS + 1] for name, points in found.items()}
    share = title == "IoU"
    wide = charts.curves(thinned, 0.48 * charts.WIDE, share=share)
    narrow = charts.curves(thinned, charts.NARROW, share=share)
    if wide is None or narrow is None:
        return None
    names = tuple(series.name for series in wide.series)
    values: dict[float, dict[str, float]] = defaultdict(dict)
    for name in names:
        for step, value in thinned[name]:
            values[step][name] = value
    every = len(values) // 25 + 1
    steps = sorted(values)
    rows = tuple(
        (step, tuple(values[step].get(name) for name in names))
        for step in [*steps[:-1:every], steps[-1]]
    )
    ends = ", ".join(f"{name} {found[name][-1][1]:.3g}" for name in names)
    return Curves(title, wide, narrow, names, rows, f"{title} by step; at the last: {ends}.")


def _kind(name: str) -> str:
    lower = name.lower()
    if "loss" in lower:
        return "Loss"
    # "clicks@1" and the like: IoU after so many.
    return "IoU" if "iou" in lower or "@" in lower else ""


def _is_number(figures: Any, name: str) -> bool:
    value = figures.get(name)
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
