"""Health: which processes run, what is waiting, what failed, in plain sentences."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fastapi import Request, Response
from sqlalchemy import RowMapping, select

from backend.db.models import AnnouncementRow, ProjectRow, RecentError, SampledProjectRow
from backend.errors import StorageError
from backend.jobs.presence import processes, recent_errors
from backend.label_studio.payloads import number_of
from backend.logs import hidden
from backend.reports.wording import counted
from backend.web.board import Board, Dashboard, router
from backend.worker.webhook_inbox import Deliveries

pages = router()

# Older failures are history, not a problem.
_RECENT = timedelta(hours=1)
_ERRORS, _ERRORS_READ = 25, 200
# The worker processes a delivery within seconds; after this it is not running, or behind. *choice*
_WAITS = timedelta(minutes=3)

_NAMES = {
    "server": "Server",
    "worker": "Worker",
    "training": "Training worker",
    "scheduler": "Scheduler",
}


@pages.get("/health")
def health(request: Request, board: Board) -> Response:
    started = time.perf_counter()
    inbox = Deliveries(board.database).open()
    milliseconds = 1000 * (time.perf_counter() - started)
    return board.render.page(
        request,
        "health.html",
        section="Health",
        problems=problems(board),
        processes=processes(board.database),
        names=_NAMES,
        inbox=inbox,
        jobs=_jobs(board),
        failures=_failures(board),
        projects=_projects(board),
        database=hidden(board.database.url.render_as_string()),
        database_kind="SQLite" if board.database.is_sqlite else "PostgreSQL",
        milliseconds=milliseconds,
        store=_store(board),
        store_name=hidden(board.settings.checkpoint_store) or "versions in the data folder",
        broker="a file queue" if not board.settings.broker_url else "a broker",
        serving=board.service.health()["model_version"],
    )


def problems(board: Dashboard) -> list[str]:
    """What an admin should fix now, one sentence each."""
    now = datetime.now(UTC)
    sentences = []
    known = processes(board.database)
    for kind in dict.fromkeys(process.kind for process in known):
        same = [process for process in known if process.kind == kind]
        if not any(process.is_running(now) for process in same):
            last = max(process.seen_at for process in same)
            name = _NAMES.get(kind, kind).lower()
            sentences.append(f"No {name} is running; the last was seen {last:%Y-%m-%d %H:%M} UTC.")
    sentences += board.service.health().get("problems", [])
    available, about = _store(board)
    if not available:
        sentences.append(f"Storage of model versions: {about}.")
    inbox = Deliveries(board.database).open()
    if inbox.oldest is not None and now - inbox.oldest > _WAITS:
        waiting = counted(inbox.waiting, "webhook delivery has", "webhook deliveries have")
        sentences.append(
            f"{waiting} been waiting since {inbox.oldest:%H:%M} UTC: "
            "the worker is not running, or behind."
        )
    if inbox.failed:
        failed = counted(inbox.failed, "webhook delivery", "webhook deliveries")
        sentences.append(f"{failed} could not be processed; see the errors below.")
    unread = []
    for project in _projects(board):
        number = number_of(project["key"])
        if project["error"]:
            sentences.append(
                "Label Studio does not know which version serves project "
                f"{number}: {project['error']}"
            )
        if project["unread"]:
            unread.append(
                f"Project {number} could not be read from Label Studio: {project['unread']}"
            )
    due = [job for job in board.jobs.listed(state="queued") if now - job.due_at > _WAITS]
    if due and not any(p.kind == "training" and p.is_running(now) for p in known):
        sentences.append(
            f"{counted(len(due), 'job waits', 'jobs wait')}, and no training worker is running."
        )
    for job in board.jobs.listed(state="failed", limit=5):
        if job.ended_at is not None and now - job.ended_at < _RECENT:
            sentences.append(f"{job.kind.capitalize()} {job.id} failed: {job.error}")
    return sentences + unread


def _jobs(board: Dashboard) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for (kind, state), number in sorted(board.jobs.counts().items()):
        counts.setdefault(kind, {})[state] = number
    return counts


def _failures(board: Dashboard) -> list[tuple[RecentError, int]]:
    """The newest errors and how often each occurred."""
    errors = recent_errors(board.database, _ERRORS_READ)
    times = Counter((error.where, error.sentence) for error in errors)
    newest = {(error.where, error.sentence): error for error in reversed(errors)}
    return [(newest[same], number) for same, number in times.items()][:_ERRORS]


def _projects(board: Dashboard) -> Sequence[RowMapping]:
    """For each project: the version that Label Studio shows, when its labels were read, and why
    either failed."""
    sampled, announced = SampledProjectRow, AnnouncementRow
    query = (
        select(
            ProjectRow.key,
            *(sampled.asked_at, sampled.error.label("unread")),
            *(announced.version, announced.error, announced.told_at),
        )
        .outerjoin(sampled, sampled.key == ProjectRow.key)
        .outerjoin(announced, announced.project == ProjectRow.key)
        .where(sampled.gone_at.is_(None))
        .order_by(ProjectRow.key)
    )
    with board.database.read() as connection:
        return connection.execute(query).mappings().all()


def _store(board: Dashboard) -> tuple[bool, str]:
    """Whether the storage of versions is available, and a short description."""
    kept = [version for version in board.registry.all() if version.in_store]
    if not kept:
        return True, "no version yet"
    size = sum(version.size_bytes for version in kept)
    said = f"{counted(len(kept), 'version')}, {size / 1e6:.1f} MB"
    try:
        if not board.registry.store.has(kept[-1].name):
            return False, f"{said}; the files of {kept[-1].name} are missing"
    except StorageError as error:
        return False, str(error)
    return True, said
