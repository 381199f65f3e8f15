"""All questions about costs: the command line, the API and the dashboard ask here.

Nothing here needs the model or changes a row. A project's columns stay in memory until something
new is written (``cost_frame``); single tasks and histories are read on request.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from cachetools import LRUCache
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.models import ProjectRow
from backend.errors import FilterError, ReportError
from backend.label_studio.payloads import number_of
from backend.label_studio.projects import project_keys
from backend.reports import check, cost_frame, promotions, regions
from backend.reports.cost_frame import CostFrame
from backend.reports.group_by import by_group, by_task, weeks_of
from backend.reports.records import (
    BYS,
    BeforeAfter,
    By,
    GroupCost,
    OverTime,
    Page,
    ProjectSummary,
    Reconciliation,
    RegionCost,
    ReportFilter,
    ServedStep,
    TaskCost,
    TaskWithRegions,
    WithoutMask,
)

EVERYTHING = ReportFilter()

# Cost frames in memory; each takes some MB for 100,000 interactions. *choice*
_FRAMES = 16

# The largest number that a database stores.
_LARGEST = 2**63 - 1


class Reports:
    """Thread-safe; processes share the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._frames: LRUCache[str, CostFrame] = LRUCache(_FRAMES)
        self._reading = threading.Lock()

    def keys(self) -> list[str]:
        """All projects that were connected, clicked in or labeled."""
        with self.database.read() as connection:
            return project_keys(connection)

    def projects(self) -> list[ProjectSummary]:
        """All projects at a glance, in the order of their numbers."""
        summaries = [self.project(key) for key in self.keys()]
        return sorted(summaries, key=lambda summary: (summary.project_id, summary.key))

    def project(self, project: str) -> ProjectSummary:
        frame = self._frame(project)
        tasks, total = by_task(frame, EVERYTHING), by_group(frame, "project", EVERYTHING, {})
        with self.database.read() as connection:
            champion = promotions.champion(connection, project)
            title = connection.execute(
                select(ProjectRow.title).where(ProjectRow.key == project)
            ).scalar_one_or_none()
        last = tasks.order("last_at", descending=True)[:1]
        number = number_of(project)
        return ProjectSummary(
            key=project,
            project_id=number,
            title=f"{title} (project {number})" if title else f"Project {number}",
            champion=champion,
            labels=tuple(sorted({*frame.regions.label} - {""})),
            tasks=len(tasks),
            regions=len(frame.regions),
            unknown=sum(group.unknown for group in total),
            interactions=int(tasks.columns["interactions"].sum()),
            abandoned=int(tasks.columns["abandoned"].sum()),
            clicks=total[0].clicks.mean if total and total[0].clicks else None,
            last_at=tasks.cost(int(last[0])).last_at if len(last) else None,
        )

    def tasks(
        self,
        project: str,
        where: ReportFilter = EVERYTHING,
        *,
        sort: str = "task",
        descending: bool = False,
        page: int = 1,
        size: int = 50,
    ) -> Page[TaskCost]:
        """A page of the tasks that have an interaction or an accepted region.

        Tasks without the figure come last. Raises ReportError for an unknown ``sort``.
        """
        table = by_task(self._frame(project), where)
        order = table.order(sort, descending=descending)
        page, size = max(1, page), max(1, size)
        shown = order[(page - 1) * size : page * size]
        return Page(tuple(table.cost(int(index)) for index in shown), len(table), page, size)

    def every_task(self, project: str, where: ReportFilter = EVERYTHING) -> Iterator[TaskCost]:
        """All tasks in the order of their numbers."""
        table = by_task(self._frame(project), where)
        return (table.cost(index) for index in range(len(table)))

    def task(self, project: str, task_id: int) -> TaskWithRegions:
        """One task with its regions. Raises ReportError if nothing is known of it."""
        only = ReportFilter(tasks=(task_id,))
        table = by_task(self._frame(project), only)
        if not len(table):
            raise ReportError(
                f"Task {task_id} of project {number_of(project)} has no interactions yet."
            )
        return TaskWithRegions(**vars(table.cost(0)), regions=tuple(self.regions(project, only)))

    def regions(self, project: str, where: ReportFilter = EVERYTHING) -> Iterator[RegionCost]:
        """Accepted regions by task; never all of them in memory."""
        return regions.read(self.database, project, where)

    def region_page(
        self, project: str, where: ReportFilter = EVERYTHING, *, page: int = 1, size: int = 50
    ) -> Page[RegionCost]:
        return regions.page(self.database, project, where, max(1, page), max(1, size))

    def groups(self, project: str, by: By, where: ReportFilter = EVERYTHING) -> list[GroupCost]:
        """Regions with something in common. Raises ReportError for an unknown ``by``."""
        people: dict[int, str] = {}
        if by == "annotator":
            with self.database.read() as connection:
                people = regions.people(connection, project)
        return by_group(self._frame(project), by, where, people)

    def without_mask(self, project: str, where: ReportFilter = EVERYTHING) -> list[WithoutMask]:
        """Submitted annotations without any region."""
        with self.database.read() as connection:
            return regions.without_mask(connection, project, where)

    def over_time(self, project: str) -> OverTime:
        """Clicks per object week by week, and the promotions in between."""
        with self.database.read() as connection:
            marks = promotions.marks(connection, project)
        return OverTime(weeks_of(self.groups(project, "week")), tuple(marks))

    def promotions(self, project: str) -> list[BeforeAfter]:
        """For each promotion and rollback, oldest first: did clicks per object fall?"""
        with self.database.read() as connection:
            marks = promotions.marks(connection, project)
        return promotions.before_and_after(self._frame(project), marks)

    def history(
        self, project: str, task_id: int, region_id: str, annotation_id: int | None = None
    ) -> list[ServedStep]:
        """How a region was made, step by step. ``annotation_id`` selects one of the annotations
        that share a region's id because they began with the same prediction."""
        with self.database.read() as connection:
            return regions.history(connection, project, task_id, region_id, annotation_id)

    def reconcile(self, project: str) -> Reconciliation:
        """Compare the sums over tasks, the event log and the annotations."""
        with self.database.read() as connection:
            return check.reconcile(connection, project)

    def where(
        self,
        project: str,
        *,
        since: str | None = None,
        until: str | None = None,
        version: str | None = None,
        label: str | None = None,
        annotator: str | None = None,
        phrase: bool | None = None,
    ) -> ReportFilter:
        """Filters from the text of a command line or a URL.

        Empty texts do not filter, except for the label: '' selects regions without a label. since,
        until: a day (2026-11-25, included) or a time (2026-11-25T14:30), UTC unless a zone is
        given. annotator: Label Studio's number or the e-mail address of the user.

        Raises FilterError for what cannot be read.
        """
        for name, text in (("version", version), ("label", label), ("annotator", annotator)):
            if text and "\x00" in text:
                raise FilterError(f"The {name} contains a character that no {name} can have.")
        return ReportFilter(
            since=_moment("since", since) if since else None,
            until=_moment("until", until, end=True) if until else None,
            version=version or None,
            label=label,
            annotator=self._annotator(project, annotator) if annotator else None,
            phrase=phrase,
        )

    def _annotator(self, project: str, written: str) -> int:
        if written.isascii() and written.isdigit() and int(written) <= _LARGEST:
            return int(written)
        people = [person for person in self.groups(project, "annotator") if person.name]
        for person in people:
            if person.title.casefold() == written.casefold():
                return int(person.name)
        known = ", ".join(
            p.name if p.title == f"user {p.name}" else f"{p.name} ({p.title})" for p in people
        )
        raise FilterError(
            f"No annotator {written!r} has submitted a region in project {number_of(project)}"
            + (f"; these have: {known}." if known else ".")
        )

    def _frame(self, project: str) -> CostFrame:
        # Concurrent requests wait for one reader, rather than read the same history too.
        with self._reading, self.database.read() as connection:
            kept = self._frames.get(project)
            if kept is None or kept.stamp != cost_frame.stamp(connection, project):
                kept = self._frames[project] = cost_frame.read(connection, project, kept)
            return kept


