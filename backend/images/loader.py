"""Pictures of tasks: fetched, decoded and cached, for every kind of address.

``Pictures.read`` returns the pixels. ``Pictures.key_of`` takes well under a millisecond and returns
which picture an address meant last time, so that a further click does not open it at all.

`PictureCache` holds them on disk: downloaded once, limited in bytes, safe with several processes.
Every file is written under another name and then renamed, so that no reader sees half of one; two
processes that write the same file write the same content. No name and no entry contains an address,
since addresses may contain signatures.
"""

import contextlib
import hashlib
import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from backend.errors import LabelStudioError, PictureAwayError, PictureError
from backend.images.address import Address, local_file, parse
from backend.images.decode import Decoder, MemoryBudget
from backend.images.fetch import Fetcher
from backend.label_studio.client import LabelStudio
from backend.label_studio.payloads import Project
from backend.label_studio.projects import LabelStudioHosts
from backend.settings import Settings
from model.files import PARTIAL_SUFFIX, atomic_write, private_folder

_log = logging.getLogger(__name__)

# Pictures that may be replaced at their address are downloaded again after this time: long enough
# for the clicks on a picture, short enough to notice a new one.
FRESH_S = 3600.0
# Above the first share of its limit the cache is trimmed to the second, so that the next pictures
# need no trimming. Each process counts again after writing the third; what several processes write
# between two counts fits into the rest.
_FULL, _KEEP, _RECOUNT = 0.9, 0.8, 0.02
# A file that is unfinished after an hour was left by a process that died.
_ABANDONED_S = 3600.0
_KEY = re.compile(r"[0-9a-f]{64}")
# Twenty annotators who open a picture at the same time, and some to spare.
_WAITING = 32
# Pictures of other hosts than Label Studio: all of them, and those of one host.
_ELSEWHERE, _OF_ONE_HOST = 24, 8


class PictureCache:
    """Two folders in ``root``, limited to ``max_bytes``. Safe in threads and processes.

    ``content`` holds files as they were downloaded, named by their SHA-256. ``index`` holds an
    entry for each address, named by its hash: which content was there when it was written.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._content = root / "content"
        self._index = root / "index"
        self._max_bytes = max_bytes
        self._trim_lock = threading.Lock()
        self._unseen = max_bytes  # bytes written since the last count
        for folder in (self._content, self._index):
            private_folder(folder)

    def find(self, identity: str, *, fixed: bool) -> str | None:
        """SHA-256 of the picture at ``identity``; after a while only if that is ``fixed``."""
        entry = self._entry(identity)
        try:
            key, age = entry.read_text("ascii"), time.time() - entry.stat().st_mtime
        except (OSError, ValueError):
            return None
        return key if _KEY.fullmatch(key) and (fixed or age < FRESH_S) else None

    def note(self, identity: str, key: str) -> None:
        _write(self._entry(identity), key.encode(), durable=False)

    def forget(self, identity: str) -> None:
        self._entry(identity).unlink(missing_ok=True)

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
            with contextlib.suppress(OSError, ValueError):
                old = time.time() - path.stat().st_mtime > _ABANDONED_S
                unfinished = path.suffix == PARTIAL_SUFFIX
                if old and (unfinished or not self._file(path.read_text("ascii")).exists()):
                    path.unlink()

    def _file(self, key: str) -> Path:
        return self._content / key[:2] / key

    def _entry(self, identity: str) -> Path:
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return self._index / digest[:2] / digest


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    """Write ``content`` to ``path`` in full or not at all, also with several writers."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    atomic_write(path, content, private=True, durable=durable)


@dataclass(frozen=True)
class Picture:
    """An upright picture. array: H,W,3 uint8 RGB, read-only; key: SHA-256 of its file."""

    key: str
    array: NDArray[np.uint8]

    @property
    def width(self) -> int:
        return int(self.array.shape[1])

    @property
    def height(self) -> int:
        return int(self.array.shape[0])


