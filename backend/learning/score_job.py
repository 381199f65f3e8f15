"""The scoring job: every remaining task gets a score, and Label Studio serves the lowest first.

In chunks, the pictures are read and the serving version estimates what they would cost an annotator
(`training.acquisition`). Each chunk is stored and written to Label Studio before the next begins,
so annotators benefit early and a killed job resumes. In the end all tasks are put into one order,
with similar pictures apart, and scores that do not fit the order are corrected. If another version
is promoted meanwhile, the job ends: that version has a scoring job of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Any, TypeVar

import numpy as np

from backend.db.engine import Database
from backend.db.models import Job, ScoreRow
from backend.errors import JobError, LabelStudioError
from backend.jobs.progress import Progress
from backend.label_studio.client import with_retries
from backend.label_studio.config import parse_config
from backend.label_studio.host import Json
from backend.label_studio.payloads import Project, Task
from backend.label_studio.projects import LabelStudioHosts, Projects
from backend.learning.scores import Predictions, Scores, TaskScorer, rank_keys
from backend.registry.champions import EVERYONE
from backend.registry.versions import Registry
from backend.settings import Settings
from training.acquisition import METHODS, MILD, WEIGHT, Method, order

# Tasks that are read, scored and written before the next: less than a minute of one core.
CHUNK = 25
# Label Studio's only way to serve tasks that uses their scores.
BY_SCORE = "Uncertainty sampling"
# How far apart similar pictures are kept. A random order is diverse already.
_DIVERSITY: dict[Method, float] = {
    "clicks": WEIGHT,
    "saving": MILD,
    "uncertainty": WEIGHT,
    "random": 0.0,
}

T = TypeVar("T")


def score(job: Job, settings: Settings, database: Database, progress: Progress) -> dict[str, Any]:
    """Score the remaining tasks of the job's project; returns a summary.

    Options of the request: ``method`` (one of METHODS) and ``masks``, by default as the settings
    say. Raises LabelStudioError if Label Studio refuses or stays down, LabelConfigError if the
    project's config has no labels to score by, JobError for an unknown method.
    """
    method = str(job.request.get("method") or settings.acquisition)
    if method == "off":
        return {"stopped": "Tasks are not scored: PHRASECLICK_ACQUISITION is off."}
    for known in METHODS:
        if known == method:
            return _Run(job, settings, database, progress, known).work()
    raise JobError(f"Tasks cannot be scored by '{method}': choose one of {', '.join(METHODS)}.")


class _NewerVersion(Exception):  # noqa: N818 - not an error: another job continues
    """Another version serves now."""


class _Run:
    def __init__(
        self,
        job: Job,
        settings: Settings,
        database: Database,
        progress: Progress,
        method: Method,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._method = method
        self._by_hand = job.trigger == "hand"
        # Masks that a person asks for are also added to tasks that have scores already.
        self._masks = bool(job.request.get("masks", settings.score_masks))
        self._all_masks = self._by_hand and bool(job.request.get("masks"))
        self._project = Project.read(job.project)
        self._hosts = LabelStudioHosts(settings, Projects(database).announced)
        self._label_studio = self._hosts.of(self._project)
        self._registry = Registry(database, settings)
        self._promotion = self._registry.last_promotion()
        self._version = self._registry.serves(job.project)
        self._predictions = Predictions(self._label_studio, self._version, self._registry.names())
        self._scores = Scores(database, self._project.key, self._version, method)
        self._known: dict[int, ScoreRow] = {}
        self._left: set[int] = set()
        self._waited = 0
        self._looked_at = 0
        self._written = 0

    def work(self) -> dict[str, Any]:
        started = time.monotonic()
        about = self._call(lambda: self._label_studio.project(self._project.id))
        if not self._by_hand and about.get("sampling") != BY_SCORE:
            return {
                "stopped": "Tasks are not scored: the project does not serve them by score. "
                f"To change that: phraseclick score --project {self._project.id} --sampling"
            }
        stopped = ""
        try:
            self._list()
            self._estimate(str(about.get("label_config") or ""))
            self._put_in_order()
        except _NewerVersion:
            stopped = (
                f"{self._registry.serves(self._project.key)} serves now, so scores by "
                f"{self._version} are outdated. The scoring job of the newer version replaces them."
            )
            self._progress.line(stopped)
        unreadable = self._unreadable()
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

    # -- the remaining tasks

    def _list(self) -> None:
        """Find the tasks without an annotation, and their stored scores."""
        self._progress.phase("listing", 0.02)

        def unlabeled() -> dict[int, bool]:
            """By task, whether it has predictions; the rest of a task may be megabytes."""
            found = {}
            for task in self._label_studio.tasks(self._project.id, resolve_uri="false"):
                self._progress.check()  # also where a host sends page after page
                if not task.get("is_labeled"):
                    found[int(task["id"])] = bool(task.get("total_predictions", 1))
            return found

        predicted = self._call(unlabeled)
        self._left = set(predicted)
        for task, score in self._scores.all().items():
            if task in self._left:
                self._known[task] = score
                if not predicted[task]:
                    score.score = None  # someone deleted predictions in Label Studio

    # -- what they cost

    def _estimate(self, label_config: str) -> None:
        self._progress.phase("scoring", 0.83)
        todo = sorted(task for task in self._left if self._is_to_do(task))
        self._progress.line(
            f"{len(self._left)} tasks remain; {self._version} scores {len(todo)} of them."
        )
        if not todo:
            return
        config = parse_config(label_config, **self._settings.refine_labels)
        registry = self._registry
        serving = self._version, registry.serves(EVERYONE), registry.base_name
        folders = [registry.folder(version) for version in dict.fromkeys(serving)]
        with closing(
            TaskScorer(folders, self._settings, self._hosts, self._project, config, self._method)
        ) as scorer:
            for start in range(0, len(todo), CHUNK):
                self._chunk(scorer, todo[start : start + CHUNK], start, len(todo))

    def _is_to_do(self, task: int) -> bool:
        score = self._known.get(task)
        if score is None or score.error or self._all_masks:
            return True
        return self._masks and score.score is None

    def _chunk(self, scorer: TaskScorer, numbers: Sequence[int], start: int, of: int) -> None:
        tasks = self._call(lambda: self._label_studio.tasks_of(self._project.id, numbers))
        open_tasks = [
            Task(int(task["id"]), task.get("data") or {})
            for task in tasks
            if not task.get("is_labeled")
        ]
        new: dict[int, ScoreRow] = {}
        for place, task in enumerate(open_tasks, start):
            self._check()
            unreadable = self._unreadable()
            broken = f", {unreadable} could not be read" if unreadable else ""
            self._progress.at(place / of, f"Scored {place} of {of} tasks{broken}.")
            number = task.id or 0
            if number not in self._known or self._known[number].error:
                new[number] = self._score(scorer, task)
        self._scores.keep(new.values())
        self._known.update(new)
        for task in open_tasks:
            self._check()
            score = self._known[task.id or 0]
            masks = scorer.masks(task) if self._masks and not score.error else None
            key = _preliminary(score, self._method) if score.score is None else score.score
            self._write(score, key, masks)
        # Tasks that were labeled or deleted meanwhile need no score.
        self._left -= set(numbers) - {task.id for task in open_tasks}

    def _score(self, scorer: TaskScorer, task: Task) -> ScoreRow:
        self._looked_at += 1
        score = scorer.score(task)
        if score.error:
            # Was it the picture, or is Label Studio down?
            waited = self._waited
            self._call(self._label_studio.version)
            if self._waited > waited:
                score = scorer.score(task)
        if score.error:
            self._progress.line(f"Task {task.id} cannot be scored: {score.error}", "warning")
        return score

    def _unreadable(self) -> int:
        return sum(1 for score in self._known.values() if score.error)

    # -- in which order

    def _put_in_order(self) -> None:
        """Correct the scores that do not fit the order."""
        self._progress.phase("ordering", 0.15)
        self._check()
        known = {task: score for task, score in self._known.items() if task in self._left}
        ranked = _ranked(known.values(), self._method)
        self._scores.ranked(ranked)
        current = {task: s.score for task, s in known.items() if s.score is not None}
        keys = rank_keys(ranked, current)
        changed = [task for task in ranked if current.get(task) != keys[task]]
        for place, task in enumerate(changed):
            self._check()
            self._progress.at(place / len(changed), f"Put {place} of {len(changed)} in order.")
            self._write(known[task], keys[task], None)
        self._progress.at(1.0, f"{len(ranked)} tasks are in order.")

    def _write(self, score: ScoreRow, key: float, masks: list[Json] | None) -> None:
        try:
            self._call(lambda: self._predictions.put(score.task_id, key, masks))
        except LabelStudioError as error:
            if error.answered not in (400, 404):
                raise
            # Most likely it was just deleted; if not, the job's log gives the reason.
            self._progress.line(f"Task {score.task_id} takes no score: {error}", "warning")
            return
        self._written += 1
        self._scores.written(score.task_id, key)
        score.score = key

    # -- shared

    def _call(self, call: Callable[[], T]) -> T:
        """Call Label Studio; wait for it while it is down."""

        def waiting(why: str) -> None:
            self._waited += 1
            self._progress.line(f"Waiting for Label Studio: {why}", "warning")

        return with_retries(call, waiting=waiting, check=self._check)

    def _check(self) -> None:
        """Raise an exception if the job is to end."""
        self._progress.check()
        promotion = self._registry.last_promotion()
        if promotion != self._promotion:
            self._promotion = promotion
            if self._registry.serves(self._project.key) != self._version:
                raise _NewerVersion


def _ranked(scores: Iterable[ScoreRow], method: Method) -> list[int]:
    """Tasks in the order in which they are to be labeled."""
    by_task = sorted(scores, key=lambda score: score.task_id)
    scored = [score for score in by_task if score.descriptor is not None]
    if not scored:
        return [score.task_id for score in by_task]
    descriptors = [np.frombuffer(score.descriptor or b"", "<f2") for score in scored]
    places = order(
        [score.expected or 0.0 for score in scored],
        np.stack(descriptors).astype(np.float32),
        weight=_DIVERSITY[method],
    )
    # Tasks that could not be scored come last: a person sees them when all others are done.
    unscored = [score.task_id for score in by_task if score.descriptor is None]
    return [scored[place].task_id for place in places] + unscored


def _preliminary(score: ScoreRow, method: Method) -> float:
    """A key until all tasks are in order: the lower, the more is expected."""
    if score.expected is None:
        return 0.999
    if method in ("clicks", "saving"):
        return 1.0 / (1.0 + max(score.expected, 0.0))
    return min(max(1.0 - score.expected, 0.001), 0.998)
