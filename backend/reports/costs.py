"""Keeps the costs of accepted regions up to date in the database.

The worker computes a task when a webhook reports a change. What that missed (a worker that was
killed, an annotation found by reconciliation only, labels older than this table, a click on an
object that was submitted already) is found by a query and computed then, for a bounded time each.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Select,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    union,
)

from backend.db.engine import Database, records, upsert
from backend.db.models import (
    AnnotationRow,
    AnnotationTimeRow,
    EventRow,
    RegionCostRow,
    ServedMaskRow,
    TargetRow,
    exists_in_label_studio,
    lock_samples,
    same_annotation,
)
from backend.label_studio.annotations import Annotation, LabelChange
from backend.reports.compute_cost import TaskRecords, current_versions

_log = logging.getLogger(__name__)

# Two workers on the same task see each other's samples at the second attempt.
_ATTEMPTS = 5
# Masks deleted in one transaction, so that no click waits for it. *choice*
_DELETED_AT_ONCE = 500

# The default of PHRASECLICK_IDLE_MINUTES.
_IDLE = timedelta(minutes=5)

TaskKey = tuple[str, int]  # project key, task

_SAME_ANNOTATION = same_annotation(AnnotationTimeRow, AnnotationRow)


def note_annotation(connection: Connection, key: str, annotation: Annotation) -> None:
    """Store an annotation's metadata: its lead time, and its maker as drafts name users."""
    row = {"project": key, "annotation_id": annotation.id}
    metadata = {"lead_time": annotation.lead_time, "owner": annotation.owner}
    upsert(connection, AnnotationTimeRow, row, metadata, new={"drawn": "", "through": 0})


class Costs:
    """The tables of costs. Thread-safe; processes share the database."""

    def __init__(self, database: Database, idle: timedelta = _IDLE) -> None:
        """idle: pauses longer than this count as this long."""
        self._database = database
        self._idle = idle

    def take_in(self, change: LabelChange) -> None:
        """Update the tasks of a webhook. A failure is logged: ``catch_up`` repeats it."""
        try:
            for key, task in sorted(self._concerned(change)):
                self.update(key, task)
        except Exception:  # the labels are stored, and must not be stored again for this
            _log.exception("Costs of project %s could not be computed yet", change.project.key)

    def update(self, project: str, task: int, now: datetime | None = None) -> None:
        """Bring a task's rows up to date."""
        now = now or datetime.now(UTC)
        for _ in range(_ATTEMPTS):
            with self._database.read() as connection:
                known = TaskRecords(connection, project, task, self._idle)
                rows = known.rows(connection, now)
            with self._database.write() as connection:
                lock_samples(connection, project)
                if current_versions(connection, project, task) == known.versions:
                    _write(connection, known, rows)
                    return
        _log.info("Task %d of project %s changes too quickly to compute its costs", task, project)

    def catch_up(self, seconds: float = 20.0) -> int:
        """Compute what is missing or outdated until the time is over; returns how many tasks."""
        until = time.monotonic() + seconds
        done = 0
        for project, task in self.outdated():
            if time.monotonic() > until:
                break
            try:
                self.update(project, task)
                done += 1
            except Exception:  # one task's trouble must not stop the others
                _log.exception("Costs of task %d of project %s cannot be computed", task, project)
        return done

    def outdated(self) -> list[TaskKey]:
        """Tasks whose rows do not match annotations and log."""
        query: CompoundSelect[Any] = union(changed_annotations(), _deleted(), _clicked())
        with self._database.read() as connection:
            rows: Iterable[Any] = connection.execute(query)
            return sorted((project, task) for project, task in rows)

    def forget_masks(self, older_than: timedelta, now: datetime | None = None) -> int:
        """Delete served masks of that age unless their costs are still to be computed or the object
        is still open; returns how many."""
        limit = (now or datetime.now(UTC)) - older_than
        open_ = exists().where(
            TargetRow.id == ServedMaskRow.target_id, TargetRow.state.in_(("open", "kept"))
        )
        computed = exists().where(_SAME_ANNOTATION, AnnotationTimeRow.drawn == AnnotationRow.digest)
        waits = exists().where(
            AnnotationRow.project == ServedMaskRow.project,
            AnnotationRow.task_id == ServedMaskRow.task_id,
            AnnotationRow.gone_at.is_(None),
            ~computed,
        )
        some = (
            select(ServedMaskRow.id)
            .where(ServedMaskRow.created_at < limit, ~open_, ~waits)
            .limit(_DELETED_AT_ONCE)
        )
        total = 0
        while True:
            with self._database.write() as connection:
                numbers = records(connection, some)
                connection.execute(delete(ServedMaskRow).where(ServedMaskRow.id.in_(numbers)))
            total += len(numbers)
            if len(numbers) < _DELETED_AT_ONCE:
                return total

    def _concerned(self, change: LabelChange) -> set[TaskKey]:
        key = change.project.key
        places = {(key, annotation.task_id) for annotation in change.annotations}
        places |= {(key, task) for task in change.gone_tasks}
        if change.gone_annotations:
            query = select(RegionCostRow.task_id).where(
                RegionCostRow.project == key,
                RegionCostRow.annotation_id.in_(change.gone_annotations),
            )
            places |= {(key, task) for task in self._database.records(query.distinct())}
        if change.project_gone:
            places |= {place for place in self.outdated() if change.project.may_be(place[0])}
        return places


