"""Model versions in memory: loaded once, in the background, dropped when memory or time is up.

Whoever needs a version that is not there waits a moment for it; the loading itself runs on threads
of its own, so that a store that hangs holds up no click for longer than that moment.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from model.predictor import Predictor

_log = logging.getLogger(__name__)

# A store that hangs holds some of them up; a promotion that leads away from it needs another one.
_THREADS = 4
# A version that cannot be loaded is tried again after a pause that doubles.
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True)
class Failure:
    """Why a version could not be loaded, and when it is tried again (on the monotonic clock)."""

    sentence: str
    attempts: int
    again_at: float


@dataclass
class _Entry:
    predictor: Predictor
    used_at: float = field(default_factory=time.monotonic)


class Loaded:
    """Predictors by version. Thread-safe."""

    def __init__(self, load: Callable[[str], Predictor], max_bytes: int) -> None:
        """load: brings a version up, ready to answer. max_bytes: of all of them."""
        self._load = load
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._loading: dict[str, Future[Predictor | None]] = {}
        self._failures: dict[str, Failure] = {}
        self._slow: set[str] = set()  # being loaded, and somebody waited in vain
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="versions")

    def nbytes_of(self, versions: Collection[str]) -> int:
        """Memory that those of these versions take that are loaded."""
        with self._lock:
            return sum(it.predictor.nbytes for v, it in self._entries.items() if v in versions)

    @property
    def busy(self) -> bool:
        """Whether something is being loaded."""
        return bool(self._loading)

    def __contains__(self, version: str) -> bool:
        return version in self._entries

    def get(self, version: str) -> Predictor | None:
        """The version if it is loaded; counts as use."""
        with self._lock:
            entry = self._entries.get(version)
            if entry is None:
                return None
            entry.used_at = time.monotonic()
            return entry.predictor

    def failure(self, version: str) -> Failure | None:
        """Why it could not be loaded, until it is."""
        return self._failures.get(version)

    def may_load(self, version: str) -> bool:
        """Whether it is neither loaded nor being loaded, nor failed a moment ago."""
        failed = self._failures.get(version)
        with self._lock:
            there = version in self._entries or version in self._loading
        return not there and (failed is None or time.monotonic() >= failed.again_at)

    def start(
        self,
        version: str,
        needed: Collection[str] = (),
    ) -> Future[Predictor | None]:
        """Load it in the background, once whoever asks; None in the future: it failed.

        needed: these are the last to make room for it.
        """
        with self._lock:
            known = self._loading.get(version)
            if known is not None:
                return known
            future: Future[Predictor | None] = Future()
            entry = self._entries.get(version)
            if entry is not None:
                future.set_result(entry.predictor)
                return future
            self._loading[version] = future
        self._threads.submit(self._run, version, future, needed)
        return future

    def wait(self, version: str, seconds: float) -> Predictor | None:
        """Load it if need be, and give it; None: it fails, or takes longer.

        One that failed or took too long before is tried again, but waited for no more.
        """
        found = self.get(version)
        if found is not None:
            return found
        given_up = version in self._failures or version in self._slow
        if not self.may_load(version) and version not in self._loading:
            return self.get(version)
        future = self.start(version)
        try:
            return future.result(0 if given_up else seconds)
        except TimeoutError:
            self._slow.add(version)
            return None

    def drop(self, *, but: Collection[str], unused_for_s: float) -> None:
        """Drop what nobody has used for so long, but for some."""
        limit = time.monotonic() - unused_for_s
        with self._lock:
            old = [v for v, it in self._entries.items() if v not in but and it.used_at < limit]
            for version in old:
                del self._entries[version]
            for version in [v for v in self._failures if v not in but]:
                del self._failures[version]
        for version in old:
            _log.info("Version %s is not needed any more", version)

    def close(self) -> None:
        """Drop what waits; what is being loaded may take its time and is forgotten."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(
        self,
        version: str,
        future: Future[Predictor | None],
        needed: Collection[str],
    ) -> None:
        predictor = None
        try:
            predictor = self._load(version)
        except Exception as error:  # the version that serves goes on, whatever happened to this
            before = self._failures.get(version)
            attempts = before.attempts + 1 if before else 1
            pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (attempts - 1))
            self._failures[version] = Failure(str(error), attempts, time.monotonic() + pause)
            _log.error("Version %s cannot be loaded: %s", version, error)
        with self._lock:
            if predictor is not None:
                self._failures.pop(version, None)
                self._entries[version] = _Entry(predictor)
                self._make_room({version, *needed}, version)
            del self._loading[version]
            self._slow.discard(version)
        future.set_result(predictor)

    def _make_room(self, needed: Collection[str], newest: str) -> None:
        """Within the lock: those unused for longest go, never the one just loaded."""
        total = sum(it.predictor.nbytes for it in self._entries.values())
        entries = self._entries
        for version in sorted(entries, key=lambda it: (it in needed, entries[it].used_at)):
            if total <= self._max_bytes:
                return
            if version != newest:
                total -= self._entries.pop(version).predictor.nbytes
                _log.info("Version %s makes room for %s", version, newest)
