"""All targets of one task, read and written under the lock of the task's row."""

import secrets
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, select, update

from backend.db.engine import insert_of
from backend.db.models.core import TargetRow, TaskRow
from backend.interaction.objects import Target
from backend.label_studio.payloads import Project

# Older ones of the same task are history to a click: so a task with a thousand masks is as quick as
# one with two. What settles a task without haste (submit, webhook) looks at many more.
NEWEST = 24
ALL = 1_000

_tasks: Table = TaskRow.__table__  # type: ignore[assignment]
_targets: Table = TargetRow.__table__  # type: ignore[assignment]

# Built once: building a statement costs more than running it.
_this_task = (_tasks.c.project == bindparam("of_project")) & (
    _tasks.c.task_id == bindparam("of_task")
)
_LOCK = select(_tasks.c.revision, _tasks.c.clock_ahead_s).where(_this_task).with_for_update()
_TURN = update(_tasks).where(_this_task)
_READ = (
    select(_targets)
    .where(
        _targets.c.project == bindparam("of_project"), _targets.c.task_id == bindparam("of_task")
    )
    .order_by(_targets.c.sequence.desc())
    .limit(bindparam("newest"))
)
_CHANGE = update(_targets).where(_targets.c.id == bindparam("of_id"))
_START = insert(_targets).returning(_targets.c.id)


@dataclass
class TaskMemory:
    """What is remembered of a task. Changes are written by ``save``, once, at the end."""

    project: Project
    task_id: int
    revision: int
    clock_ahead: timedelta
    targets: list[Target]  # newest turn first
    _before: dict[int, Target] = field(default_factory=dict)
    _ahead_before: timedelta = timedelta()

    @classmethod
    def lock(
        cls,
        connection: Connection,
        project: Project,
        task_id: int,
        now: datetime,
        *,
        create: bool,
        newest: int = NEWEST,
    ) -> "TaskMemory | None":
        """Take the task's lock and read it. None where nothing is known and none is to be made."""
        key = {"of_project": project.key, "of_task": task_id}
        row = connection.execute(_LOCK, key).first()
        if row is None and create:
            values = {
                "project": project.key,
                "task_id": task_id,
                "revision": 0,
                "clock_ahead_s": 0.0,
                "updated_at": now,
            }
            connection.execute(
                insert_of(connection, _tasks).values(**values).on_conflict_do_nothing()
            )
            row = connection.execute(_LOCK, key).first()
        if row is None:
            return None
        found = connection.execute(_READ, {**key, "newest": newest}).mappings()
        targets = [Target.of_row(entry) for entry in found]
        ahead = timedelta(seconds=row.clock_ahead_s)
        before = {target.id: copy(target) for target in targets}
        return cls(project, task_id, row.revision, ahead, targets, before, ahead)

    def start(self, **values: Any) -> Target:
        """A new target, in front of the others."""
        target = Target(id=0, region_id=f"pc-{secrets.token_hex(6)}", **values)
        self.targets.insert(0, target)
        return target

    def named(self, identity: int) -> Target | None:
        """The target of this number."""
        return next((target for target in self.targets if target.id == identity), None)

    def with_click(self, identity: str, user: str) -> Target | None:
        """The newest target with this click that may be the asking user's."""
        for target in self.targets:
            if (not user or target.owner in ("", user)) and target.click(identity):
                return target
        return None

    def save(self, connection: Connection, now: datetime, *, turn: bool) -> None:
        """Write what has changed. ``turn`` says that an interaction was counted."""
        key = {"of_project": self.project.key, "of_task": self.task_id}
        if turn or self.clock_ahead != self._ahead_before:
            state = {
                "revision": self.revision,
                "clock_ahead_s": self.clock_ahead.total_seconds(),
                "updated_at": now,
            }
            connection.execute(_TURN, {**state, **key})
            self._ahead_before = self.clock_ahead
        for target in self._changed():
            if target.id:
                connection.execute(_CHANGE, {**target.row(), "of_id": target.id})
            else:
                values = {**target.row(), "project": self.project.key, "task_id": self.task_id}
                target.id = connection.execute(_START, values).scalar_one()
            self._before[target.id] = copy(target)

    def _changed(self) -> Iterable[Target]:
        return [t for t in self.targets if not t.id or self._before.get(t.id) != t]
