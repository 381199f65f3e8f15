"""Reads all accepted annotations from Label Studio's API, to repair what its webhooks missed.

A webhook is sent once, and some changes (an annotation turned back into a draft, a project emptied
through the API) send none that says what is gone. So a round lists all tasks with annotations,
without their masks, and reads those in full that changed since last time, a few at once. Memory is
bounded by a few tasks, and a project without changes costs one page per hundred tasks. Once a day
every task is read again.

If Label Studio is down or the time is up, what was read stays saved, and the next round continues.
Hosts are read at the same time, each with a limit, so that one which never answers delays only its
own projects.

An empty list may also come from a wrong host, or from a Label Studio that lost its database. So a
round deletes a small share of a project's labels at once, but more only if a later round finds the
same, and never on the word of a host that only announced itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import select, update

from backend.db.engine import Database
from backend.db.models import ProjectRow, SampledProjectRow, lock_samples
from backend.errors import LabelConfigError, LabelStudioError
from backend.label_studio.annotations import Annotation, read_annotation
from backend.label_studio.client import LabelStudio
from backend.label_studio.controls import LabelConfig
from backend.label_studio.payloads import Project, clean, moment
from backend.label_studio.projects import LabelStudioHosts
from backend.samples.ingest import SampleStore

_log = logging.getLogger(__name__)

_PAGE = 100
# A task may have dozens of masks of megapixels, with some hundred kB of text each.
_TASKS_AT_ONCE = 4
# Between two requests, so that annotators do not notice.
_PAUSE_S = 0.05
# A round ends well before any broker gives its message to another worker.
_ROUND_S = 600.0
_READ_ANYWAY = timedelta(days=1)
# Annotations that a round deletes without a second look: this share, and a few in any case.
_SHARE, _FEW = 0.1, 10
_SECOND_LOOK = timedelta(minutes=10)
# Hosts read at the same time. One that cannot be reached is not asked for its other projects.
_HOSTS_AT_ONCE = 8
_HOST_S = 240.0

_T = TypeVar("_T")


class _TimeIsUp(Exception):  # noqa: N818 - not an error: the next round continues
    """Ends a round."""


@dataclass(frozen=True)
class Reconciliation:
    """Rounds over all connected projects. Two at the same time do no harm."""

    database: Database
    hosts: LabelStudioHosts
    read_config: Callable[[str], LabelConfig]  # raises LabelConfigError
    pause_s: float = _PAUSE_S
    round_s: float = _ROUND_S
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self) -> list[Round]:
        """One round over every connected project: those tried longest ago first, hosts at once."""
        ends = time.monotonic() + self.round_s
        query = (
            select(ProjectRow.key)
            .outerjoin(SampledProjectRow, SampledProjectRow.key == ProjectRow.key)
            .order_by(SampledProjectRow.tried_at.asc().nulls_first(), ProjectRow.key)
        )
        with self.database.read() as connection:
            keys = list(connection.execute(query).scalars())
        by_host: dict[str, list[str]] = {}
        for key in keys:
            by_host.setdefault(self._host_of(key), []).append(key)
        # Projects without a known host fail at once, each with its reason.
        with ThreadPoolExecutor(_HOSTS_AT_ONCE, thread_name_prefix="reconcile") as pool:
            rounds = pool.map(lambda keys: self._of_one_host(keys, ends), by_host.values())
            return [done for of_host in rounds for done in of_host]

    def _host_of(self, key: str) -> str:
        try:
            return self.hosts.of(Project.read(key)).url
        except Exception:  # its own round reports it
            return ""

    def _of_one_host(self, keys: Collection[str], ends: float) -> list[Round]:
        rounds = []
        ends = min(ends, time.monotonic() + max(_HOST_S, self.round_s / 2))
        for key in keys:
            done = self._of_project(key, ends)
            rounds.append(done)
            if done.unreached and self._host_of(key):
                break
        return rounds

    def _of_project(self, key: str, ends: float) -> Round:
        now = self.clock()
        here = update(SampledProjectRow).where(SampledProjectRow.key == key)
        with self.database.write() as connection:
            row = lock_samples(connection, key)
            connection.execute(here.values(tried_at=now))
        done = Round(self, key, ends, row.missing_since)
        done.run()
        if done.error and done.error != row.error:
            _log.warning("Project %s could not be read in full: %s", key, done.error)
        elif done.error:
            _log.info("Project %s still cannot be read in full: %s", key, done.error)
        values: dict[str, Any] = {"error": done.error}
        if done.complete:
            values |= {"asked_at": now, "missing_since": done.missing_since}
        with self.database.write() as connection:
            connection.execute(here.values(**values))
        return done


@dataclass
class Round:
    """A round over one project, and its result."""

    _rounds: Reconciliation
    project: str  # its key
    _ends: float
    missing_since: datetime | None
    tasks: int = 0  # how many were read in full
    complete: bool = False  # whether all were
    error: str = ""
    unreached: bool = False  # its Label Studio did not answer at all
    _config: LabelConfig | None = None
    _live: dict[int, set[int]] = field(default_factory=dict)
    _confirmed: bool = False
    _may_delete: int = 0
    _held: int = 0  # annotations that are missing and were not deleted

    def __post_init__(self) -> None:
        self._store = SampleStore(self._rounds.database)
        self._project = Project.read(self.project)

    def run(self) -> None:
        try:
            host = self._rounds.hosts.of(self._project)
            self._check_project(host)
            self._live = self._store.live_annotations(self._project)
            total = sum(map(len, self._live.values()))
            since = self.missing_since
            # While some are missing already, a few each round would soon be all of them.
            self._may_delete = 0 if since else max(_FEW, int(total * _SHARE))
            self._confirmed = (
                host.trusted and since is not None and since + _SECOND_LOOK <= self._rounds.clock()
            )
            listed: set[int] = set()
            for page in _batches(self._in_time(host.annotated_tasks(self._project.id)), _PAGE):
                self._pace()
                marks = {
                    task["id"]: _mark(task) for task in page if isinstance(task.get("id"), int)
                }
                listed.update(marks)
                self._read_in_full(host, self._due(marks), marks)
            # Not listed, though an annotation is known: the task or its annotations were deleted.
            unlisted = self._store.live_annotations(self._project).keys() - listed
            self._read_in_full(host, sorted(unlisted), {})
            self.complete = True
            self.error = self._note_missing(host, total)
        except LabelStudioError as failed:
            self.error = str(failed)
            self.unreached = failed.answered is None
        except _TimeIsUp:
            _log.info("Project %s: the next round reads the rest", self._project.key)
        except Exception as failed:  # one project's trouble must not stop the others
            _log.exception("Project %s could not be read", self._project.key)
            name = type(failed).__name__
            self.error = f"An unexpected error occurred ({name}); see the worker's log."

    def _note_missing(self, host: LabelStudio, total: int) -> str:
        """What to say of labels that were not deleted; '' if there are none."""
        if not self._held:
            self.missing_since = None
            return ""
        self.missing_since = self.missing_since or self._rounds.clock()
        return (
            f"Label Studio at {host.url} lacks {self._held} more of the {total} labels that are "
            "known. They are kept until "
            + (
                "another look confirms it."
                if host.trusted
                else f"an admin runs phraseclick connect --project {self._project.id}."
            )
        )

    def _allows(self, missing: int) -> bool:
        """Whether this number of annotations may be deleted now; counts those that may not."""
        if self._confirmed or missing <= self._may_delete:
            self._may_delete -= missing
            return True
        self._held += missing
        return False

    def _check_project(self, host: LabelStudio) -> None:
        """Save its current config. Refuses a project of the same number on another host."""
        about = host.project(self._project.id)
        if self._project.created and Project.read(about).key != self._project.key:
            raise LabelStudioError(
                f"Label Studio at {host.url} has another project {self._project.id} than the one "
                "that was connected.",
                answered=200,
            )
        xml = clean(about.get("label_config"))
        if not xml:
            return
        changed_at = moment(about.get("updated_at"))
        with self._store.locked(self.project) as samples:
            samples.save_config(xml, changed_at, self._rounds.clock())
        try:
            self._config = self._rounds.read_config(xml)
        except LabelConfigError as error:
            _log.info("Project %s: %s", self._project.key, error)

    def _due(self, marks: Mapping[int, str]) -> list[int]:
        """Tasks that changed since they were last read, were last read long ago, or are back."""
        known = self._store.marks(self._project, marks)
        long_ago = self._rounds.clock() - _READ_ANYWAY
        return [
            number
            for number, mark in marks.items()
            if known.get(number, ("", None))[0] != mark
            or number not in self._live
            or (known[number][1] or long_ago) <= long_ago
        ]

    def _read_in_full(
        self, host: LabelStudio, tasks: Iterable[int], marks: Mapping[int, str]
    ) -> None:
        for numbers in _batches(tasks, _TASKS_AT_ONCE):
            self._pace()
            asked_at = self._rounds.clock()
            answer = host.tasks_of(self._project.id, numbers, fields="all")
            returned = {task.get("id"): task for task in answer}
            for number in numbers:
                known = self._live.get(number, set())
                if number in returned:
                    annotations = list(self._annotations(returned[number]))
                    missing = known - {annotation.id for annotation in annotations}
                    self._store.replace_task(
                        self._project,
                        number,
                        annotations,
                        asked_at=asked_at,
                        mark=marks.get(number, ""),
                        complete=self._allows(len(missing)),
                    )
                    self.tasks += 1
                elif self._allows(len(known)):
                    with self._store.locked(self.project) as samples:
                        samples.delete_task(number, asked_at)

    def _annotations(self, task: Mapping[str, Any]) -> Iterator[Annotation]:
        raw = task.get("annotations")
        for one in raw if isinstance(raw, list) else ():
            annotation = read_annotation(one, task.get("id"), task.get("data"), self._config)
            if annotation is not None:
                yield annotation

    def _in_time(self, tasks: Iterable[_T]) -> Iterator[_T]:
        """Raises _TimeIsUp at the end of the round: a host may send page after page."""
        for task in tasks:
            self._check_time()
            yield task

    def _pace(self) -> None:
        """Wait a little. Raises _TimeIsUp at the end of the round."""
        self._check_time()
        time.sleep(self._rounds.pause_s)

    def _check_time(self) -> None:
        if time.monotonic() > self._ends:
            raise _TimeIsUp


def _batches(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch


def _mark(task: Mapping[str, Any]) -> str:
    """Changes whenever an annotation of the task does."""
    names = ("updated_at", "total_annotations", "cancelled_annotations")
    return " ".join(str(task.get(name)) for name in names)
