"""What is dropped: targets nobody has worked on for long, and masks too old for any Ctrl+Z."""

from datetime import datetime

from sqlalchemy import Connection, Table, delete, exists, func, select

from backend.db.models.core import TargetRow, TaskRow
from backend.interaction import mask_history
from backend.interaction.objects import Target
from backend.interaction.policy import Policy
from backend.interaction.task_state import TaskMemory

# So many targets of a task keep the masks before their last one.
_FULL = 20

_targets: Table = TargetRow.__table__  # type: ignore[assignment]
_tasks: Table = TaskRow.__table__  # type: ignore[assignment]


def forget(connection: Connection, policy: Policy, now: datetime) -> int:
    """Drop what is too old or too much; gives the number of targets. The event log stays."""
    limit = now - policy.forget_after
    dropped = connection.execute(delete(_targets).where(_targets.c.updated_at < limit)).rowcount
    count = connection.execute(select(func.count()).select_from(_targets)).scalar_one()
    surplus = max(0, count - policy.targets_kept)
    if surplus:
        oldest = select(_targets.c.id).order_by(_targets.c.updated_at).limit(surplus)
        connection.execute(delete(_targets).where(_targets.c.id.in_(oldest)))
    of_task = (_targets.c.project == _tasks.c.project) & (_targets.c.task_id == _tasks.c.task_id)
    connection.execute(delete(_tasks).where(_tasks.c.updated_at < limit, ~exists().where(of_task)))
    return dropped + surplus


def thin_out(connection: Connection, task: TaskMemory) -> None:
    """Called when a target begins: the one that leaves the circle keeps its last mask only."""
    leaving: list[Target] = task.targets[_FULL : _FULL + 1]
    for target in leaving:
        mask_history.drop_older(connection, target.id, target.answered_turn)
