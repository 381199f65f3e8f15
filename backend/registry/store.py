"""The files of model versions, in a folder or at any address that fsspec reaches.

A version exists once its SHA256SUMS exists, and what is read is checked against it and against the
sums in the database. In a folder a version appears by one rename. An object store has no renames,
so there SHA256SUMS is written last and deleted first. Either way no half-written version is ever
visible.

What was fetched from a remote store is served from a local cache, so that a server can restart
while the store is unreachable. Credentials and endpoints come from where the store's own library
reads them (for S3 the AWS_… variables or ~/.aws).
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec

from backend.errors import StorageError
from backend.settings import Settings
from model import checkpoint_files as files
from model.errors import CheckpointError

_log = logging.getLogger(__name__)

# The most recently used versions stay in the cache; a server needs a handful at a time.
_CACHED = 20
# Writing a few files never takes a day; anything older was left by a process that died.
_ABANDONED_S = 24 * 3600.0


def open_store(settings: Settings) -> VersionStore:
    """The store that the settings name: a folder, or fsspec's URL."""
    where = settings.checkpoint_store or str(settings.data / "versions")
    if where.startswith("file://") or "://" not in where:
        return VersionStore.in_folder(Path(where.removeprefix("file://")))
    return VersionStore(where, settings.data / "versions-cache")


