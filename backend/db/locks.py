"""Locks on rows: of a lease, a job, a project's samples.

Each lasts until the transaction ends. To avoid deadlocks, lock a lease before a job.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from backend.db.engine import insert_of
from backend.db.models import Job, LeaseRow, SampledProjectRow

# Before every time that is ever compared with it.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def lease_name(kind: str, project: str) -> str:
    """The lease that all jobs of a kind of one project share: one of them runs at a time."""
    return f"{kind}:{project}"


def lock_lease(connection: Connection, name: str) -> LeaseRow:
    """Lock a lease's row, creating it if needed, and return it."""
    query = select(LeaseRow).where(LeaseRow.name == name).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        connection.execute(
            insert_of(connection, LeaseRow).values(name=name).on_conflict_do_nothing()
        )
        row = connection.execute(query).one()
    return LeaseRow(**row._mapping)


def lock_job(connection: Connection, number: int) -> Job | None:
    """Lock a job's row and return it; None if there is no such job."""
    query = select(Job).where(Job.id == number).with_for_update()
    row = connection.execute(query).first()
    return None if row is None else Job(**row._mapping)


def lock_samples(connection: Connection, key: str) -> Row[Any]:
    """Lock a project's samples by its row, creating that if needed, and return the row."""
    query = select(SampledProjectRow).where(SampledProjectRow.key == key).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        row_of = insert_of(connection, SampledProjectRow).values(key=key)
        connection.execute(row_of.on_conflict_do_nothing())
        row = connection.execute(query).one()
    return row
