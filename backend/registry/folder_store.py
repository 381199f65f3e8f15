"""What a store of model versions does, and the plain one: a folder, where a version appears by one
rename, so that a half-written one is never seen.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from backend.errors import StorageError
from model import checkpoint_files as files
from model.errors import CheckpointError

_log = logging.getLogger(__name__)

Sums = Mapping[str, str]

# Nobody takes so long to write a few files; what is older was left by a process that died.
LEFT_BEHIND_S = 24 * 3600.0


class Store(Protocol):
    """Versions by name. Safe in threads and processes; raises StorageError alone."""

    def put(self, version: str, contents: Mapping[str, bytes]) -> None:
        """Keep a version's files. The same once more is fine, other content is refused."""

    def has(self, version: str) -> bool:
        """Whether the version is there, whole."""

    def fetch(self, version: str, sums: Sums) -> Path:
        """The version in a local folder, every file checked against ``sums``."""

    def delete(self, version: str) -> None:
        """Remove a version, if it is there."""

    def sweep(self, older_than_s: float = LEFT_BEHIND_S) -> int:
        """Remove what processes that died left half written; how much."""


class FolderStore:
    """A folder, maybe on a network drive; each version a folder in it."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()

    def put(self, version: str, contents: Mapping[str, bytes]) -> None:
        """See Store."""
        target = self.root / version
        if self._same(target, contents):
            return
        try:
            files.write_whole(target, contents)
        except CheckpointError as error:
            if not self._same(target, contents):  # else another process was quicker
                raise StorageError(str(error)) from error

    def has(self, version: str) -> bool:
        """See Store."""
        return (self.root / version / files.SUMS).is_file()

    def fetch(self, version: str, sums: Sums) -> Path:
        """See Store."""
        folder = self.root / version
        check(folder, sums)
        return folder

    def delete(self, version: str) -> None:
        """See Store."""
        # Renamed first: whoever looks meanwhile sees all of it or nothing.
        aside = self.root / f".{version}-{uuid.uuid4().hex[:8]}"
        try:
            (self.root / version).rename(aside)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"Version {version} cannot be deleted: {error}.") from error
        shutil.rmtree(aside, ignore_errors=True)

    def sweep(self, older_than_s: float = LEFT_BEHIND_S) -> int:
        """See Store."""
        return sweep_folder(self.root, older_than_s)

    @staticmethod
    def _same(target: Path, contents: Mapping[str, bytes]) -> bool:
        if not target.exists():
            return False
        try:
            kept = files.read_sums(target)
        except CheckpointError as error:
            raise StorageError(str(error)) from error
        if kept != files.parse_sums(contents[files.SUMS].decode()):
            raise StorageError(
                f"{target} holds other files under the same name; a version never changes. "
                "Save the new one under another name."
            )
        return True


def check(folder: Path, sums: Sums) -> None:
    """Raise StorageError unless the folder holds exactly these files, undamaged."""
    try:
        files.read(folder)
        kept = files.read_sums(folder)
    except CheckpointError as error:
        raise StorageError(str(error)) from error
    if kept != dict(sums):
        raise StorageError(
            f"{folder} is not what was registered under this version: its {files.SUMS} differs."
        )


def sweep_folder(root: Path, older_than_s: float) -> int:
    """Remove hidden folders that writing or deleting left behind."""
    swept = 0
    for left in root.glob(".*"):
        try:
            if time.time() - os.stat(left).st_mtime < older_than_s:
                continue
        except OSError:
            continue
        _log.info("Removing what a process that died left behind: %s", left)
        shutil.rmtree(left, ignore_errors=True)
        swept += 1
    return swept
