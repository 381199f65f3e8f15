"""The log of promotions: read, appended to, and the lock under which both are decided."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, Table, func, insert, select, text

from backend.db.engine import Database
from backend.db.models.registry import PromotionRow, VersionRow
from backend.registry.records import Promotion

_promotions: Table = PromotionRow.__table__  # type: ignore[assignment]
_versions: Table = VersionRow.__table__  # type: ignore[assignment]

# Built once: every server asks a few times a second.
_LAST = select(func.max(_promotions.c.id))


@contextmanager
def deciding(database: Database) -> Iterator[Connection]:
    """A transaction alone with promotions and versions, so that numbers are given in the order of
    the commits: who has seen one has seen all before it."""
    with database.write() as connection:
        if not database.is_sqlite:  # where every writer is alone already
            connection.execute(text("LOCK TABLE promotions, versions IN SHARE ROW EXCLUSIVE MODE"))
        yield connection


def last(connection: Connection) -> int:
    """Number of the newest row."""
    return connection.execute(_LAST).scalar() or 0


def history(connection: Connection) -> list[Promotion]:
    """All rows, oldest first."""
    rows = connection.execute(select(_promotions).order_by(_promotions.c.id)).mappings()
    return [Promotion(**row) for row in rows]


def pruned(connection: Connection) -> set[str]:
    """Versions that cannot be promoted or rolled back to any more."""
    query = select(_versions.c.name).where(_versions.c.state == "pruned")
    return set(connection.execute(query).scalars())


def append(
    connection: Connection,
    project: str,
    kind: Literal["promotion", "rollback"],
    version: str,
    before: str,
    who: str,
    why: str,
) -> Promotion:
    """One more row."""
    row = {
        "project": project,
        "kind": kind,
        "version": version,
        "before": before,
        "who": who[:254],
        "why": why,
        "at": datetime.now(UTC),
    }
    number = connection.execute(insert(_promotions).values(row)).inserted_primary_key
    assert number is not None
    return Promotion(id=number[0], **row)  # type: ignore[arg-type]
