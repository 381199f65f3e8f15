"""Which predictor answers: the champion of each project, and for what was begun before, its own.

Every server process looks a few times a second at one number in the database. When it has changed,
the new champion is loaded beside the one that serves, and serves once it can answer: nobody waits
for it. What a rollback would lead to is loaded ahead, and so is a candidate while the gate judges
it: then a rollback or a promotion takes effect at the next look. A version that cannot be loaded
changes nothing but ``/health``, which says so.
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
from backend.registry.model_cache import Loaded
from backend.registry.records import BASE, EVERYONE, Champions
from backend.registry.versions import Registry
from model.predictor import USUAL_SHAPES, Predictor

_log = logging.getLogger(__name__)

# Promotion and rollback are to be seen within a second; a look costs a fraction of a millisecond.
LOOK_S = 0.2
# Somebody waits at a page meanwhile, and the champion could answer instead.
_WAIT_S = 5.0
# An object that is worked on is clicked more often than this.
_UNUSED_S = 1800.0
_TIDY_S = 60.0
# The gate takes minutes, people some seconds from import to promotion.
_LOOK_FOR_CANDIDATES_S = 1.0


@dataclass(frozen=True)
class _State:
    """Replaced as a whole, so that readers need no lock."""

    champions: Champions
    # Of owners whose champion is still being loaded: what serves until then.
    meanwhile: dict[str, str]


class Predictors:
    """See the module. Thread-safe; one for a process."""

    def __init__(
        self,
        registry: Registry,
        base: Predictor,
        *,
        max_bytes: int,
        look_s: float = LOOK_S,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """base: serves where there is no champion. changed: called when another version serves."""
        self.base = base
        self._registry = registry
        self._look_s = look_s
        self._changed = changed
        self._max_bytes = max_bytes
        self._loaded = Loaded(self._load, max_bytes)
        self._state = _State(registry.champions(), {})
        self._ended = threading.Event()
        self._tidied = time.monotonic()
        self._candidates: list[str] = []
        self._candidates_at = 0.0
        self._away = False
        self._watch = threading.Thread(target=self._run, name="champions", daemon=True)

    def start(self) -> None:
        """Begin to look for promotions, and load what serves already."""
        self._load_ahead()
        self._watch.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._watch.is_alive():
            self._watch.join(timeout=5)
        self._loaded.close()

    # -- who answers

    def champion(self, project: Project) -> Predictor:
        """The predictor that serves the project now; never fails, waits at most a moment."""
        state = self._state
        owner = state.champions.owner(project)
        wanted = state.champions.of_owner(owner)
        found = self._at_hand(wanted)
        if found is None and owner in state.meanwhile:
            found = self._at_hand(state.meanwhile[owner])
        return found or self._loaded.wait(wanted, _WAIT_S) or self.base

    def serves(self, project: Project | None) -> Predictor:
        """As champion, but never waiting; None: for those without a champion of their own."""
        state = self._state
        return self._now(state.champions.owner(project) if project else EVERYONE)

    def begun_with(self, version: str, project: Project) -> Predictor:
        """The version that an object was begun with, or the champion where it cannot be had."""
        if not version:
            return self.champion(project)
        found = self._at_hand(version) or self._loaded.wait(version, _WAIT_S)
        if found is None:
            _log.warning("Version %s cannot be had; the champion goes on with its object", version)
        return found or self.champion(project)

    def knows(self, name: str, version: str) -> bool:
        """Whether a version's reader knows the words; never waits (the base's is much the same)."""
        return (self._at_hand(version) or self.base).tokenizer.knows(name)

    # -- what is told

    def serving(self) -> set[str]:
        """All versions that serve somebody now."""
        owners = {EVERYONE, *self._state.champions.by_project}
        return {self._now(owner).version for owner in owners}

    def status(self, project: Project | None = None) -> dict[str, Any]:
        """For ``/health``: what serves the project (None: one without a champion); what fails."""
        champions = self._state.champions
        told: dict[str, Any] = {"model_version": self.serves(project).version}
        of_projects = {
            key: self._now(key).version
            for key in sorted(champions.by_project)
            if champions.of_owner(key) != BASE and key != EVERYONE
        }
        if of_projects:
            told["champions"] = of_projects
        problems = [
            f"Version {version} of {self._whose(version)} cannot be loaded; what served before "
            f"serves on. {failed.sentence}"
            for version in champions.names()
            if (failed := self._loaded.failure(version)) is not None
            and version in {it.version for it in champions.by_project.values()}
        ]
        if problems:
            told["problems"] = problems
        return told

    def _now(self, owner: str) -> Predictor:
        """What answers an owner's requests at this moment."""
        state = self._state
        wanted = state.champions.of_owner(owner)
        if wanted == BASE and owner != EVERYONE:
            return self._now(EVERYONE)
        meanwhile = state.meanwhile.get(owner, BASE)
        return self._at_hand(wanted) or self._at_hand(meanwhile) or self.base

    def _whose(self, version: str) -> str:
        champions = self._state.champions.by_project
        owners = [key for key, it in champions.items() if it.version == version]
        numbers = sorted(number_of(key) for key in owners if key)
        return ", ".join(
            [*(f"project {it}" for it in numbers), *(["all projects"] if "" in owners else [])]
        )

    def _at_hand(self, version: str) -> Predictor | None:
        if version in (BASE, self.base.version):
            return self.base
        return self._loaded.get(version)

    # -- looking and loading

    def _run(self) -> None:
        while not self._ended.wait(self._look_s):
            try:
                self.look()
                self._away = False
            except DatabaseError as error:
                if not self._away:
                    _log.warning("Promotions cannot be seen: %s", error)
                self._away = True
            except Exception:
                _log.exception("Looking for promotions failed")

    def look(self) -> None:
        """See whether there was a promotion or a rollback, and load what it needs."""
        old = self._state
        new = old.champions
        if self._registry.last_promotion() != new.last:
            new = self._registry.champions()
        changed = {it for it in new.by_project if new.of_owner(it) != old.champions.of_owner(it)}
        meanwhile = {
            owner: self._now(owner).version
            for owner in changed | set(old.meanwhile)
            if self._at_hand(new.of_owner(owner)) is None
        }
        if new is not old.champions or meanwhile != old.meanwhile:
            self._turn(_State(new, meanwhile))
        if time.monotonic() - self._candidates_at > _LOOK_FOR_CANDIDATES_S:
            self._candidates = self._registry.candidates()
            self._candidates_at = time.monotonic()
        self._load_ahead()
        if time.monotonic() - self._tidied > _TIDY_S:
            self._tidied = time.monotonic()
            self._loaded.drop(but=self._state.champions.names(), unused_for_s=_UNUSED_S)

    def _turn(self, state: _State) -> None:
        self._state = state
        serving = ", ".join(sorted(self.serving()))
        _log.info("After promotion %s there serve: %s", state.champions.last, serving)
        self._changed()

    def _load_ahead(self) -> None:
        """What is waited for at once; the others one by one while there is room."""
        champions = self._state.champions
        names = list(dict.fromkeys([*champions.names(), *self._candidates]))
        waited_for = {champions.of_owner(owner) for owner in self._state.meanwhile}
        room = self._max_bytes - self._loaded.nbytes_of(names)
        for version in names:
            if version == self.base.version or not self._loaded.may_load(version):
                continue
            ahead = room >= self.base.nbytes and not self._loaded.busy
            if version in waited_for or ahead:
                self._loaded.start(version, needed=names)

    def _load(self, version: str) -> Predictor:
        """Bring a version up beside the base."""
        started = time.monotonic()
        predictor = Predictor(self._registry.folder(version), beside=self.base)
        # torch is prepared for a form once in a process; only another form has to be all warmed.
        same = predictor.config == self.base.config
        predictor.warm_up(USUAL_SHAPES[:1] if same else USUAL_SHAPES)
        _log.info("Version %s was loaded in %.2f s", version, time.monotonic() - started)
        return predictor
