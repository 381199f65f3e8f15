"""Which predictor answers: each project's champion, or the version that an object was begun with.
Labels that the champion has not learned are answered by the base model.

Every server process polls one number in the database a few times a second. When it changes, the new
champion is loaded beside the one that serves, and takes over once it is ready, so that no request
waits. The version that a rollback would lead to is loaded ahead, as is a candidate while the gate
judges it, so that a rollback or promotion takes effect at the next poll. If a version cannot be
loaded, the previous one keeps serving and ``/health`` reports the problem.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backend.errors import DatabaseError
from backend.label_studio.payloads import Project, number_of
from backend.registry.champions import BASE, EVERYONE, Champions
from backend.registry.model_cache import ModelCache
from backend.registry.versions import Registry
from model.predictor import USUAL_SHAPES, Predictor
from training.finetune.labels import has_learned, labels_of

_log = logging.getLogger(__name__)

# Promotions take effect within a second; a poll costs a fraction of a millisecond.
POLL_S = 0.2
# An annotator is waiting, and the champion could answer instead.
_WAIT_S = 5.0
# An object in progress is clicked more often than this.
_UNUSED_S = 1800.0
_TIDY_S = 60.0
# A gate takes minutes; people need some seconds from import to promotion.
_CANDIDATES_S = 1.0


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
        self._max_bytes = max_bytes
        self._loaded = ModelCache(self._load, max_bytes)
        self._state = _State(registry.champions(), {})
        self._ended = threading.Event()
        self._tidied = time.monotonic()
        self._candidates: list[str] = []
        self._candidates_at = 0.0
        self._database_failed = False
        self._poller = threading.Thread(target=self._run, name="champions", daemon=True)

    def start(self) -> None:
        """Start polling for promotions, and load the champions."""
        self._load_ahead()
        self._poller.start()

    def close(self) -> None:
        """Stop polling."""
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
        for predictor in (self.champion(project), self.serves(None)):
            if has_learned(labels_of(predictor.metrics), label):
                return predictor
        return self.base

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
        """All versions that serve a project now."""
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
            f"keeps serving. {failure.sentence}"
            for version in champions.names()
            if (failure := self._loaded.failure(version)) is not None
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
        if time.monotonic() - self._tidied > _TIDY_S:
            self._tidied = time.monotonic()
            self._loaded.drop(but=self._state.champions.names(), unused_for_s=_UNUSED_S)

    def _load_ahead(self) -> None:
        """Load champions at once, the other versions one by one while there is memory."""
        champions = self._state.champions
        names = list(dict.fromkeys([*champions.names(), *self._candidates]))
        wanted = {champions.of_owner(owner) for owner in self._state.meanwhile}
        room = self._max_bytes - self._loaded.nbytes_of(names)
        for version in names:
            if version == self.base.version or not self._loaded.may_load(version):
                continue
            ahead = room >= self.base.nbytes and not self._loaded.busy
            if version in wanted or ahead:
                self._loaded.start(version, needed=names)

    def _load(self, version: str) -> Predictor:
        """Load a version beside the base."""
        started = time.monotonic()
        predictor = Predictor(self._registry.folder(version), beside=self.base)
        # torch prepares an architecture once per process, so only a new one is warmed up in full.
        same = predictor.config == self.base.config
        predictor.warm_up(USUAL_SHAPES[:1] if same else USUAL_SHAPES)
        _log.info("Loaded version %s in %.2f s", version, time.monotonic() - started)
        return predictor
