"""Keeps the costs of accepted regions: drawn when an annotation is taken in, mended when not.

The worker draws a task as soon as a webhook told of it. Whatever that missed (a worker that died,
an annotation that only a reconciliation found, everything labeled before this table was there, a
click on an object that was submitted already) is found by a look at the tables and drawn then, a
bounded time at a go.
"""

import logging
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Table, delete, exists, func, insert, or_, select

from backend.db import sample_tables
from backend.db.engine import Database, insert_of
from backend.db.models.core import EventRow, TargetRow
from backend.label_studio.annotations import LabelChange
from backend.reports.compute_cost import Drawing, costs, draw, living, served_masks, times

_log = logging.getLogger(__name__)

_events: Table = EventRow.__table__  # type: ignore[assignment]
_targets: Table = TargetRow.__table__  # type: ignore[assignment]

# Two workers that take in the same task at once see each other's samples at the second attempt.
_ATTEMPTS = 5
# Masks dropped in one transaction, so that nobody who clicks waits for it.
_DROPPED_AT_ONCE = 500

Place = tuple[str, int]  # project key, task


class Costs:
    """The tables of costs. Thread-safe; processes share the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take_in(self, change: LabelChange) -> None:
        """Draw the tasks that a webhook told of. A failure is logged: ``catch_up`` mends it."""
        try:
            for key, task in sorted(self._concerned(change)):
                self.draw(key, task)
        except Exception:  # the labels are taken in, and must not be taken in again for this
            _log.exception("Costs of project %s could not be drawn yet", change.project.key)

    def draw(self, project: str, task: int, now: datetime | None = None) -> None:
        """Bring a task's rows up to date. Does nothing where they are."""
        now = now or datetime.now(UTC)
        for _ in range(_ATTEMPTS):
            with self._database.read() as connection:
                drawing = draw(connection, project, task, now)
            with self._database.write() as connection:
                sample_tables.lock(connection, project)
                if living(connection, project, task) == drawing.versions:
                    _write(connection, drawing)
                    return
        _log.info("Task %d of project %s changes too quickly to be drawn now", task, project)

    def catch_up(self, seconds: float = 20.0) -> int:
        """Draw what is missing or outdated, as far as the time allows; how many tasks."""
        until = time.monotonic() + seconds
        drawn = 0
        for project, task in self.outdated():
            if time.monotonic() > until:
                break
            self.draw(project, task)
            drawn += 1
        return drawn

    def outdated(self) -> list[Place]:
        """Tasks whose rows are not what annotations and log say."""
        with self._database.read() as connection:
            return sorted({*_undrawn(connection), *_buried(connection), *_clicked(connection)})

    def forget_masks(self, older_than: timedelta, now: datetime | None = None) -> int:
        """Drop served masks of that age whose costs were drawn, or that nobody can accept any more;
        how many."""
        limit = (now or datetime.now(UTC)) - older_than
        in_work = exists().where(
            _targets.c.id == served_masks.c.target_id, _targets.c.state.in_(("open", "kept"))
        )
        waits = (
            exists()
            .where(
                sample_tables.annotations.c.project == served_masks.c.project,
                sample_tables.annotations.c.task_id == served_masks.c.task_id,
                sample_tables.annotations.c.gone_at.is_(None),
            )
            .where(
                ~exists().where(
                    times.c.project == sample_tables.annotations.c.project,
                    times.c.annotation_id == sample_tables.annotations.c.annotation_id,
                    times.c.drawn == sample_tables.annotations.c.digest,
                )
            )
        )
        some = (
            select(served_masks.c.id)
            .where(served_masks.c.created_at < limit, ~in_work, ~waits)
            .limit(_DROPPED_AT_ONCE)
        )
        dropped = 0
        while True:
            with self._database.write() as connection:
                numbers = list(connection.execute(some).scalars())
                connection.execute(delete(served_masks).where(served_masks.c.id.in_(numbers)))
            dropped += len(numbers)
            if len(numbers) < _DROPPED_AT_ONCE:
                return dropped

    def _concerned(self, change: LabelChange) -> set[Place]:
        """The tasks that a webhook changed something in."""
        key = change.project.key
        found = {(key, annotation.task_id) for annotation in change.annotations}
        found |= {(key, task) for task in change.gone_tasks}
        if change.gone_annotations:
            query = select(costs.c.task_id).where(
                costs.c.project == key, costs.c.annotation_id.in_(change.gone_annotations)
            )
            with self._database.read() as connection:
                found |= {(key, task) for task in connection.execute(query.distinct()).scalars()}
        if change.project_gone:
            found |= {place for place in self.outdated() if change.project.may_be(place[0])}
        return found


