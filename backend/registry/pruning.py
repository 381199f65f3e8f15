"""Which versions may go: the rule, apart from the doing.

Kept are, whatever their age: what serves, its parent, what any rollback would lead to, versions of
objects in the making, the base; of each project the newest few; and what is younger than a day, for
a job may be at work on it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from backend.registry.records import Champions, Version

# Of each project, so that one can look back a little and compare.
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
    """Those whose files nobody needs, oldest first."""
    by_name = {it.name: it for it in versions}
    serving = champions.names()
    needed = set(serving) | set(in_progress)
    needed |= {by_name[name].parent for name in serving if name in by_name}
    goes: list[Version] = []
    for project in {it.project for it in versions}:
        there = [it for it in versions if it.project == project and it.in_store]
        # A rejected one is never the better choice of what to keep.
        there.sort(key=lambda it: (it.state != "rejected", it.created_at), reverse=True)
        goes += [
            it for it in there[keep:] if it.name not in needed and now - it.created_at >= _YOUNG
        ]
    return sorted(goes, key=lambda it: it.created_at)
