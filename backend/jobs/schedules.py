"""How projects learn: after how many labels, on which days, or not by themselves at all."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select, update

from backend.db import job_tables
from backend.db.engine import Database, insert_of
from backend.errors import JobError
from backend.jobs.cron import check, next_time
from backend.jobs.records import Plan


class _Unchanged:
    """Where None says something."""


UNCHANGED: Final = _Unchanged()


class Plans:
    """The table of how projects learn. Thread-safe; processes share the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, project: str) -> Plan:
        """Of a project, by its key; as the settings say where nobody said anything."""
        with self._database.read() as connection:
            return plan(connection, project)

    def all(self) -> list[Plan]:
        """Of every project about which somebody said something."""
        with self._database.read() as connection:
            found = connection.execute(
                select(job_tables.plans).order_by(job_tables.plans.c.project)
            )
            return [plan_of(row) for row in found]

    def change(
        self,
        project: str,
        by: str,
        *,
        paused: bool | None = None,
        after_labels: int | _Unchanged | None = UNCHANGED,
        cron: str | None = None,
        now: datetime | None = None,
    ) -> Plan:
        """Change what is named. after_labels None: as the settings say. cron: five fields, in UTC;
        '' for no schedule. Raises JobError for a cron that cannot be read."""
        now = now or datetime.now(UTC)
        told: dict[str, Any] = {"changed_by": by[:254], "changed_at": now}
        if paused is not None:
            told["paused"] = paused
        if not isinstance(after_labels, _Unchanged):
            if after_labels is not None and after_labels < 1:
                raise JobError("A training needs at least one new label to start after.")
            told["after_labels"] = after_labels
        if cron is not None:
            cron = " ".join(cron.split())
            if cron:
                check(cron)
            told |= {"cron": cron, "due_at": next_time(cron, now) if cron else None}
        with self._database.write() as connection:
            locked(connection, project)
            here = job_tables.plans.c.project == project
            connection.execute(update(job_tables.plans).where(here).values(told))
            return plan(connection, project)


def plan(connection: Connection, project: str) -> Plan:
    """How a project learns."""
    row = connection.execute(
        select(job_tables.plans).where(job_tables.plans.c.project == project)
    ).first()
    return Plan(project) if row is None else plan_of(row)


def locked(connection: Connection, project: str) -> Plan:
    """Nobody else changes it until this transaction ends; made where it is missing."""
    query = select(job_tables.plans).where(job_tables.plans.c.project == project).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        values = {"project": project, "paused": False, "cron": "", "changed_by": ""}
        connection.execute(
            insert_of(connection, job_tables.plans).values(**values).on_conflict_do_nothing()
        )
        row = connection.execute(query).one()
    return plan_of(row)


def plan_of(row: Row[Any]) -> Plan:
    """A row as a record."""
    return Plan(**row._mapping)
