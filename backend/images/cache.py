"""Pictures on disk: downloaded once, bounded in bytes, safe with several processes at once.

Two folders. ``content`` holds files as they were downloaded, named by their SHA-256. ``index``
tells for each address, by a hash of it, which content that is and how large the picture is: enough
to answer a further click without opening the picture. No name and no entry holds an address, since
addresses may hold signatures.

Every file is written under another name, flushed to the disk and then renamed, so nobody ever sees
half of one, and two who write the same write the same thing.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

# Pictures behind addresses that may be given a new picture are asked for anew after this time:
# long enough for the clicks on a picture, short enough for a bucket that is being tidied up.
FRESH_S = 3600.0
# Another process may have forgotten or replaced an entry: memory alone is believed this long.
_REMEMBER_S = 60.0
_REMEMBER = 4096
# Above the first part of its limit the cache is cut to the second at once, so that the next
# pictures need not cut again. Each process counts anew after it wrote the third: what several
# write between two counts has room in what is left.
_FULL, _KEEP, _RECOUNT = 0.9, 0.8, 0.02
# A file that nobody finished in an hour was left by a process that died.
_ABANDONED_S = 3600.0


@dataclass(frozen=True)
class CachedPicture:
    """What is known of a picture without opening it."""

    key: str  # SHA-256 of the file's bytes
    width: int
    height: int


class PictureCache:
    """The two folders below ``root``, kept below ``max_bytes``; safe in threads and processes."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._content = root / "content"
        self._index = root / "index"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        # Identity -> what it is, until when it holds, until when memory is believed.
        self._memory: OrderedDict[str, tuple[CachedPicture, float, float]] = OrderedDict()
        self._trim_lock = threading.Lock()
        self._unseen = max_bytes  # bytes written since the folder was last counted
        for folder in (self._content, self._index):
            folder.mkdir(parents=True, exist_ok=True)

    # -- what an address is

    def find(self, identity: str) -> CachedPicture | None:
        """What is known of the picture at ``identity``, while it may be believed."""
        now = time.time()
        with self._lock:
            known = self._memory.get(identity)
            if known and now < min(known[1], known[2]):
                self._memory.move_to_end(identity)
                return known[0]
        try:
            entry = json.loads(self._entry(identity).read_bytes())
            picture = CachedPicture(str(entry["key"]), int(entry["width"]), int(entry["height"]))
            until = float("inf") if entry["until"] is None else float(entry["until"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if now >= until:
            return None
        self._remember(identity, picture, until)
        return picture

    def note(self, identity: str, picture: CachedPicture, *, fixed: bool) -> None:
        """Keep what the picture at ``identity`` is: for good where it is ``fixed``."""
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
        """Ask for the picture at ``identity`` anew next time."""
        with self._lock:
            self._memory.pop(identity, None)
        self._entry(identity).unlink(missing_ok=True)

    def _remember(self, identity: str, picture: CachedPicture, until: float) -> None:
        with self._lock:
            self._memory[identity] = (picture, until, time.time() + _REMEMBER_S)
            self._memory.move_to_end(identity)
            while len(self._memory) > _REMEMBER:
                self._memory.popitem(last=False)

    # -- what lies there

    def read(self, key: str) -> bytes | None:
        """The file's bytes, None where they are not kept (any more)."""
        path = self._file(key)
        try:
            content = path.read_bytes()
            os.utime(path)  # what was used last goes last
        except OSError:
            return None
        return content

    def keep(self, key: str, content: bytes) -> None:
        """Keep a file's bytes, and let the longest unused go where there are too many."""
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
            with contextlib.suppress(FileNotFoundError):  # another process trims too
                state = path.stat()
                if path.suffix == ".part" and time.time() - state.st_mtime > _ABANDONED_S:
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
        """Drop entries without content and files left by the dead, so the index stays small too."""
        for path in self._index.glob("*/*"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if time.time() - path.stat().st_mtime < _ABANDONED_S:
                    continue
                if (
                    path.suffix == ".part"
                    or not self._file(str(json.loads(path.read_bytes())["key"])).exists()
                ):
                    path.unlink()

    def _file(self, key: str) -> Path:
        return self._content / key[:2] / key

    def _entry(self, identity: str) -> Path:
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return self._index / digest[:2] / f"{digest}.json"


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    """Put ``content`` at ``path``, all of it or nothing, whoever else does the same."""
    path.parent.mkdir(exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