class VersionStore:
    """Versions by name. Safe in threads and processes.

    Every method raises StorageError and nothing else.
    """

    def __init__(self, url: str, local: Path, *, in_place: bool = False) -> None:
        """
        Args:
            url: fsspec's address, such as s3://bucket/folder.
            local: a folder for fetched versions.
            in_place: ``local`` is the store itself, so nothing is fetched.
        """
        self.local = local.resolve()
        self._in_place = in_place
        parts = urlsplit(url)
        # Without user and password, which must not appear in logs.
        self._name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        with self._storage_errors("opened"):
            # Other machines write too, so listings must not be cached.
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)

    @classmethod
    def in_folder(cls, folder: Path) -> VersionStore:
        """A local folder, or one on a network drive."""
        folder = folder.expanduser().resolve()
        return cls(f"file://{folder}", folder, in_place=True)

    def put(self, version: str, contents: Mapping[str, bytes]) -> None:
        """Store a version's files. Storing the same again is fine; other content is refused."""
        new = files.parse_sums(contents[files.SUMS].decode())
        with self._storage_errors("written"):
            stored = self._sums(version)
            if stored is None:
                self._write(version, contents)
            elif stored != new:
                raise StorageError(
                    f"{self._name} holds other files under the name {version}, and a version "
                    "never changes. Save the new one under another name."
                )

    def has(self, version: str) -> bool:
        with self._storage_errors("read"):
            return self._sums(version) is not None

    def fetch(self, version: str, sums: Mapping[str, str]) -> Path:
        """The version in a local folder, every file checked against ``sums`` (SHA-256 by file)."""
        folder = self.local / version
        if self._in_place:
            _check(folder, sums)
            return folder
        if folder.exists():
            try:
                _check(folder, sums)
                os.utime(folder)
                return folder
            except StorageError as error:
                _log.warning("Fetching %s again: %s", version, error)
                shutil.rmtree(folder, ignore_errors=True)
        with self._storage_errors("read"):
            if self._sums(version) is None:
                raise StorageError(f"{self._name} holds no version {version}.")
            contents = {
                file: self._fs.cat_file(self._path(version, file)) for file in (*sums, files.SUMS)
            }
        try:
            files.write_whole(folder, contents)
        except CheckpointError as error:
            if not folder.exists():  # otherwise another process fetched it first
                raise StorageError(str(error)) from error
        try:
            _check(folder, sums)
        except StorageError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._trim_cache()
        return folder

    def delete(self, version: str) -> None:
        """Delete a version, if it exists."""
        with self._storage_errors("deleted from"):
            # Renamed first, so that other processes see all of it or nothing.
            aside = self.local / f".{version}-{uuid.uuid4().hex[:8]}"
            with suppress(FileNotFoundError):
                (self.local / version).rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
            if self._in_place:
                return
            if self._sums(version) is not None:
                self._fs.rm_file(self._path(version, files.SUMS))
            if self._fs.exists(self._path(version)):
                self._fs.rm(self._path(version), recursive=True)

    def sweep(self, older_than_s: float = _ABANDONED_S) -> int:
        """Delete what processes that died left half-written; returns how many folders."""
        swept = 0
        # Hidden folders are what an unfinished write or delete left.
        for left in self.local.glob(".*"):
            with suppress(OSError):  # other processes sweep it, too
                if time.time() - left.stat().st_mtime >= older_than_s:
                    _log.info("Deleting %s, which a process that died left behind", left)
                    shutil.rmtree(left, ignore_errors=True)
                    swept += 1
        if self._in_place:
            return swept
        with self._storage_errors("tidied"):
            by_version: dict[str, dict[str, Any]] = {}
            for path in self._fs.find(self._root):
                version, _, file = path.removeprefix(f"{self._root}/").partition("/")
                by_version.setdefault(version, {})[file] = path
            for version, paths in by_version.items():
                if files.SUMS in paths or not all(paths):
                    continue
                newest = max(self._fs.modified(path) for path in paths.values())
                if (datetime.now(UTC) - newest).total_seconds() >= older_than_s:
                    _log.info("Deleting %s, which was never written in full", version)
                    self._fs.rm(self._path(version), recursive=True)
                    swept += 1
        return swept

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))

    def _sums(self, version: str) -> dict[str, str] | None:
        """The version's SHA256SUMS; None if it does not exist, or not yet."""
        try:
            return files.parse_sums(self._fs.cat_file(self._path(version, files.SUMS)).decode())
        except FileNotFoundError:
            return None

    def _write(self, version: str, contents: Mapping[str, bytes]) -> None:
        if self._in_place:
            try:
                files.write_whole(self.local / version, contents)
            except CheckpointError as error:
                # Another process may have written the same version first.
                if self._sums(version) != files.parse_sums(contents[files.SUMS].decode()):
                    raise StorageError(str(error)) from error
            return
        for file in sorted(contents, key=lambda name: (name == files.SUMS, name)):
            path = self._path(version, file)
            try:
                self._fs.pipe_file(path, contents[file])
            except FileNotFoundError:
                # Not an object store, so folders must be created. Never the store's own: a typo
                # in its address would become a new bucket.
                if not self._fs.isdir(self._root):
                    raise
                self._fs.makedirs(self._path(version), exist_ok=True)
                self._fs.pipe_file(path, contents[file])

    def _trim_cache(self) -> None:
        with suppress(OSError):  # other processes trim it, too
            cached = [folder for folder in self.local.iterdir() if not folder.name.startswith(".")]
            for old in sorted(cached, key=lambda folder: folder.stat().st_mtime)[:-_CACHED]:
                shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _storage_errors(self, action: str) -> Iterator[None]:
        """Raise StorageError with a sentence in place of what the store's library raises."""
        try:
            yield
        except StorageError:
            raise
        except ImportError as error:
            raise StorageError(
                f"{self._name} needs a library that is not installed ({error}). "
                "For s3:// install phraseclick-label-studio[s3]."
            ) from error
        except Exception as error:  # each library has its own exceptions
            raise StorageError(
                f"The store {self._name} could not be {action}: {error or type(error).__name__}. "
                "Check its address, the credentials, and that it can be reached."
            ) from error


def _check(folder: Path, sums: Mapping[str, str]) -> None:
    """Raise StorageError unless the folder holds exactly these files, undamaged."""
    try:
        files.read(folder)
        stored = files.read_sums(folder)
    except CheckpointError as error:
        raise StorageError(str(error)) from error
    if stored != dict(sums):
        raise StorageError(
            f"{folder} is not what was registered as this version: its {files.SUMS} differs."
        )
