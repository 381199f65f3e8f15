"""A task's objects at one revision of the task: read, and written only if nothing came between.

This is the optimistic concurrency that ``store`` describes, in SQL.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, insert, select, update

from backend.db.engine import insert_of
from backend.db.models import TargetRow, TaskRow
from backend.interaction.objects import COLUMNS, Target, TaskObjects
from backend.label_studio.payloads import Project

# Built once: building a statement costs more than running it.
_THIS_TASK = (TaskRow.project == bindparam("of_project")) & (
    TaskRow.task_id == bindparam("of_task")
)
_REQUESTS = (
    select(TargetRow.sequence)
    .where(TargetRow.project == bindparam("of_project"), TargetRow.task_id == bindparam("of_task"))
    .distinct()
    .order_by(TargetRow.sequence.desc())
    .limit(bindparam("newest"))
    .subquery()
)
_OLDEST = select(func.min(_REQUESTS.c.sequence)).scalar_subquery()
_READ = (
    select(TaskRow.revision, TaskRow.clock_ahead_s, *(getattr(TargetRow, name) for name in COLUMNS))
    .outerjoin(
        TargetRow,
        (TargetRow.project == TaskRow.project) & (TargetRow.task_id == TaskRow.task_id),
    )
    .where(
        _THIS_TASK,
        # Objects that one phrase made came with one request and count as one.
        TargetRow.sequence.is_(None) | (TargetRow.sequence >= _OLDEST),
    )
    .order_by(TargetRow.sequence.desc(), TargetRow.id)
)
_ADVANCE = update(TaskRow).where(_THIS_TASK, TaskRow.revision == bindparam("read_at"))
# Inserts an object and returns its number; changes the object of number ``of_id``.
START = insert(TargetRow).returning(TargetRow.id)
CHANGE = update(TargetRow).where(TargetRow.id == bindparam("of_id"))


def read_task(connection: Connection, project: Project, task_id: int, newest: int) -> TaskObjects:
    """The objects of the ``newest`` requests on a task."""
    key = {"of_project": project.key, "of_task": task_id, "newest": newest}
    rows = connection.execute(_READ, key).mappings().all()
    if not rows:
        return TaskObjects(project, task_id)
    return TaskObjects(
        project,
        task_id,
        revision=rows[0]["revision"],
        known=True,
        clock_ahead=timedelta(seconds=rows[0]["clock_ahead_s"]),
        targets=[Target.of_row(row) for row in rows if row["id"] is not None],
    )


def advance(connection: Connection, task: TaskObjects, now: datetime) -> bool:
    """Move the task from the revision that was read to the next one; False if it has moved on."""
    key = {"project": task.project.key, "task_id": task.task_id}
    state = {
        "revision": task.revision + 1,
        "clock_ahead_s": task.clock_ahead.total_seconds(),
        "updated_at": now,
    }
    if task.known:
        where = {"of_project": task.project.key, "of_task": task.task_id}
        moved = connection.execute(_ADVANCE, {**state, **where, "read_at": task.revision})
        return moved.rowcount == 1
    row = insert_of(connection, TaskRow).values(**key, **state).on_conflict_do_nothing()
    return connection.execute(row.returning(TaskRow.task_id)).first() is not None
