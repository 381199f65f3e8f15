"""A project by the number that people know, among those that this backend knows."""

from sqlalchemy import select

from backend.db import sample_tables as sampled
from backend.db.engine import Database
from backend.db.models.core import ProjectRow
from backend.errors import JobError
from backend.label_studio.payloads import Project


def project_key(database: Database, written: str | int) -> str:
    """The key of a project that connected or sent labels, from its number or the key itself.

    Raises JobError where there is none, or where the number alone does not tell.
    """
    project = Project.read(written)
    with database.read() as connection:
        known: set[str] = {
            *connection.execute(select(ProjectRow.key)).scalars(),
            *connection.execute(select(sampled.projects.c.key)).scalars(),
        }
    found = sorted(filter(project.may_be, known))
    if not found:
        raise JobError(f"No project {written} has connected to this backend, or sent it a label.")
    if len(found) > 1:
        raise JobError(f"There are several projects {written}: say which, {' or '.join(found)}.")
    return found[0]
