"""The tables of jobs as statements name them, and the lock under which a kind of job of a project
is decided about.

Who takes several locks takes the lease's row first, then the job's.
"""

from typing import Any

from sqlalchemy import Connection, Row, Table, select

from backend.db.engine import insert_of
from backend.db.models.jobs import JobLogRow, JobRow, LearnedLabelRow, LearningRow, LeaseRow

jobs: Table = JobRow.__table__  # type: ignore[assignment]
log: Table = JobLogRow.__table__  # type: ignore[assignment]
leases: Table = LeaseRow.__table__  # type: ignore[assignment]
plans: Table = LearningRow.__table__  # type: ignore[assignment]
learned: Table = LearnedLabelRow.__table__  # type: ignore[assignment]


def lease_name(kind: str, project: str) -> str:
    """The lease that all jobs of a kind of one project share: one of them runs at a time."""
    return f"{kind}:{project}"


def lock(connection: Connection, name: str) -> Row[Any]:
    """Take the lock of a lease's row, and read it; made where it is missing."""
    query = select(leases).where(leases.c.name == name).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        values = {"name": name, "holder": "", "token": 0, "beat": 0}
        connection.execute(insert_of(connection, leases).values(**values).on_conflict_do_nothing())
        row = connection.execute(query).one()
    return row


def locked_job(connection: Connection, number: int) -> Row[Any] | None:
    """A job's row, which nobody else changes until this transaction ends."""
    return connection.execute(select(jobs).where(jobs.c.id == number).with_for_update()).first()
