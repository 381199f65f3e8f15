"""Failures that somebody should know of, for the page of an admin: the newest few hundred."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Table, delete, func, insert, select

from backend.db.engine import Database
from backend.db.models.reports import ErrorRow

_log = logging.getLogger(__name__)

_errors: Table = ErrorRow.__table__  # type: ignore[assignment]

KEPT = 500
_LONGEST = 4_000


@dataclass(frozen=True)
class RecentError:
    """``where``: server, worker, training, …"""

    id: int
    at: datetime
    where: str
    sentence: str


def note(database: Database, where: str, sentence: str) -> None:
    """Keep a failure. Never fails itself: whoever tells of trouble has enough of it."""
    try:
        with database.write() as connection:
            values = {"at": datetime.now(UTC), "where": where[:64], "sentence": sentence[:_LONGEST]}
            connection.execute(insert(_errors).values(values))
            newest = select(func.max(_errors.c.id)).scalar_subquery()
            connection.execute(delete(_errors).where(_errors.c.id <= newest - KEPT))
    except Exception as error:
        _log.warning("%s: %s (could not be kept: %s)", where, sentence, error)


def recent(database: Database, limit: int = 50) -> list[RecentError]:
    """The newest first."""
    query = select(_errors).order_by(_errors.c.id.desc()).limit(limit)
    with database.read() as connection:
        return [RecentError(**row) for row in connection.execute(query).mappings()]
