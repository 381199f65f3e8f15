"""What reports are made of: the one place that the command line, the API and the pages ask.

Nothing here needs the model, and nothing changes a row. A project's columns are kept in memory
until something new is written (``ledger``); single tasks and histories are read when asked for.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection, select

from backend.db.engine import Database
from backend.db.models.core import EventRow, ProjectRow, SampledProjectRow
from backend.errors import ReportError
from backend.label_studio.payloads import number_of
from backend.reports import cost_frame as ledgers
from backend.reports import promotions, regions
from backend.reports.cost_frame import Ledger
from backend.reports.estimate import mean_of
from backend.reports.groups import groups, weeks
from backend.reports.history import history
from backend.reports.reconciliation import reconcile
from backend.reports.records import (
    BeforeAfter,
    By,
    GroupCost,
    OverTime,
    Page,
    ProjectSummary,
    Reconciliation,
    RegionCost,
    ServedStep,
    TaskCost,
    Where,
)
from backend.reports.tasks import table

EVERYTHING = Where()

# Each some MB for 100,000 interactions.
_KEPT = 16


class Reports:
    """Thread-safe; processes share the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._kept: OrderedDict[str, Ledger] = OrderedDict()
        self._reading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def keys(self) -> list[str]:
        """All projects that connected, were clicked in or have a label."""
        with self.database.read() as connection:
            return _keys(connection)

    def key(self, written: str) -> str:
        """A project's key, from the key itself or its number. Raises ReportError."""
        keys = self.keys()
        found = [key for key in keys if written in (key, str(number_of(key)))]
        if len(found) == 1:
            return found[0]
        if written in found:
            return written
        if found:
            raise ReportError(f"There are several projects {written}: say {' or '.join(found)}.")
        raise ReportError(f"No project {written} is known to this backend.")

    def projects(self) -> list[ProjectSummary]:
        """All of them at a glance, in the order of their numbers."""
        with self.database.read() as connection:
            keys = _keys(connection)
        summaries = [self.project(key) for key in keys]
        return sorted(summaries, key=lambda it: (it.project_id, it.key))

    def project(self, project: str) -> ProjectSummary:
        """One project at a glance."""
        ledger = self._ledger(project)
        it, all_tasks = ledger.regions, table(ledger, EVERYTHING)
        with self.database.read() as connection:
            champion = promotions.champion(connection, project)
            named = select(ProjectRow.title).where(ProjectRow.key == project)
            called = connection.execute(named).scalar_one_or_none()
        last = [
            all_tasks.cost(place).last_at
            for place in all_tasks.order("last_at", descending=True)[:1]
        ]
        number = number_of(project)
        return ProjectSummary(
            key=project,
            project_id=number,
            title=f"{called} (project {number})" if called else f"Project {number}",
            champion=champion,
            labels=tuple(sorted(set(ledger.labels) - {""})),
            tasks=len(all_tasks),
            regions=len(it.task),
            unknown=int((~it.known).sum()),
            interactions=int(all_tasks.columns["interactions"].sum()),
            abandoned=int(all_tasks.columns["abandoned"].sum()),
            clicks=mean_of(it.interactions[it.known].astype(float), it.task[it.known]),
            last_at=last[0] if last else None,
        )

    def tasks(
        self,
        project: str,
        where: Where = EVERYTHING,
        *,
        sort: str = "task",
        descending: bool = False,
        page: int = 1,
        size: int = 50,
    ) -> Page[TaskCost]:
        """Tasks with an interaction or an accepted region, a page of them. Raises ReportError for
        an unknown ``sort``. Whatever does not know the figure comes last."""
        found = table(self._ledger(project), where)
        order = found.order(sort, descending=descending)
        page, size = max(1, page), max(1, size)
        shown = order[(page - 1) * size : page * size]
        return Page(tuple(found.cost(int(place)) for place in shown), len(found), page, size)

    def task(self, project: str, task_id: int) -> TaskCost:
        """One task with its regions. Raises ReportError where nothing is known of it."""
        found = table(self._ledger(project), Where(tasks=(task_id,)))
        if not len(found):
            raise ReportError(f"Task {task_id} of project {project} has no interaction yet.")
        return replace(found.cost(0), regions=tuple(self.regions(project, Where(tasks=(task_id,)))))

    def regions(self, project: str, where: Where = EVERYTHING) -> Iterator[RegionCost]:
        """Accepted regions one after the other, task by task; never all of them in memory."""
        return regions.read(self.database, project, where)

    def region_page(
        self, project: str, where: Where = EVERYTHING, *, page: int = 1, size: int = 50
    ) -> Page[RegionCost]:
        """Accepted regions, task by task, a page of them."""
        return regions.page(self.database, project, where, max(1, page), max(1, size))

    def groups(self, project: str, by: By, where: Where = EVERYTHING) -> list[GroupCost]:
        """Regions that have something in common. Raises ReportError for an unknown ``by``."""
        with self.database.read() as connection:
            people = regions.people(connection, project)
        return groups(self._ledger(project), by, where, people)

    def over_time(self, project: str) -> OverTime:
        """Clicks for each object, week by week, and the promotions in between."""
        with self.database.read() as connection:
            marks = promotions.marks(connection, project)
        return OverTime(tuple(weeks(self._ledger(project))), tuple(marks))

    def promotions(self, project: str) -> list[BeforeAfter]:
        """For each promotion and rollback, oldest first: did clicks for each object fall?"""
        with self.database.read() as connection:
            marks = promotions.marks(connection, project)
        return promotions.before_and_after(self._ledger(project), marks)

    def history(
        self, project: str, task_id: int, region_id: str, annotation_id: int | None = None
    ) -> list[ServedStep]:
        """How a region was made, step by step. Annotators who began with one prediction share a
        region's id: ``annotation_id`` says whose is meant."""
        with self.database.read() as connection:
            return history(connection, project, task_id, region_id, annotation_id)

    def reconcile(self, project: str) -> Reconciliation:
        """Hold the sums over tasks, the event log and the annotations against each other."""
        with self.database.read() as connection:
            return reconcile(connection, project)

    def _ledger(self, project: str) -> Ledger:
        # Who comes while a long history is read waits for that, rather than read it too.
        with self._lock:
            reading = self._reading.setdefault(project, threading.Lock())
        with reading:
            with self._lock:
                kept = self._kept.get(project)
            with self.database.read() as connection:
                if kept is not None and kept.stamp == ledgers.stamp(connection, project):
                    return kept
                fresh = ledgers.read(connection, project, kept)
            with self._lock:
                self._kept[project] = fresh
                self._kept.move_to_end(project)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return fresh


def _keys(connection: Connection) -> list[str]:
    found: set[str] = set()
    for column in (ProjectRow.key, SampledProjectRow.key):
        found.update(connection.execute(select(column)).scalars())
    # A project that never said its name may have been clicked in. A look from name to name along
    # the index costs nothing, however long the log is.
    here = ""
    while True:
        query = select(EventRow.project).where(EventRow.project > here)
        after = connection.execute(query.order_by(EventRow.project).limit(1)).scalar()
        if after is None:
            return sorted(found)
        found.add(after)
        here = after
