"""One project's report, whole: what all its forms, from the terminal to Parquet, are made of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backend.reports.records import (
    BeforeAfter,
    By,
    GroupCost,
    ProjectSummary,
    Reconciliation,
    RegionCost,
    TaskCost,
    Where,
)
from backend.reports.source import Reports

GROUPED_BY: tuple[By, ...] = ("version", "label", "annotator", "week", "phrase")

# Read at once from the source; what was given on is held no more.
_AT_ONCE = 10_000


@dataclass(frozen=True)
class Report:
    """``total`` is all that ``where`` left, as one group; None where that is no region.

    Summary, promotions and reconciliation are of the whole project, whatever ``where`` says: a
    part of it neither was promoted nor adds up. Tasks and regions are read as they are walked.
    """

    summary: ProjectSummary
    where: Where
    made_at: datetime
    total: GroupCost | None
    groups: Mapping[By, Sequence[GroupCost]]
    promotions: Sequence[BeforeAfter]
    reconciliation: Reconciliation
    number_of_tasks: int
    tasks: Callable[[], Iterator[TaskCost]]
    costliest: Callable[[int], Sequence[TaskCost]]
    regions: Callable[[], Iterator[RegionCost]]

    @property
    def narrowed(self) -> bool:
        """Whether some of the project is left out."""
        return self.where != Where()


def gather(reports: Reports, project: str, where: Where) -> Report:
    """The report of a project, by its key."""
    total = reports.groups(project, "project", where)

    def costliest(number: int) -> Sequence[TaskCost]:
        if number <= 0:
            return ()
        found = reports.tasks(project, where, sort="interactions", descending=True, size=number)
        return found.items

    return Report(
        summary=reports.project(project),
        where=where,
        made_at=datetime.now(UTC),
        total=total[0] if total else None,
        groups={by: reports.groups(project, by, where) for by in GROUPED_BY},
        promotions=reports.promotions(project),
        reconciliation=reports.reconcile(project),
        number_of_tasks=reports.tasks(project, where, size=1).total,
        tasks=lambda: every_task(reports, project, where),
        costliest=costliest,
        regions=lambda: reports.regions(project, where),
    )


def every_task(reports: Reports, project: str, where: Where) -> Iterator[TaskCost]:
    """All tasks in the order of their numbers."""
    page = 1
    while True:
        found = reports.tasks(project, where, page=page, size=_AT_ONCE)
        yield from found.items
        if page >= found.pages:
            return
        page += 1
