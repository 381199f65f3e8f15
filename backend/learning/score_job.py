"""The job that decides which task comes next: every task that is left gets a score, lowest first.

Chunk by chunk the pictures are read and the serving version is asked what they would cost an
annotator (`training.acquisition.acquisition`); each chunk is written down and to Label Studio
before the next begins, so that annotators are served well soon and a job that was killed goes on
where it was. In the end all that is known is put into one order, alike pictures apart, and scores
that stand in
another order are corrected. A version that was promoted meanwhile ends the job: its scores are
another job's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from backend.db.engine import Database
from backend.errors import JobError, LabelStudioError
from backend.label_studio.config import LabelConfig
from backend.label_studio.host import Json
from backend.label_studio.payloads import Project, Task
from backend.label_studio.projects import LabelStudioHosts, Projects
from backend.learning.predictions import Predictions
from backend.learning.rank_keys import places
from backend.learning.retry import patiently
from backend.learning.scores import METHODS, Found, Method, Scores
from backend.learning.task_scorer import Looking
from backend.registry.store import open_store
from backend.registry.versions import Registry
from backend.settings import Settings
from training.acquisition.diversity import MILD, WEIGHT, order

# Tasks that are read, scored and written before the next: less than a minute of one core.
CHUNK = 25
# What serves tasks by their score; Label Studio's other ways to serve them look at none.
BY_SCORE = "Uncertainty sampling"
# How far apart alike pictures are kept. Chance is as diverse as can be.
_DIVERSITY: dict[Method, float] = {
    "clicks": WEIGHT,
    "saving": MILD,
    "uncertainty": WEIGHT,
    "random": 0.0,
}

T = TypeVar("T")


class Asked(Protocol):
    """The job: its project's key, what asked for it, and the options that came along."""

    @property
    def project(self) -> str: ...
    @property
    def trigger(self) -> str: ...
    @property
    def request(self) -> Mapping[str, Any]: ...


class Progress(Protocol):
    """What the job tells on its way, and what may end it (see backend/jobs)."""

    def phase(self, name: str, share: float) -> None: ...
    def at(self, progress: float, message: str = "") -> None: ...
    def line(self, text: str, level: str = "info") -> None: ...
    def check(self) -> None: ...


def score(job: Asked, settings: Settings, database: Database, progress: Progress) -> dict[str, Any]:
    """Score what is left of the job's project; gives what came of it.

    Options of the request: ``method`` (one of METHODS) and ``masks``, else as the
    settings say. Raises LabelStudioError where Label Studio refuses or stays away, LabelConfigError
    where there is nothing to score by, JobError for an unknown method.
    """
    method = str(job.request.get("method") or settings.acquisition)
    if method == "off":
        return {"stopped": "Tasks are not scored: PHRASECLICK_ACQUISITION is off."}
    for known in METHODS:
        if known == method:
            return _Run(job, settings, database, progress, known).work()
    raise JobError(f"Tasks cannot be scored by '{method}': choose of {', '.join(METHODS)}.")


class _Newer(Exception):  # noqa: N818 - not an error: another job goes on
    """Another version serves by now."""