class Pictures:
    """Reads pictures within the settings' limits. Safe in threads and processes."""

    def __init__(self, settings: Settings, label_studio: LabelStudioHosts) -> None:
        self._hosts = label_studio
        self._local_root = settings.local_files_root
        self._decode = Decoder(
            settings.picture_max_pixels, MemoryBudget(settings.picture_memory_bytes)
        )
        self._fetcher = Fetcher(
            timeout_s=settings.picture_timeout_s,
            max_bytes=settings.picture_max_bytes,
            allow_private=settings.allow_private_addresses,
        )
        self._cache = PictureCache(settings.data / "pictures", settings.picture_cache_bytes)
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._reading: dict[str, Future[Picture]] = {}

    def read(self, address: object, project: Project | int, task_id: int | None) -> Picture:
        """The picture at ``address`` (as in the task's data). Raises PictureError."""
        place, host = self._place(address, project, task_id)
        return self._once(place, lambda: self._read(place, host))

    def key_of(self, address: object, project: Project | int, task_id: int | None) -> str | None:
        """Which picture is at ``address``, if that is cached; opens and fetches nothing.

        Raises PictureAddressError for an address that ``read`` refuses.
        """
        place, _ = self._place(address, project, task_id)
        return self._cache.find(place.identity, fixed=place.fixed)

    def kept(self, key: str) -> Picture | None:
        """The picture with this key if its file is cached; fetches nothing."""
        content = self._cache.read(key)
        return None if content is None else Picture(key, self._decode(content))

    def forget(self, address: object, project: Project | int, task_id: int | None) -> None:
        """Fetch the picture at ``address`` again next time, since the page shows another."""
        place, _ = self._place(address, project, task_id)
        self._cache.forget(place.identity)

    def _place(
        self, address: object, project: Project | int, task_id: int | None
    ) -> tuple[Address, LabelStudio | None]:
        host, why = None, ""
        try:
            host = self._hosts.of(project)
        except LabelStudioError as error:
            # A picture at another host does not need Label Studio.
            why = str(error)
        place = parse(address, host, task_id, why)
        if place.kind == "local" and self._local_root is not None:
            place = local_file(place, self._local_root)
        return place, host

    def _once(self, place: Address, work: Callable[[], Picture]) -> Picture:
        """Run ``work`` once for all threads that need its picture at the same time.

        Only a limited number of threads wait here: the others are for clicks on cached pictures.
        Hosts that never answer leave some to pictures of Label Studio and of this machine.
        """
        limits = {"": _WAITING}
        if place.kind == "web" and self._cache.find(place.identity, fixed=place.fixed) is None:
            limits = {"web": _ELSEWHERE, urlsplit(place.routes[0]).netloc: _OF_ONE_HOST}
        with self._lock:
            if any(self._waiting[lane] >= most for lane, most in limits.items()):
                raise PictureAwayError(
                    "Too many pictures are fetched at the same time, and their hosts are slow. Try "
                    "again in a moment."
                )
            self._waiting.update(limits.keys())
        try:
            return self._shared(place.identity, work)
        finally:
            with self._lock:
                self._waiting.subtract(limits.keys())
                self._waiting += Counter()  # without those at 0

    def _shared(self, identity: str, work: Callable[[], Picture]) -> Picture:
        with self._lock:
            future = self._reading.get(identity)
            if future is None:
                mine: Future[Picture] = Future()
                self._reading[identity] = mine
        if future is not None:
            try:
                return future.result()
            except PictureError as error:
                # A new error for each thread, since a traceback grows with every raise.
                raise type(error)(str(error)) from None
        try:
            mine.set_result(work())
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._reading[identity]
        return mine.result()

    def _read(self, place: Address, host: LabelStudio | None) -> Picture:
        key = self._cache.find(place.identity, fixed=place.fixed)
        if key is not None and (known := self.kept(key)) is not None:
            return known
        content = self._fetcher.read(place, host)
        picture = Picture(hashlib.sha256(content).hexdigest(), self._decode(content))
        try:
            # A picture in the task or on this machine needs no second copy.
            if place.kind not in ("inline", "file"):
                self._cache.keep(picture.key, content)
            self._cache.note(place.identity, picture.key)
        except OSError as error:  # without a cache, clicks are slower but still work
            _log.warning("The picture cache cannot be written: %s", error.strerror)
        return picture
