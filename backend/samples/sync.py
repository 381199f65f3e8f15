"""Reads all accepted annotations from Label Studio's API, to repair what its webhooks missed.

A webhook is sent once, and some changes (an annotation turned back into a draft, a project emptied
through the API) send none that says what is gone. So a round lists all tasks with annotations,
without their masks, and reads those in full that changed since last time, a few at once. Memory is
bounded by a few tasks, and a project without changes costs one page per hundred tasks. Once a day
every task is read again.

If Label Studio is down or the time is up, what was read stays saved, and the next round continues.
A project that fails does not stop the others.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, select, update

from backend.db.engine import Database, lock_samples
from backend.db.models import ProjectRow, SampledProjectRow
from backend.errors import LabelConfigError, LabelStudioError
from backend.label_studio.annotations import Annotation, read_annotation
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import LabelConfig
from backend.label_studio.payloads import Project, moment
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
# A worker that died leaves its claim behind for this long.
_CLAIM = timedelta(minutes=3)
_READ_ANYWAY = timedelta(days=1)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Round:
    """The result of a round over one project."""

    project: str
    tasks: int = 0  # read in full
    complete: bool = False
    error: str = ""


class _TimeIsUp(Exception):  # noqa: N818 - not an error: the next round continues
    """Ends a round."""


class Reconciliation:
    """Rounds over all connected projects; two workers never read the same one at once."""

    def __init__(
        self,
        database: Database,
        hosts: LabelStudioHosts,
        read_config: Callable[[str], LabelConfig],
        *,
        pause_s: float = _PAUSE_S,
        round_s: float = _ROUND_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``read_config`` reads a labeling config, raising LabelConfigError."""
        self.database = database
        self.store = SampleStore(database)
        self.hosts = hosts
        self.read_config = read_config
        self.pause_s = pause_s
        self.now = clock
        self._round_s = round_s

    def run(self) -> list[Round]:
        """One round over every connected project, the one read longest ago first."""
        ends = time.monotonic() + self._round_s
        query = (
            select(ProjectRow.key)
            .outerjoin(SampledProjectRow, SampledProjectRow.key == ProjectRow.key)
            .order_by(SampledProjectRow.asked_at.asc().nulls_first(), ProjectRow.key)
        )
        with self.database.read() as connection:
            keys = list(connection.execute(query).scalars())
        return [done for key in keys if (done := self._claimed(key, ends)) is not None]

    def claim(self, connection: Connection, key: str) -> None:
        """Keep other workers away from a project for some minutes."""
        until = self.now() + _CLAIM
        here = SampledProjectRow.key == key
        connection.execute(update(SampledProjectRow).where(here).values(busy_until=until))

    def _claimed(self, key: str, ends: float) -> Round | None:
        """A round over one project, unless another worker reads it."""
        now = self.now()
        with self.database.write() as connection:
            row = lock_samples(connection, key)
            if row.busy_until is not None and row.busy_until > now:
                return None
            self.claim(connection, key)
        done = _ProjectRound(self, key, ends).run()
        if done.error and done.error != row.error:
            _log.warning("Project %s could not be read in full: %s", key, done.error)
        elif done.error:
            _log.info("Project %s still cannot be read in full: %s", key, done.error)
        values: dict[str, Any] = {"busy_until": None, "error": done.error}
        if done.complete:
            values["asked_at"] = now
        with self.database.write() as connection:
            here = SampledProjectRow.key == key
            connection.execute(update(SampledProjectRow).where(here).values(**values))
        return done


class _ProjectRound:
    """A round over one project."""

    def __init__(self, rounds: Reconciliation, key: str, ends: float) -> None:
        self._rounds = rounds
        self._store = rounds.store
        self._ends = ends
        self._project = Project.read(key)
        self._config: LabelConfig | None = None
        self._read = 0

    def run(self) -> Round:
        error, complete = "", False
        try:
            host = self._rounds.hosts.of(self._project.id)
            self._check_project(host)
            listed: set[int] = set()
            for page in _batches(host.annotated_tasks(self._project.id), _PAGE):
                self._pace()
                marks = {
                    task["id"]: _mark(task) for task in page if isinstance(task.get("id"), int)
                }
                listed.update(marks)
                self._read_in_full(host, self._due(marks), marks)
            # Not listed, though an annotation is known: the task or its annotations were deleted.
            unlisted = self._store.live_tasks(self._project) - listed
            self._read_in_full(host, sorted(unlisted), {})
            complete = True
        except LabelStudioError as failed:
            error = str(failed)
        except _TimeIsUp:
            _log.info("Project %s: the next round reads the rest", self._project.key)
        except Exception as failed:  # one project's trouble must not stop the others
            _log.exception("Project %s could not be read", self._project.key)
            error = f"An unexpected error occurred ({type(failed).__name__}); see the worker's log."
        return Round(self._project.key, self._read, complete, error)

    def _check_project(self, host: LabelStudio) -> None:
        """Save its current config. Refuses a project of the same number on another host."""
        about = host.project(self._project.id)
        if self._project.created and Project.read(about).key != self._project.key:
            raise LabelStudioError(
                f"Label Studio at {host.url} has another project {self._project.id} than the one "
                "that was connected."
            )
        xml = about.get("label_config")
        if not isinstance(xml, str):
            return
        self._store.save_config(self._project, xml, moment(about.get("updated_at")))
        try:
            self._config = self._rounds.read_config(xml)
        except LabelConfigError as error:
            _log.info("Project %s: %s", self._project.key, error)

    def _due(self, marks: Mapping[int, str]) -> list[int]:
        """Tasks that changed since they were last read, or were last read long ago."""
        known = self._store.marks(self._project, marks)
        long_ago = self._rounds.now() - _READ_ANYWAY
        return [
            number
            for number, mark in marks.items()
            if known.get(number, ("", None))[0] != mark
            or (known[number][1] or long_ago) <= long_ago
        ]

    def _read_in_full(
        self, host: LabelStudio, tasks: Iterable[int], marks: Mapping[int, str]
    ) -> None:
        for numbers in _batches(tasks, _TASKS_AT_ONCE):
            self._pace()
            asked_at = self._rounds.now()
            answer = host.tasks_in_full(self._project.id, numbers)
            returned = {task.get("id"): task for task in answer}
            for number in numbers:
                if number in returned:
                    annotations = list(self._annotations(returned[number]))
                    mark = marks.get(number, "")
                    self._store.replace_task(
                        self._project, number, annotations, asked_at=asked_at, mark=mark
                    )
                    self._read += 1
            gone = [number for number in numbers if number not in returned]
            if gone:
                self._store.delete_tasks(self._project, gone, asked_at=asked_at)

    def _annotations(self, task: Mapping[str, Any]) -> Iterator[Annotation]:
        raw = task.get("annotations")
        for one in raw if isinstance(raw, list) else ():
            annotation = read_annotation(one, task.get("id"), task.get("data"), self._config)
            if annotation is not None:
                yield annotation

    def _pace(self) -> None:
        """Wait a little and renew the claim. Raises _TimeIsUp at the end of the round."""
        if time.monotonic() > self._ends:
            raise _TimeIsUp
        time.sleep(self._rounds.pause_s)
        with self._rounds.database.write() as connection:
            self._rounds.claim(connection, self._project.key)


def _batches(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch


def _mark(task: Mapping[str, Any]) -> str:
    """Changes whenever an annotation of the task does."""
    names = ("updated_at", "total_annotations", "cancelled_annotations")
    return " ".join(str(task.get(name)) for name in names)