class _Run:
    def __init__(
        self,
        job: Asked,
        settings: Settings,
        database: Database,
        progress: Progress,
        method: Method,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._method = method
        self._by_hand = job.trigger == "hand"
        # Whoever asks for masks wants them on tasks that have their scores already, too.
        self._masks = bool(job.request.get("masks", settings.score_masks))
        self._all_masks = self._by_hand and bool(job.request.get("masks"))
        self._project = Project.read(job.project)
        self._hosts = LabelStudioHosts(settings, Projects(database).announced)
        self._label_studio = self._hosts.of(self._project.id)
        self._registry = Registry(database, open_store(settings), settings)
        self._promotion = self._registry.last_promotion()
        self._version = self._serves()
        ours = {it.name for it in self._registry.all()} | {self._registry.base_name}
        self._predictions = Predictions(self._label_studio, self._version, ours)
        self._scores = Scores(database, self._project.key, self._version, method)
        self._known: dict[int, Found] = {}
        self._left: set[int] = set()
        self._waited = 0
        self._looked_at = 0
        self._written = 0

    def work(self) -> dict[str, Any]:
        started = time.monotonic()
        about = self._ask(lambda: self._label_studio.project(self._project.id))
        if not self._by_hand and about.get("sampling") != BY_SCORE:
            return {
                "stopped": "Tasks are not scored: the project does not serve them by score. "
                f"phraseclick score --project {self._project.id} --sampling lets it."
            }
        stopped = ""
        try:
            self._list()
            self._estimate(str(about.get("label_config") or ""))
            self._put_in_order()
        except _Newer:
            stopped = (
                f"{self._serves()} serves by now: what {self._version} thinks is of no use any "
                "more, and the job of the newer version goes on."
            )
            self._progress.line(stopped)
        unreadable = sum(1 for it in self._known.values() if it.error)
        return {
            "version": self._version,
            "method": self._method,
            "left": len(self._left),
            "scored": len(self._known) - unreadable,
            "unreadable": unreadable,
            "looked_at": self._looked_at,
            "written": self._written,
            "stopped": stopped,
            "seconds": round(time.monotonic() - started, 1),
        }

    # -- what is left

    def _list(self) -> None:
        """Which tasks still want an annotation, and what is known of them already."""
        self._progress.phase("listing", 0.02)
        listed = self._ask(lambda: list(_in_short(self._label_studio.tasks(
            self._project.id, resolve_uri="false"
        ))))  # fmt: skip
        bare = {number for number, _, predicted in listed if not predicted}
        self._left = {number for number, labeled, _ in listed if not labeled}
        for task, it in self._scores.all().items():
            if task in self._left:
                # Somebody may have deleted predictions in Label Studio.
                self._known[task] = replace(it, written=None) if task in bare else it

    # -- what they cost

    def _estimate(self, label_config: str) -> None:
        self._progress.phase("scoring", 0.83)
        todo = sorted(task for task in self._left if self._is_to_do(task))
        self._progress.line(
            f"{len(self._left)} tasks are left; {len(todo)} are to be looked at by {self._version}."
        )
        if not todo:
            return
        config = LabelConfig.parse(
            label_config,
            add_label=self._settings.refine_positive_label,
            remove_label=self._settings.refine_negative_label,
        )
        folder = self._registry.folder(self._version)
        looking = Looking(folder, self._settings, self._hosts, self._project, config, self._method)
        try:
            for start in range(0, len(todo), CHUNK):
                self._chunk(looking, todo[start : start + CHUNK], start, len(todo))
        finally:
            looking.close()

    def _is_to_do(self, task: int) -> bool:
        it = self._known.get(task)
        if it is None or it.error or self._all_masks:
            return True
        return self._masks and it.written is None

    def _chunk(self, looking: Looking, numbers: Sequence[int], start: int, of: int) -> None:
        about = self._ask(lambda: self._label_studio.tasks_of(self._project.id, numbers))
        open_tasks = [
            Task(int(it["id"]), it.get("data") or {}) for it in about if not it.get("is_labeled")
        ]
        new: dict[int, Found] = {}
        for place, task in enumerate(open_tasks, start):
            self._check()
            self._progress.at(place / of, self._so_far(place, of))
            number = task.id or 0
            if number not in self._known or self._known[number].error:
                new[number] = self._look(looking, task)
        self._scores.keep(new.values())
        self._known.update(new)
        for task in open_tasks:
            self._check()
            it = self._known[task.id or 0]
            masks = looking.masks(task) if self._masks and not it.error else None
            place_held = it.written
            meanwhile = _meanwhile(it, self._method)
            self._write(it, meanwhile if place_held is None else place_held, masks)
        # Those labeled or deleted meanwhile wait for nothing any more.
        self._left -= set(numbers) - {task.id for task in open_tasks}

    def _look(self, looking: Looking, task: Task) -> Found:
        self._looked_at += 1
        found = looking.look(task)
        if found.error:
            # Was it the picture, or is Label Studio away?
            waited = self._waited
            self._ask(self._label_studio.version)
            if self._waited > waited:
                found = looking.look(task)
        if found.error:
            self._progress.line(f"Task {task.id} cannot be scored: {found.error}", "warning")
        return found

    def _so_far(self, done: int, of: int) -> str:
        unreadable = sum(1 for it in self._known.values() if it.error)
        broken = f", {unreadable} could not be read" if unreadable else ""
        return f"Looked at {done} of {of} tasks{broken}."

    # -- in which order

    def _put_in_order(self) -> None:
        """Corrects every score that stands at the wrong place."""
        self._progress.phase("ordering", 0.15)
        self._check()
        known = {task: it for task, it in self._known.items() if task in self._left}
        ranked = _ranked(known.values(), self._method)
        self._scores.ranked({task: rank for rank, task in enumerate(ranked, 1)})
        held = {task: it.written for task, it in known.items() if it.written is not None}
        wanted = places(ranked, held)
        changed = [task for task in ranked if held.get(task) != wanted[task]]
        for place, task in enumerate(changed):
            self._check()
            self._progress.at(place / len(changed), f"Put {place} of {len(changed)} in order.")
            self._write(known[task], wanted[task], None)
        self._progress.at(1.0, f"{len(ranked)} tasks are in order.")

    def _write(self, it: Found, number: float, masks: list[Json] | None) -> None:
        try:
            self._ask(lambda: self._predictions.put(it.task, number, masks))
        except LabelStudioError as error:
            if error.answered not in (400, 404):
                raise
            # Most likely it was deleted a moment ago; if not, the job's log says what is wrong.
            self._progress.line(f"Task {it.task} takes no score: {error}", "warning")
            return
        self._written += 1
        self._scores.written(it.task, number)
        self._known[it.task] = replace(it, written=number)

    # -- inside

    def _ask(self, call: Callable[[], T]) -> T:
        """Of Label Studio, waiting for it where it is away."""

        def waits(why: str) -> None:
            self._waited += 1
            self._progress.line(f"Waiting for Label Studio: {why}", "warning")

        return patiently(call, waits=waits, check=self._check)

    def _check(self) -> None:
        """Raises where the job is to end."""
        self._progress.check()
        promotion = self._registry.last_promotion()
        if promotion != self._promotion:
            self._promotion = promotion
            if self._serves() != self._version:
                raise _Newer

    def _serves(self) -> str:
        return self._registry.champions().of(self._project) or self._registry.base_name


def _ranked(known: Iterable[Found], method: Method) -> list[int]:
    """Tasks in the order in which they are to be labeled."""
    everyone = sorted(known, key=lambda it: it.task)
    seen = [it for it in everyone if it.descriptor is not None]
    if not seen:
        return [it.task for it in everyone]
    found = order(
        [it.expected or 0.0 for it in seen],
        np.stack([it.descriptor for it in seen if it.descriptor is not None]),
        weight=_DIVERSITY[method],
    )
    # What could not be looked at comes last: a person sees it when all else is done.
    return [seen[place].task for place in found] + [
        it.task for it in everyone if it.descriptor is None
    ]


def _meanwhile(found: Found, method: Method) -> float:
    """A score until all are in order: lower where more is expected."""
    if found.expected is None:
        return 0.999
    if method in ("clicks", "saving"):
        return 1.0 / (1.0 + max(found.expected, 0.0))
    return min(max(1.0 - found.expected, 0.001), 0.998)


def _in_short(tasks: Iterable[Json]) -> Iterator[tuple[int, bool, bool]]:
    """Number, whether it is labeled, whether it has predictions: the rest may be megabytes."""
    for task in tasks:
        yield int(task["id"]), bool(task.get("is_labeled")), bool(task.get("total_predictions", 1))