@dataclass(frozen=True)
class Report:
    """A project's whole report, from which all outputs are made.

    ``total``: all regions that pass ``where``, as one group; None if there are none. Summary,
    promotions and reconciliation cover the whole project. Tasks and regions are read on demand.
    """

    reports: Reports
    summary: ProjectSummary
    where: ReportFilter
    made_at: datetime
    total: GroupCost | None
    groups: Mapping[By, Sequence[GroupCost]]
    promotions: Sequence[BeforeAfter]
    reconciliation: Reconciliation
    number_of_tasks: int

    @classmethod
    def of(cls, reports: Reports, project: str, where: ReportFilter) -> "Report":
        total = reports.groups(project, "project", where)
        return cls(
            reports=reports,
            summary=reports.project(project),
            where=where,
            made_at=datetime.now(UTC),
            total=total[0] if total else None,
            groups={by: reports.groups(project, by, where) for by in BYS if by != "project"},
            promotions=reports.promotions(project),
            reconciliation=reports.reconcile(project),
            number_of_tasks=reports.tasks(project, where, size=1).total,
        )

    @property
    def filtered(self) -> bool:
        """Whether part of the project is left out."""
        return self.where != EVERYTHING

    def tasks(self) -> Iterator[TaskCost]:
        return self.reports.every_task(self.summary.key, self.where)

    def regions(self) -> Iterator[RegionCost]:
        return self.reports.regions(self.summary.key, self.where)

    def costliest(self, number: int) -> Sequence[TaskCost]:
        if number <= 0:
            return ()
        return self.reports.tasks(
            self.summary.key, self.where, sort="interactions", descending=True, size=number
        ).items


def _moment(name: str, text: str, *, end: bool = False) -> datetime:
    try:
        with suppress(ValueError):  # a day, in any of its forms
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if end else day
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise FilterError(
            f"{text!r} is not a time for {name}: write a day, 2026-11-25, or 2026-11-25T14:30."
        ) from None
