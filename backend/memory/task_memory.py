"""All targets of one task, read and written under the lock of the task's row."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.contract import Project
from backend.memory.target import Target
from backend.tables import TargetRow, TaskRow

# Older ones of the same task are history: so a task with a thousand masks is as quick as one with
# two, and nobody has clicked on sixty-four objects since.
NEWEST = 64

_tasks: Table = TaskRow.__table__  # type: ignore[assignment]
_targets: Table = TargetRow.__table__  # type: ignore[assignment]


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
        cls, connection: Connection, project: Project, task_id: int, now: datetime, *, create: bool
    ) -> "TaskMemory | None":
        """Take the task's lock and read it. None where nothing is known and none is to be made."""
        where = (_tasks.c.project == project.key) & (_tasks.c.task_id == task_id)
        query = select(_tasks.c.revision, _tasks.c.clock_ahead_s).where(where).with_for_update()
        row = connection.execute(query).first()
        if row is None and create:
            values = {
                "project": project.key,
                "task_id": task_id,
                "revision": 0,
                "clock_ahead_s": 0.0,
                "updated_at": now,
            }
            connection.execute(_insert_new(connection, values))
            row = connection.execute(query).first()
        if row is None:
            return None
        found = connection.execute(
            select(_targets)
            .where(_targets.c.project == project.key, _targets.c.task_id == task_id)
            .order_by(_targets.c.sequence.desc())
            .limit(NEWEST)
        ).mappings()
        targets = [Target.of_row(dict(entry)) for entry in found]
        ahead = timedelta(seconds=row.clock_ahead_s)
        before = {target.id: target.copy() for target in targets}
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
        if turn or self.clock_ahead != self._ahead_before:
            connection.execute(
                update(_tasks)
                .where(_tasks.c.project == self.project.key, _tasks.c.task_id == self.task_id)
                .values(
                    revision=self.revision,
                    clock_ahead_s=self.clock_ahead.total_seconds(),
                    updated_at=now,
                )
            )
        for target in self._changed():
            if target.id:
                query = update(_targets).where(_targets.c.id == target.id)
                connection.execute(query, target.row())
            else:
                key = {"project": self.project.key, "task_id": self.task_id}
                query_new = insert(_targets).returning(_targets.c.id)
                target.id = connection.execute(query_new, {**target.row(), **key}).scalar_one()
        self._before = {target.id: target.copy() for target in self.targets}
        self._ahead_before = self.clock_ahead

    def _changed(self) -> Iterable[Target]:
        return [t for t in self.targets if not t.id or self._before.get(t.id) != t]


def _insert_new(connection: Connection, values: dict[str, Any]) -> Any:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(_tasks).values(**values).on_conflict_do_nothing()