def _write(connection: Connection, drawing: Drawing) -> None:
    here = (costs.c.project == drawing.project) & (costs.c.task_id == drawing.task)
    gone = here & costs.c.annotation_id.not_in(list(drawing.versions))
    numbers = set(connection.execute(select(costs.c.annotation_id).where(gone)).scalars())
    connection.execute(delete(costs).where(gone))
    _forget_times(connection, drawing.project, numbers)
    for number, regions in drawing.anew.items():
        mine = (costs.c.project == drawing.project) & (costs.c.annotation_id == number)
        connection.execute(delete(costs).where(mine))
        if regions:
            connection.execute(insert(costs), [dict(region) for region in regions])
    for number, digest in drawing.versions.items():
        told = {"drawn": digest, "through": drawing.through}
        values = {"project": drawing.project, "annotation_id": number, "owner": "", **told}
        connection.execute(
            insert_of(connection, times)
            .values(**values)
            .on_conflict_do_update(
                index_elements=[times.c.project, times.c.annotation_id], set_=told
            )
        )


def _forget_times(connection: Connection, project: str, numbers: Collection[int]) -> None:
    this = (times.c.project == project) & times.c.annotation_id.in_(numbers)
    connection.execute(delete(times).where(this))


def _undrawn(connection: Connection) -> Iterator[Place]:
    """Living annotations of which this version, or none, was drawn."""
    it = sample_tables.annotations.c
    same = (times.c.project == it.project) & (times.c.annotation_id == it.annotation_id)
    query = (
        select(it.project, it.task_id)
        .join(times, same, isouter=True)
        .where(
            it.gone_at.is_(None),
            it.task_id.is_not(None),
            or_(times.c.drawn.is_(None), times.c.drawn != it.digest),
        )
    )
    for row in connection.execute(query.distinct()):
        yield row.project, row.task_id


def _buried(connection: Connection) -> Iterator[Place]:
    """Costs of annotations that are gone."""
    it = sample_tables.annotations.c
    standing = exists().where(
        it.project == costs.c.project,
        it.annotation_id == costs.c.annotation_id,
        it.gone_at.is_(None),
    )
    query = select(costs.c.project, costs.c.task_id).where(~standing).distinct()
    for row in connection.execute(query):
        yield row.project, row.task_id


def _clicked(connection: Connection) -> Iterator[Place]:
    """Tasks with an annotation and an event that came after it was drawn."""
    it = sample_tables.annotations.c
    same = (times.c.project == it.project) & (times.c.annotation_id == it.annotation_id)
    drawn = (
        select(it.project, it.task_id, func.min(times.c.through).label("through"))
        .join(times, same)
        .where(it.gone_at.is_(None), it.task_id.is_not(None))
        .group_by(it.project, it.task_id)
        .subquery()
    )
    later = exists().where(
        _events.c.project == drawn.c.project,
        _events.c.task_id == drawn.c.task_id,
        _events.c.target_id.is_not(None),
        _events.c.id > drawn.c.through,
    )
    for row in connection.execute(select(drawn.c.project, drawn.c.task_id).where(later)):
        yield row.project, row.task_id
