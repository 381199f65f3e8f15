"""Pictures on disk: downloaded once, limited in bytes, safe with several processes.

There are two folders. ``content`` holds files as they were downloaded, named by their SHA-256.
``index`` holds an entry for each address, named by its hash: which content it is, and the size of
the picture, which is enough to answer a further click without opening it. No name and no entry
contains an address, since addresses may contain signatures.

Every file is written under another name and then renamed, so that no reader sees half of one; two
processes that write the same file write the same content.
"""

import contextlib
import hashlib
import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cachetools import TLRUCache

from model.files import PARTIAL_SUFFIX, atomic_write, private_folder

# Pictures that may be replaced at their address are downloaded again after this time: long enough
# for the clicks on a picture, short enough to notice a new one.
FRESH_S = 3600.0
# Another process may delete or replace an entry, so memory is trusted for this long only.
_REMEMBER_S = 60.0
_REMEMBER = 4096
# Above the first share of its limit the cache is trimmed to the second, so that the next pictures
# need no trimming. Each process counts again after writing the third; what several processes write
# between two counts fits into the rest.
_FULL, _KEEP, _RECOUNT = 0.9, 0.8, 0.02
# A file that is unfinished after an hour was left by a process that died.
_ABANDONED_S = 3600.0


@dataclass(frozen=True)
class CachedPicture:
    """What the cache knows of a picture without opening it; sizes in pixels."""

    key: str  # SHA-256 of the file's bytes
    width: int
    height: int


class PictureCache:
    """The two folders in ``root``, limited to ``max_bytes``. Safe in threads and processes."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._content = root / "content"
        self._index = root / "index"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        # By identity: the picture, and the time until which its entry is valid.
        self._memory: TLRUCache[str, tuple[CachedPicture, float]] = TLRUCache(
            _REMEMBER,
            ttu=lambda identity, known, now: min(known[1], now + _REMEMBER_S),
            timer=lambda: time.time(),
        )
        self._trim_lock = threading.Lock()
        self._unseen = max_bytes  # bytes written since the last count
        for folder in (self._content, self._index):
            private_folder(folder)

    def find(self, identity: str) -> CachedPicture | None:
        """The picture at ``identity``, as long as its entry is valid."""
        with self._lock:
            if known := self._memory.get(identity):
                return known[0]
        try:
            entry = json.loads(self._entry(identity).read_bytes())
            picture = CachedPicture(str(entry["key"]), int(entry["width"]), int(entry["height"]))
            until = float("inf") if entry["until"] is None else float(entry["until"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if time.time() >= until:
            return None
        self._remember(identity, picture, until)
        return picture

    def note(self, identity: str, picture: CachedPicture, *, fixed: bool) -> None:
        """Store which picture is at ``identity``: without a time limit if it is ``fixed``."""
        until = None if fixed else time.time() + FRESH_S
        entry = {
            "key": picture.key,
            "width": picture.width,
            "height": picture.height,
            "until": until,
        }
        _write(self._entry(identity), json.dumps(entry).encode(), durable=False)
        self._remember(identity, picture, float("inf") if until is None else until)

    def forget(self, identity: str) -> None:
        """Delete the entry of ``identity``."""
        with self._lock:
            self._memory.pop(identity, None)
        self._entry(identity).unlink(missing_ok=True)

    def _remember(self, identity: str, picture: CachedPicture, until: float) -> None:
        with self._lock:
            self._memory[identity] = (picture, until)

    def read(self, key: str) -> bytes | None:
        """The bytes of a file; None if it is not cached."""
        path = self._file(key)
        try:
            content = path.read_bytes()
            os.utime(path)  # so that the most recently used is deleted last
        except OSError:
            return None
        return content

    def keep(self, key: str, content: bytes) -> None:
        """Store a file's bytes, and delete the least recently used files if there are too many."""
        if len(content) > self._max_bytes * _KEEP:
            return
        path = self._file(key)
        if not path.exists():
            _write(path, content, durable=True)
        with self._trim_lock:
            self._unseen += len(content)
            if self._unseen > self._max_bytes * _RECOUNT:
                self._unseen = 0
                self._trim()

    def _trim(self) -> None:
        files = []
        for path in self._content.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):  # another process may be trimming
                state = path.stat()
                if path.suffix == PARTIAL_SUFFIX and time.time() - state.st_mtime > _ABANDONED_S:
                    path.unlink()
                else:
                    files.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in files)
        if total <= self._max_bytes * _FULL:
            return
        for _, size, path in sorted(files, key=lambda file: file[0]):
            if total <= self._max_bytes * _KEEP:
                break
            path.unlink(missing_ok=True)
            total -= size
        self._sweep_index()

    def _sweep_index(self) -> None:
        """Delete entries without content and unfinished files, so that the index stays small."""
        for path in self._index.glob("*/*"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if time.time() - path.stat().st_mtime < _ABANDONED_S:
                    continue
                if (
                    path.suffix == PARTIAL_SUFFIX
                    or not self._file(str(json.loads(path.read_bytes())["key"])).exists()
                ):
                    path.unlink()

    def _file(self, key: str) -> Path:
        return self._content / key[:2] / key

    def _entry(self, identity: str) -> Path:
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return self._index / digest[:2] / f"{digest}.json"


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    """Write ``content`` to ``path`` in full or not at all, also with several writers."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    atomic_write(path, content, private=True, durable=durable)
