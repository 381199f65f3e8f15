"""Asks Label Studio for all accepted annotations, and so mends what its webhooks lost.

A webhook is sent once and never again, and some changes (an annotation turned back into a draft, a
project emptied through the API) send none that says what is gone. So all tasks with annotations are
listed, without their masks, and those that look otherwise than last time are read in full, a few at
a time: memory is bounded by a few tasks, and a project at rest costs a page for each hundred of
them. Once a day each is read anyway.

Where Label Studio is away, or the time is up, what was read stays read; the next round goes on.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import select, update

from backend.db import sample_tables
from backend.db.engine import Database
from backend.db.models.core import ProjectRow
from backend.errors import LabelConfigError, LabelStudioError
from backend.label_studio.annotations import Annotation, read_annotation
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import LabelConfig
from backend.label_studio.payloads import Project, moment
from backend.label_studio.projects import LabelStudioHosts
from backend.samples.ingest import SampleStore

_log = logging.getLogger(__name__)

_PAGE = 100
# A task may hold dozens of masks of megapixels, each some hundred kB of text.
_IN_FULL = 4
# Between two requests, so that annotators do not feel it.
_PAUSE_S = 0.05
# A round ends after so long, well before any broker gives its message to another worker.
_ROUND_S = 600.0
# A worker that died leaves its claim behind for so long.
_CLAIM = timedelta(minutes=3)
_READ_ANYWAY = timedelta(days=1)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Round:
    """What a look at one project came to."""

    project: str
    tasks: int = 0  # read in full
    complete: bool = False
    error: str = ""


class _TimeIsUp(Exception):  # noqa: N818 - not an error: the next round goes on
    """Ends a round."""


class Reconciliation:
    """Rounds over all connected projects; two workers never ask about the same one at once."""

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
        self._database = database
        self._store = SampleStore(database)
        self._hosts = hosts
        self._read_config = read_config
        self._pause_s = pause_s
        self._round_s = round_s
        self._now = clock

    def run(self) -> list[Round]:
        """One round over every connected project; what goes wrong is logged and left."""
        ends = time.monotonic() + self._round_s
        query = select(ProjectRow.key).order_by(ProjectRow.key)
        with self._database.read() as connection:
            keys = list(connection.execute(query).scalars())
        return [done for key in keys if (done := self._claimed(key, ends)) is not None]

    def _claimed(self, key: str, ends: float) -> Round | None:
        """A round over one project, unless another worker is at it."""
        now = self._now()
        with self._database.write() as connection:
            row = sample_tables.lock(connection, key)
            if row.busy_until is not None and row.busy_until > now:
                return None
            self._busy(connection, key, now + _CLAIM)
        done = _Looking(self, key, ends).round()
        if done.error and done.error != row.error:
            _log.warning("Project %s was not looked through: %s", key, done.error)
        elif done.error:
            _log.info("Project %s was not looked through, as before: %s", key, done.error)
        values: dict[str, Any] = {"busy_until": None, "error": done.error}
        if done.complete:
            values["asked_at"] = now
        with self._database.write() as connection:
            connection.execute(
                update(sample_tables.projects)
                .where(sample_tables.projects.c.key == key)
                .values(**values)
            )
        return done

    @staticmethod
    def _busy(connection: Any, key: str, until: datetime) -> None:
        here = sample_tables.projects.c.key == key
        connection.execute(update(sample_tables.projects).where(here).values(busy_until=until))


class _Looking:
    """A round over one project, while it lasts."""

    def __init__(self, rounds: Reconciliation, key: str, ends: float) -> None:
        self._rounds = rounds
        self._store = rounds._store
        self._ends = ends
        self._project = Project.read(key)
        self._config: LabelConfig | None = None
        self._read = 0

    def round(self) -> Round:
        error, complete = "", False
        try:
            host = self._rounds._hosts.of(self._project.id)
            self._know_project(host)
            listed: set[int] = set()
            for page in _some(host.annotated_tasks(self._project.id), _PAGE):
                self._pace()
                marks = {
                    task["id"]: _mark(task) for task in page if isinstance(task.get("id"), int)
                }
                listed.update(marks)
                self._read_in_full(host, self._due(marks), marks)
            # Not listed, though an annotation is known: deleted, or all its annotations are.
            unlisted = self._store.live_tasks(self._project) - listed
            self._read_in_full(host, sorted(unlisted), {})
            complete = True
        except LabelStudioError as failed:
            error = str(failed)
        except _TimeIsUp:
            _log.info("Project %s: the rest is looked through next time", self._project.key)
        return Round(self._project.key, self._read, complete, error)

    def _know_project(self, host: LabelStudio) -> None:
        """Its config of today; a project of the same number on another Label Studio is refused."""
        about = host.project(self._project.id)
        if self._project.created and Project.read(about).key != self._project.key:
            raise LabelStudioError(
                f"Label Studio at {host.url} has another project {self._project.id} than the one "
                "that was connected."
            )
        xml = about.get("label_config")
        if not isinstance(xml, str):
            return
        self._store.config(self._project, xml, moment(about.get("updated_at")))
        try:
            self._config = self._rounds._read_config(xml)
        except LabelConfigError as error:
            _log.info("Project %s: %s", self._project.key, error)

    def _due(self, marks: Mapping[int, str]) -> list[int]:
        """Tasks that look otherwise than when they were last read, or were read long ago."""
        known = self._store.marks(self._project, marks)
        long_ago = self._rounds._now() - _READ_ANYWAY
        return [
            number
            for number, mark in marks.items()
            if known.get(number, ("", None))[0] != mark
            or (known[number][1] or long_ago) <= long_ago
        ]

    def _read_in_full(
        self, host: LabelStudio, tasks: Iterable[int], marks: Mapping[int, str]
    ) -> None:
        for some in _some(tasks, _IN_FULL):
            self._pace()
            asked_at = self._rounds._now()
            given = {task.get("id"): task for task in host.tasks_in_full(self._project.id, some)}
            for number in some:
                if number in given:
                    annotations = list(self._annotations(given[number]))
                    mark = marks.get(number, "")
                    self._store.told(
                        self._project, number, annotations, asked_at=asked_at, mark=mark
                    )
                    self._read += 1
            gone = [number for number in some if number not in given]
            if gone:
                self._store.tasks_gone(self._project, gone, asked_at=asked_at)

    def _annotations(self, task: Mapping[str, Any]) -> Iterator[Annotation]:
        raw = task.get("annotations")
        for each in raw if isinstance(raw, list) else ():
            annotation = read_annotation(each, task.get("id"), task.get("data"), self._config)
            if annotation is not None:
                yield annotation

    def _pace(self) -> None:
        """Wait a little, say that this is still going on, and stop in time."""
        if time.monotonic() > self._ends:
            raise _TimeIsUp
        time.sleep(self._rounds._pause_s)
        until = self._rounds._now() + _CLAIM
        with self._rounds._database.write() as connection:
            self._rounds._busy(connection, self._project.key, until)


def _some(items: Iterable[_T], most: int) -> Iterator[tuple[_T, ...]]:
    """The items, so many at a time."""
    iterator = iter(items)
    while some := tuple(islice(iterator, most)):
        yield some


def _mark(task: Mapping[str, Any]) -> str:
    """Changes whenever an annotation of the task does."""
    names = ("updated_at", "total_annotations", "cancelled_annotations")
    return " ".join(str(task.get(name)) for name in names)
