"""Where the files of model versions lie: a folder, or anything that fsspec has a name for.

A version is there when its SHA256SUMS is there, and what is read is checked against it and against
the sums in the database. In a folder a version appears by one rename; an object store has no
renames, so there SHA256SUMS is written last and deleted first: a half-written version is never
seen.
"""

from __future__ import annotations

from pathlib import Path

from backend.registry.folder_store import FolderStore, Store
from backend.settings import Settings


def open_store(settings: Settings) -> Store:
    """The store that the settings name."""
    where = settings.checkpoint_store
    if not where:
        return FolderStore(settings.data / "versions")
    if where.startswith("file://"):
        return FolderStore(Path(where.removeprefix("file://")))
    if "://" not in where:
        return FolderStore(Path(where))
    from backend.registry.remote_store import RemoteStore

    return RemoteStore(where, settings.data / "versions-cache")
