"""Which predictor answers: each project's champion, or the version that an object was begun with.
Labels that the champion has not learned are answered by the base model.

Every server process polls one number in the database a few times a second. When it changes, the new
champion is loaded beside the one that serves, and takes over once it is ready, so that no request
waits. The version that a rollback would lead to is loaded ahead, as is a candidate while the gate
judges it, so that a rollback or promotion takes effect at the next poll. If a version cannot be
loaded, the previous one keeps serving and ``/health`` reports the problem.

A request that needs another version waits for it for a few seconds at most. Loading runs on threads
of its own, so that a store that hangs delays no click for longer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from backend.errors import DatabaseError
from backend.label_studio.payloads import Project, number_of
from backend.registry.champions import BASE, EVERYONE, Champions
from backend.registry.versions import Registry
from model.predictor import USUAL_SHAPES, Predictor
from training.finetune.labels import first_learned

_log = logging.getLogger(__name__)

# Promotions take effect within a second; a poll costs a fraction of a millisecond.
POLL_S = 0.2
# An annotator is waiting, and the champion could answer instead.
_WAIT_S = 5.0
# A gate takes minutes; people need some seconds from import to promotion.
_CANDIDATES_S = 1.0
# A store that hangs blocks some of them; a promotion away from its version needs another one.
_THREADS = 4
# A version that cannot be loaded is retried after a pause that doubles.
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0


@dataclass
class _Version:
    """A version in memory, on its way there, or the reason why it could not be loaded."""

    loading: Future[Predictor | None] | None = None
    predictor: Predictor | None = None
    used_at: float = 0.0  # on the monotonic clock, as ``retry_at``
    error: str = ""
    attempts: int = 0
    retry_at: float = 0.0
    slow: bool = False  # still loading after a request gave up on it


class ModelCache:
    """Predictors by version, the least recently used evicted. Thread-safe."""

    def __init__(self, load: Callable[[str], Predictor], max_bytes: int) -> None:
        """load: returns a version ready to answer. max_bytes: of all versions together."""
        self._load = load
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._versions: dict[str, _Version] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="versions")

    def room_beside(self, versions: Collection[str]) -> int:
        """Bytes that are left beside those of these versions that are loaded."""
        with self._lock:
            return self._max_bytes - sum(
                known.predictor.nbytes
                for version, known in self._versions.items()
                if known.predictor and version in versions
            )

    @property
    def busy(self) -> bool:
        with self._lock:
            return any(known.loading for known in self._versions.values())

    def __contains__(self, version: str) -> bool:
        known = self._versions.get(version)
        return known is not None and known.predictor is not None

    def get(self, version: str) -> Predictor | None:
        """The version if it is loaded; this counts as use."""
        with self._lock:
            known = self._versions.get(version)
            if known is None:
                return None
            known.used_at = time.monotonic()
            return known.predictor

    def failure(self, version: str) -> str:
        """Why it could not be loaded; '' if it was not tried, or once it is loaded."""
        known = self._versions.get(version)
        return known.error if known else ""

    def start(self, version: str, needed: Collection[str] = ()) -> _Version:
        """Load it in the background, unless it is there, on its way, or has just failed.

        needed: versions to evict last.
        """
        with self._lock:
            known = self._versions.setdefault(version, _Version())
            wanted = known.predictor is None and known.loading is None
            if wanted and time.monotonic() >= known.retry_at:
                known.loading = self._threads.submit(self._run, version, known, needed)
            return known

    def wait(self, version: str, seconds: float) -> Predictor | None:
        """The version, loaded if needed; None if that fails, or takes longer.

        After a failure or a timeout it is retried, but not waited for.
        """
        known = self.start(version)
        loading = known.loading
        if loading is None:
            return self.get(version)
        try:
            return loading.result(0 if known.attempts or known.slow else seconds)
        except TimeoutError:
            known.slow = True
            return None

    def close(self) -> None:
        """Cancel what waits. A load that is running ends by itself, and its result is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, version: str, known: _Version, needed: Collection[str]) -> Predictor | None:
        predictor, error = None, ""
        try:
            predictor = self._load(version)
        except Exception as failed:  # any error: the version that serves stays
            error = str(failed)
            _log.error("Version %s cannot be loaded: %s", version, error)
        with self._lock:
            known.loading, known.predictor, known.slow, known.error = None, predictor, False, error
            now = time.monotonic()
            if predictor is None:
                pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**known.attempts)
                known.attempts, known.retry_at = known.attempts + 1, now + pause
            else:
                known.attempts, known.used_at = 0, now
                self._make_room({version, *needed}, version)
        return predictor

    def _make_room(self, needed: Collection[str], newest: str) -> None:
        """Evict the least recently used, under the lock; never the one just loaded."""
        known = self._versions
        sizes = {v: e.predictor.nbytes for v, e in known.items() if e.predictor}
        total = sum(sizes.values())
        for version in sorted(sizes, key=lambda v: (v in needed, known[v].used_at)):
            if total <= self._max_bytes:
                return
            if version != newest:
                del known[version]
                total -= sizes[version]
                _log.info("Version %s was dropped from memory for %s", version, newest)


