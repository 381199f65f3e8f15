"""Versions in an object store (or whatever else fsspec reaches), with a local folder before it.

What was fetched once is served from the local folder, so that a server starts again while the store
is away. Credentials and endpoints come from where the store's own library takes them (for S3 the
AWS_… variables or ~/.aws).
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec

from backend.errors import StorageError
from backend.registry.folder_store import LEFT_BEHIND_S, Sums, check, sweep_folder
from model import checkpoint_files as files
from model.errors import CheckpointError

_log = logging.getLogger(__name__)

# Those used last; a server keeps a handful at a time.
_CACHED = 20


class RemoteStore:
    """``url``: fsspec's, such as s3://bucket/folder; ``cache``: a local folder."""

    def __init__(self, url: str, cache: Path) -> None:
        self._url = url
        self._cache = cache.resolve()
        parts = urlsplit(url)
        # Neither user nor password of a URL belongs into a log.
        self._name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        with self._told("opened"):
            # Other machines write too, so listings are never remembered.
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)

    def put(self, version: str, contents: Mapping[str, bytes]) -> None:
        """See Store."""
        new = files.parse_sums(contents[files.SUMS].decode())
        with self._told("written"):
            kept = self._sums(version)
            if kept is not None:
                if kept != new:
                    raise StorageError(
                        f"{self._name} holds other files under the name {version}; a version "
                        "never changes. Save the new one under another name."
                    )
                return
            for file in sorted(contents, key=lambda it: (it == files.SUMS, it)):
                self._write(version, file, contents[file])

    def has(self, version: str) -> bool:
        """See Store."""
        with self._told("read"):
            return self._sums(version) is not None

    def fetch(self, version: str, sums: Sums) -> Path:
        """See Store."""
        folder = self._cache / version
        if folder.exists():
            try:
                check(folder, sums)
            except StorageError as error:
                _log.warning("Fetching %s again: %s", version, error)
                shutil.rmtree(folder, ignore_errors=True)
            else:
                os.utime(folder)
                return folder
        with self._told("read"):
            if self._sums(version) is None:
                raise StorageError(f"{self._name} holds no version {version}.")
            contents = {
                file: self._fs.cat_file(self._path(version, file)) for file in (*sums, files.SUMS)
            }
        try:
            files.write_whole(folder, contents)
        except CheckpointError as error:
            if not folder.exists():  # else another process was quicker
                raise StorageError(str(error)) from error
        try:
            check(folder, sums)
        except StorageError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._make_room()
        return folder

    def delete(self, version: str) -> None:
        """See Store."""
        shutil.rmtree(self._cache / version, ignore_errors=True)
        with self._told("deleted from"):
            if self._sums(version) is not None:
                self._fs.rm_file(self._path(version, files.SUMS))
            if self._fs.exists(self._path(version)):
                self._fs.rm(self._path(version), recursive=True)

    def sweep(self, older_than_s: float = LEFT_BEHIND_S) -> int:
        """See Store."""
        swept = sweep_folder(self._cache, older_than_s)
        with self._told("tidied"):
            found: dict[str, dict[str, Any]] = {}
            for path in self._fs.find(self._root):
                version, _, file = path.removeprefix(f"{self._root}/").partition("/")
                found.setdefault(version, {})[file] = path
            for version, paths in found.items():
                if files.SUMS in paths or not all(paths):
                    continue
                newest = max(self._fs.modified(path) for path in paths.values())
                if (datetime.now(UTC) - newest).total_seconds() >= older_than_s:
                    _log.info("Removing %s, which was never written to its end", version)
                    self._fs.rm(self._path(version), recursive=True)
                    swept += 1
        return swept

    # -- inside

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))

    def _sums(self, version: str) -> dict[str, str] | None:
        """What the version's SHA256SUMS says; None: it is not there, or not yet."""
        try:
            return files.parse_sums(self._fs.cat_file(self._path(version, files.SUMS)).decode())
        except FileNotFoundError:
            return None

    def _write(self, version: str, file: str, content: bytes) -> None:
        path = self._path(version, file)
        try:
            self._fs.pipe_file(path, content)
        except FileNotFoundError:
            # Not an object store, then: folders have to be made. Yet never the store's own, which
            # would turn a slip in its address into a new bucket.
            if not self._fs.isdir(self._root):
                raise
            self._fs.makedirs(self._path(version), exist_ok=True)
            self._fs.pipe_file(path, content)

    def _make_room(self) -> None:
        """Keep the versions that were used last."""
        cached = [it for it in self._cache.iterdir() if not it.name.startswith(".")]
        used = sorted(cached, key=_last_used, reverse=True)
        for old in used[_CACHED:]:
            shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """A sentence for whatever the store's own library raises."""
        try:
            yield
        except StorageError:
            raise
        except ImportError as error:
            raise StorageError(
                f"{self._name} needs a library that is not installed ({error}). "
                "For s3:// install phraseclick-label-studio[s3]."
            ) from error
        except Exception as error:  # every library has a family of its own
            raise StorageError(
                f"The store {self._name} could not be {what}: {error or type(error).__name__}. "
                "Check its address, the credentials, and that it can be reached."
            ) from error


def _last_used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return time.time()
