"""The registry of model versions: what there is, which one serves which project, and why.

Nothing is imported here, so that the command line stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from backend.settings import Settings


def resolve(name: str, settings: Settings) -> Path:
    """The local folder of a version, fetched from the store where need be, checked by its sums.

    name: a version or its unique beginning, "shipped", "base" (the checkpoint of the settings),
    "champion" or "champion:6" (of project 6), or the folder of a checkpoint itself. Raises
    VersionError, StorageError or CheckpointError.
    """
    from backend.registry.lookup import resolve as find

    return find(name, settings)