@dataclass(frozen=True)
class _State:
    """Replaced as one, so that readers need no lock."""

    champions: Champions
    # By owner whose champion is being loaded: the version that serves until then.
    meanwhile: dict[str, str]


class Predictors:
    """The predictors of one process. Thread-safe."""

    def __init__(
        self,
        registry: Registry,
        base: Predictor,
        *,
        max_bytes: int,
        poll_s: float = POLL_S,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """base: serves where there is no champion. changed: called when the champions change."""
        self.base = base
        self._registry = registry
        self._poll_s = poll_s
        self._changed = changed
        self._loaded = ModelCache(self._load, max_bytes)
        self._state = _State(registry.champions(), {})
        self._ended = threading.Event()
        self._candidates: list[str] = []
        self._candidates_at = 0.0
        self._database_failed = False
        self._poller = threading.Thread(target=self._run, name="champions", daemon=True)

    def start(self) -> None:
        """Start polling for promotions, and load the champions."""
        self._load_ahead()
        self._poller.start()

    def close(self) -> None:
        self._ended.set()
        if self._poller.is_alive():
            self._poller.join(timeout=5)
        self._loaded.close()

    def champion(self, project: Project) -> Predictor:
        """The predictor that serves the project. Never fails; waits a few seconds at most."""
        champions = self._state.champions
        owner = champions.owner(project)
        wanted = champions.of_owner(owner)
        return self._loaded_for(owner) or self._loaded.wait(wanted, _WAIT_S) or self.base

    def for_label(self, project: Project, label: str) -> Predictor:
        """The predictor for objects of a label: the champion, if it has learned the label.

        A champion forgets part of what its project did not label, so the base model serves the
        other labels. Never fails; waits a few seconds at most.
        """
        return first_learned(self._for_labels(project), label)

    def _for_labels(self, project: Project) -> Iterator[Predictor]:
        yield self.champion(project)
        yield self.serves(None)
        yield self.base

    def serves(self, project: Project | None) -> Predictor:
        """As ``champion``, without waiting; None: a project without a champion of its own."""
        return self._now(self._state.champions.owner(project) if project else EVERYONE)

    def begun_with(self, version: str, project: Project) -> Predictor:
        """The version that an object was begun with, or the champion if that is not available."""
        if not version:
            return self.champion(project)
        predictor = self._ready(version) or self._loaded.wait(version, _WAIT_S)
        if predictor is None:
            _log.warning("Version %s is not available; the champion continues its object", version)
        return predictor or self.champion(project)

    def knows(self, name: str, version: str) -> bool:
        """Whether a version's tokenizer knows these words; until it is loaded, the base's."""
        return (self._ready(version) or self.base).tokenizer.knows(name)

    def serving(self) -> set[str]:
        owners = {EVERYONE, *self._state.champions.by_project}
        return {self._now(owner).version for owner in owners}

    def status(self, project: Project | None = None) -> dict[str, Any]:
        """For ``/health``: what serves the project (None: one without a champion), and problems."""
        champions = self._state.champions
        status: dict[str, Any] = {"model_version": self.serves(project).version}
        of_projects = {
            key: self._now(key).version
            for key in sorted(champions.by_project)
            if champions.of_owner(key) != BASE and key != EVERYONE
        }
        if of_projects:
            status["champions"] = of_projects
        problems = [
            f"Version {version} of {self._owners(version)} cannot be loaded; the previous one "
            f"keeps serving. {failure}"
            for version in champions.names()
            if (failure := self._loaded.failure(version))
            and version in {champion.version for champion in champions.by_project.values()}
        ]
        if problems:
            status["problems"] = problems
        return status

    def _now(self, owner: str) -> Predictor:
        """The predictor that answers an owner's requests now."""
        if self._state.champions.of_owner(owner) == BASE:
            owner = EVERYONE
        return self._loaded_for(owner) or self.base

    def _loaded_for(self, owner: str) -> Predictor | None:
        """An owner's champion, or the one before while it is loaded; None if neither is there."""
        state = self._state
        champion = self._ready(state.champions.of_owner(owner))
        return champion or (
            self._ready(state.meanwhile[owner]) if owner in state.meanwhile else None
        )

    def _owners(self, version: str) -> str:
        champions = self._state.champions.by_project
        owners = [key for key, champion in champions.items() if champion.version == version]
        names = [f"project {number}" for number in sorted(number_of(key) for key in owners if key)]
        return ", ".join([*names, *(["all projects"] if EVERYONE in owners else [])])

    def _ready(self, version: str) -> Predictor | None:
        if version in (BASE, self.base.version):
            return self.base
        return self._loaded.get(version)

    def _run(self) -> None:
        while not self._ended.wait(self._poll_s):
            try:
                self.poll()
                self._database_failed = False
            except DatabaseError as error:
                if not self._database_failed:
                    _log.warning("Promotions cannot be read: %s", error)
                self._database_failed = True
            except Exception:
                _log.exception("Polling for promotions failed")

    def poll(self) -> None:
        """Check for promotions and rollbacks, and load what they need."""
        old = self._state
        new = old.champions
        if self._registry.last_promotion() != new.last:
            new = self._registry.champions()
        changed = {
            key for key in new.by_project if new.of_owner(key) != old.champions.of_owner(key)
        }
        meanwhile = {
            owner: self._now(owner).version
            for owner in changed | set(old.meanwhile)
            if self._ready(new.of_owner(owner)) is None
        }
        if new is not old.champions or meanwhile != old.meanwhile:
            self._state = _State(new, meanwhile)
            serving = ", ".join(sorted(self.serving()))
            _log.info("Serving since promotion %s: %s", new.last, serving)
            self._changed()
        if time.monotonic() - self._candidates_at > _CANDIDATES_S:
            self._candidates = self._registry.candidates()
            self._candidates_at = time.monotonic()
        self._load_ahead()

    def _load_ahead(self) -> None:
        """Load champions at once, the other versions one by one while there is memory."""
        champions = self._state.champions
        names = list(dict.fromkeys([*champions.names(), *self._candidates]))
        wanted = {champions.of_owner(owner) for owner in self._state.meanwhile}
        room = self._loaded.room_beside(names)
        for version in names:
            if version == self.base.version or version in self._loaded:
                continue
            ahead = room >= self.base.nbytes and not self._loaded.busy
            if version in wanted or ahead:
                self._loaded.start(version, needed=names)

    def _load(self, version: str) -> Predictor:
        started = time.monotonic()
        predictor = Predictor(self._registry.folder(version), beside=self.base)
        # torch prepares an architecture once per process, so only a new one is warmed up in full.
        same = predictor.config == self.base.config
        predictor.warm_up(USUAL_SHAPES[:1] if same else USUAL_SHAPES)
        _log.info("Loaded version %s in %.2f s", version, time.monotonic() - started)
        return predictor
