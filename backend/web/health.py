"""Whether all is well: what lives, what waits, what failed, in plain sentences."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Request, Response
from sqlalchemy import Table, func, select

from backend.db import sample_tables as sampled
from backend.db.models.core import Delivery
from backend.db.models.registry import AnnouncementRow
from backend.errors import StorageError
from backend.jobs.presence import processes, recent_errors
from backend.label_studio.payloads import number_of
from backend.reports.wording import counted
from backend.web.board import Board, Dashboard, router
from backend.worker.deliveries import ATTEMPTS

pages = router()

_announcements: Table = AnnouncementRow.__table__  # type: ignore[assignment]
_deliveries: Table = Delivery.__table__  # type: ignore[assignment]

# A failure older than that is history, not a worry.
_FRESH = timedelta(hours=1)
_ERRORS, _LOOKED_AT = 25, 200
# The worker takes a delivery in within seconds; after this it is not there, or behind.
_WAITS = timedelta(minutes=3)

_NAMES = {
    "server": "Server",
    "worker": "Worker",
    "training": "Training worker",
    "scheduler": "Scheduler",
}


@dataclass(frozen=True)
class Failure:
    """A sentence, and how often it was said."""

    sentence: str
    where: str
    at: datetime
    times: int


@dataclass(frozen=True)
class Mail:
    """Deliveries of webhooks."""

    waiting: int
    oldest: datetime | None
    given_up: int


@pages.get("/health")
def show(request: Request, board: Board) -> Response:
    """See the module."""
    started = time.perf_counter()
    mail = _mail(board)
    milliseconds = 1000 * (time.perf_counter() - started)
    return board.render.page(
        request,
        "health.html",
        section="Health",
        worries=worries(board),
        processes=processes(board.database),
        names=_NAMES,
        mail=mail,
        jobs=_jobs(board),
        failures=_failures(board),
        announcements=_told(board),
        database=board.database.url.render_as_string(hide_password=True),
        database_kind="SQLite" if board.database.is_sqlite else "PostgreSQL",
        milliseconds=milliseconds,
        store=_store(board),
        store_name=board.settings.checkpoint_store or "versions in the data folder",
        broker="its own queue of files" if not board.settings.broker_url else "a broker",
        serving=board.service.health()["model_version"],
        asked=_asked(board),
    )


def worries(board: Dashboard) -> list[str]:
    """What an admin should look at now, a sentence each; nothing where all is well."""
    now = datetime.now(UTC)
    found = []
    known = processes(board.database)
    for kind in dict.fromkeys(it.kind for it in known):
        if not any(it.lives(now) for it in known if it.kind == kind):
            last = max(it.seen_at for it in known if it.kind == kind)
            name = _NAMES.get(kind, kind).lower()
            found.append(f"No {name} has been heard of since {last:%Y-%m-%d %H:%M} UTC.")
    found += board.service.health().get("problems", [])
    stored, about = _store(board)
    if not stored:
        found.append(f"The store of model versions: {about}.")
    mail = _mail(board)
    if mail.oldest is not None and now - mail.oldest > _WAITS:
        found.append(
            f"{counted(mail.waiting, 'webhook delivery waits', 'webhook deliveries wait')} since "
            f"{mail.oldest:%H:%M} UTC: the worker is not running, or behind."
        )
    if mail.given_up:
        gone = counted(mail.given_up, "webhook delivery", "webhook deliveries")
        found.append(f"{gone} could not be taken in; see their errors.")
    for it in _told(board):
        if it["error"]:
            found.append(
                f"Label Studio was not told which version serves project "
                f"{number_of(it['project'])}: {it['error']}"
            )
    for job in board.jobs.listed(state="failed", limit=5):
        if job.ended_at is not None and now - job.ended_at < _FRESH:
            found.append(f"{job.kind.capitalize()} {job.id} failed: {job.error}")
    with board.database.read() as connection:
        projects = sampled.projects.c
        query = select(projects.key, projects.error).where(projects.error != "")
        for key, error in connection.execute(query):
            found.append(f"Project {number_of(key)} could not be read from Label Studio: {error}")
    return found


def _mail(board: Dashboard) -> Mail:
    it = _deliveries.c
    open_ = it.processed_at.is_(None)
    with board.database.read() as connection:
        waiting, oldest = connection.execute(
            select(func.count(), func.min(it.received_at)).where(open_, it.attempts < ATTEMPTS)
        ).one()
        query = select(func.count()).where(open_, it.attempts >= ATTEMPTS)
        return Mail(waiting, oldest, connection.execute(query).scalar_one())


def _jobs(board: Dashboard) -> list[tuple[str, dict[str, int]]]:
    found: dict[str, dict[str, int]] = {}
    for (kind, state), number in sorted(board.jobs.counts().items()):
        found.setdefault(kind, {})[state] = number
    return list(found.items())


def _failures(board: Dashboard) -> list[Failure]:
    """The newest sentences; one that was said again and again stands once."""
    found: dict[tuple[str, str], Failure] = {}
    for it in recent_errors(board.database, _LOOKED_AT):
        before = found.get((it.where, it.sentence))
        at, times = (before.at, before.times + 1) if before else (it.at, 1)
        found[it.where, it.sentence] = Failure(it.sentence, it.where, at, times)
    return list(found.values())[:_ERRORS]


def _told(board: Dashboard) -> Sequence[Mapping[str, Any]]:
    query = select(_announcements).order_by(_announcements.c.project)
    with board.database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _asked(board: Dashboard) -> Sequence[Mapping[str, Any]]:
    """When each project's labels were last asked of Label Studio, all of them."""
    it = sampled.projects.c
    query = select(it.key, it.asked_at, it.error).where(it.gone_at.is_(None)).order_by(it.key)
    with board.database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _store(board: Dashboard) -> tuple[bool, str]:
    """Whether the store of versions answers, in a sentence."""
    kept = [it for it in board.registry.all() if it.in_store]
    size = sum(it.size_bytes for it in kept)
    said = f"{len(kept)} version{'s' * (len(kept) != 1)}, {size / 1e6:.1f} MB"
    if not kept:
        return True, "no version yet"
    try:
        if not board.registry.store.has(kept[-1].name):
            return False, f"{said}; the files of {kept[-1].name} are missing"
    except StorageError as error:
        return False, str(error)
    return True, said
