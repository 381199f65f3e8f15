"""Pictures of what a candidate won and lost: kept with its verdict, shown by any server."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Table, delete, insert, select

from backend.db.engine import Database
from backend.db.models.learning import GatePictureRow

_pictures: Table = GatePictureRow.__table__  # type: ignore[assignment]


def keep(connection: Connection, version: str, pictures: Mapping[str, bytes]) -> None:
    """The pictures of a version's verdict, in place of those of an earlier one."""
    connection.execute(delete(_pictures).where(_pictures.c.version == version))
    now = datetime.now(UTC)
    for name, content in pictures.items():
        values = {"version": version, "name": name, "created_at": now, "content": content}
        connection.execute(insert(_pictures).values(values))


def picture(database: Database, version: str, name: str) -> bytes | None:
    """A JPEG by the name that the report has for it; None where it is gone."""
    here = (_pictures.c.version == version) & (_pictures.c.name == name)
    with database.read() as connection:
        return connection.execute(select(_pictures.c.content).where(here)).scalar()


def names(database: Database, version: str) -> list[str]:
    """Those that are kept of a version."""
    query = select(_pictures.c.name).where(_pictures.c.version == version)
    with database.read() as connection:
        return list(connection.execute(query.order_by(_pictures.c.name)).scalars())


def forget(database: Database, days: float, now: datetime | None = None) -> int:
    """Drop those that are older; how many."""
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    with database.write() as connection:
        return connection.execute(delete(_pictures).where(_pictures.c.created_at < before)).rowcount
