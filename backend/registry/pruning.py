"""Which versions may be deleted.

Kept at any age: those that serve, their parents, those that a rollback would lead to, those of
objects in progress, and the base; of each project the newest few; and any less than a day old,
since a job may be using it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from backend.db.models import Version
from backend.registry.champions import Champions

# Of each project, to look back at and compare with.
KEEP = 5
_YOUNG = timedelta(days=1)


def prunable(
    versions: Sequence[Version],
    champions: Champions,
    in_progress: Collection[str],
    *,
    keep: int,
    now: datetime,
) -> list[Version]:
    """Versions whose files are no longer needed, oldest first."""
    by_name = {version.name: version for version in versions}
    serving = champions.names()
    needed = set(serving) | set(in_progress)
    needed |= {by_name[name].parent for name in serving if name in by_name}
    prunable: list[Version] = []
    for project in {version.project for version in versions}:
        stored = [v for v in versions if v.project == project and v.in_store]
        # Rejected versions are the last to keep.
        stored.sort(key=lambda v: (v.state != "rejected", v.created_at), reverse=True)
        prunable += [
            v for v in stored[keep:] if v.name not in needed and now - v.created_at >= _YOUNG
        ]
    return sorted(prunable, key=lambda version: version.created_at)
