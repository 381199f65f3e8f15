"""Deletes the files of model versions that are no longer needed.

Kept at any age: those that serve, their parents, those that a rollback would lead to, those of
objects in progress, and the base; of each project the newest few; and any less than a day old,
since a job may be using it.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update

from backend.db.engine import Database, records
from backend.db.models import GatePictureRow, TargetRow, Version
from backend.registry import champions as log
from backend.registry.champions import STICKY_FOR, Champions
from backend.registry.versions import Registry

# Of each project, to look back at and compare with.
KEEP = 5
_YOUNG = timedelta(days=1)


def prune(
    registry: Registry, *, keep: int = KEEP, now: datetime | None = None, try_only: bool = False
) -> list[Version]:
    """Delete the files of the versions that are no longer needed.

    keep: versions of each project to keep at least. Returns the pruned versions, oldest first; with
    ``try_only`` nothing is deleted.
    """
    now = now or datetime.now(UTC)
    database = registry.database
    needed = _in_progress(registry, now)
    with log.locked(database) as connection:
        versions = records(connection, select(Version).order_by(Version.created_at))
        serving = Champions.after(log.history(connection)).names()
        needed |= {*serving, *(v.parent for v in versions if v.name in serving)}
        newest: set[str] = set()
        for project in {version.project for version in versions}:
            stored = [v for v in versions if v.project == project and v.in_store]
            # Rejected versions are the last to keep.
            stored.sort(key=lambda v: (v.state != "rejected", v.created_at), reverse=True)
            newest |= {version.name for version in stored[:keep]}
        pruned = [
            v
            for v in versions
            if v.in_store and v.name not in needed | newest and now - v.created_at >= _YOUNG
        ]
        if try_only:
            return pruned
        # Rows first: from here on these versions cannot be promoted.
        names = [version.name for version in pruned]
        connection.execute(update(Version).where(Version.name.in_(names)).values(state="pruned"))
    unfinished = [v.name for v in versions if v.state == "pruned" and v.size_bytes]
    for name in unfinished + names:
        registry.store.delete(name)
        with database.write() as connection:
            query = update(Version).where(Version.name == name, Version.state == "pruned")
            connection.execute(query.values(size_bytes=0))
    registry.store.sweep()
    return pruned


def forget_gate_pictures(database: Database, days: float) -> int:
    """Delete pictures of verdicts older than this; returns their number."""
    before = datetime.now(UTC) - timedelta(days=days)
    with database.write() as connection:
        return connection.execute(
            delete(GatePictureRow).where(GatePictureRow.created_at < before)
        ).rowcount


def _in_progress(registry: Registry, now: datetime) -> set[str]:
    """Versions that objects in progress were begun with."""
    query = (
        select(TargetRow.model_version)
        .where(TargetRow.state.in_(("open", "kept")), TargetRow.updated_at >= now - STICKY_FOR)
        .distinct()
    )
    return set(registry.database.records(query)) - {""}