def _write(connection: Connection, known: TaskRecords, rows: Sequence[Mapping[str, Any]]) -> None:
    annotations = list(known.versions)
    row = RegionCostRow
    here = (row.project == known.project) & (
        (row.task_id == known.task) | row.annotation_id.in_(annotations)
    )
    before = set(records(connection, select(row.annotation_id).where(here)))
    connection.execute(delete(row).where(here))
    connection.execute(
        delete(AnnotationTimeRow).where(
            AnnotationTimeRow.project == known.project,
            AnnotationTimeRow.annotation_id.in_(before.difference(annotations)),
        )
    )
    if rows:
        connection.execute(insert(row), rows)
    for number, digest in known.versions.items():
        times = {"project": known.project, "annotation_id": number}
        state = {"drawn": digest, "through": known.through}
        upsert(connection, AnnotationTimeRow, times, state, new={"owner": ""})


def changed_annotations() -> Select[str, int | None]:
    """Project and task of the annotations whose current version has no costs."""
    return (
        select(AnnotationRow.project, AnnotationRow.task_id)
        .join(AnnotationTimeRow, _SAME_ANNOTATION, isouter=True)
        .where(
            exists_in_label_studio(),
            or_(AnnotationTimeRow.drawn.is_(None), AnnotationTimeRow.drawn != AnnotationRow.digest),
        )
    )


def _deleted() -> Select[str, int]:
    """Costs of annotations that no longer exist."""
    there = exists().where(
        same_annotation(AnnotationRow, RegionCostRow), AnnotationRow.gone_at.is_(None)
    )
    return select(RegionCostRow.project, RegionCostRow.task_id).where(~there)


def _clicked() -> Select[str, int]:
    """Tasks with an event that came after the costs of an annotation were computed."""
    computed = (
        select(
            AnnotationRow.project,
            AnnotationRow.task_id,
            func.min(AnnotationTimeRow.through).label("through"),
        )
        .join(AnnotationTimeRow, _SAME_ANNOTATION)
        .where(exists_in_label_studio())
        .group_by(AnnotationRow.project, AnnotationRow.task_id)
        .subquery()
    )
    later = exists().where(
        EventRow.project == computed.c.project,
        EventRow.task_id == computed.c.task_id,
        EventRow.target_id.is_not(None),
        EventRow.id > computed.c.through,
    )
    return select(computed.c.project, computed.c.task_id).where(later)
