"""Model versions in memory: loaded in the background, dropped when unused or out of memory.

A request that needs a version waits for it for a few seconds at most. Loading runs on threads of
its own, so that a store that hangs delays no click for longer.
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

# A store that hangs blocks some of them; a promotion away from its version needs another one.
_THREADS = 4
# A version that cannot be loaded is retried after a pause that doubles.
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True)
class Failure:
    """Why a version could not be loaded, and when it is retried (on the monotonic clock)."""

    sentence: str
    attempts: int
    retry_at: float


@dataclass
class _Entry:
    predictor: Predictor
    used_at: float = field(default_factory=time.monotonic)


class ModelCache:
    """Predictors by version. Thread-safe."""

    def __init__(self, load: Callable[[str], Predictor], max_bytes: int) -> None:
        """load: returns a version ready to answer. max_bytes: of all versions together."""
        self._load = load
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._loading: dict[str, Future[Predictor | None]] = {}
        self._failures: dict[str, Failure] = {}
        self._slow: set[str] = set()  # still loading after a request gave up on it
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="versions")

    def nbytes_of(self, versions: Collection[str]) -> int:
        """Bytes of those of these versions that are loaded."""
        with self._lock:
            return sum(e.predictor.nbytes for v, e in self._entries.items() if v in versions)

    @property
    def busy(self) -> bool:
        """Whether any version is being loaded."""
        return bool(self._loading)

    def __contains__(self, version: str) -> bool:
        return version in self._entries

    def get(self, version: str) -> Predictor | None:
        """The version if it is loaded; this counts as use."""
        with self._lock:
            entry = self._entries.get(version)
            if entry is None:
                return None
            entry.used_at = time.monotonic()
            return entry.predictor

    def failure(self, version: str) -> Failure | None:
        """Why it could not be loaded, until it can."""
        return self._failures.get(version)

    def may_load(self, version: str) -> bool:
        """Whether it is neither loaded nor being loaded, and did not just fail."""
        failed = self._failures.get(version)
        with self._lock:
            known = version in self._entries or version in self._loading
        return not known and (failed is None or time.monotonic() >= failed.retry_at)

    def start(
        self,
        version: str,
        needed: Collection[str] = (),
    ) -> Future[Predictor | None]:
        """Load it in the background, once for all callers. The future holds None if that failed.

        needed: versions to evict last.
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
        """The version, loaded if needed; None if that fails, or takes longer.

        After a failure or a timeout it is retried, but not waited for.
        """
        predictor = self.get(version)
        if predictor is not None:
            return predictor
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
        """Drop versions that were not used for this long, except ``but``."""
        limit = time.monotonic() - unused_for_s
        with self._lock:
            old = [v for v, e in self._entries.items() if v not in but and e.used_at < limit]
            for version in old:
                del self._entries[version]
            for version in [v for v in self._failures if v not in but]:
                del self._failures[version]
        for version in old:
            _log.info("Version %s is no longer used; it was dropped from memory", version)

    def close(self) -> None:
        """Cancel what waits. A load that is running ends by itself, and its result is dropped."""
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
        except Exception as error:  # any error: the version that serves stays
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
        """Evict the least recently used, under the lock; never the one just loaded."""
        total = sum(entry.predictor.nbytes for entry in self._entries.values())
        entries = self._entries
        for version in sorted(entries, key=lambda v: (v in needed, entries[v].used_at)):
            if total <= self._max_bytes:
                return
            if version != newest:
                total -= self._entries.pop(version).predictor.nbytes
                _log.info("Version %s was dropped from memory for %s", version, newest)
