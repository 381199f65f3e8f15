"""Pictures of what a candidate won and lost: kept with its verdict, shown by any server."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from backend.db.engine import Database
from backend.db.models import GatePictureRow


def keep(connection: Connection, version: str, pictures: Mapping[str, bytes]) -> None:
    """The pictures of a version's verdict, in place of those of an earlier one."""
    connection.execute(delete(GatePictureRow).where(GatePictureRow.version == version))
    now = datetime.now(UTC)
    for name, content in pictures.items():
        values = {"version": version, "name": name, "created_at": now, "content": content}
        connection.execute(insert(GatePictureRow).values(values))


def picture(database: Database, version: str, name: str) -> bytes | None:
    """A JPEG by the name that the report has for it; None where it is gone."""
    here = (GatePictureRow.version == version) & (GatePictureRow.name == name)
    with database.read() as connection:
        return connection.execute(select(GatePictureRow.content).where(here)).scalar()


def names(database: Database, version: str) -> list[str]:
    """Those that are kept of a version."""
    query = select(GatePictureRow.name).where(GatePictureRow.version == version)
    with database.read() as connection:
        return list(connection.execute(query.order_by(GatePictureRow.name)).scalars())


def forget(database: Database, days: float, now: datetime | None = None) -> int:
    """Drop those that are older; how many."""
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    with database.write() as connection:
        return connection.execute(
            delete(GatePictureRow).where(GatePictureRow.created_at < before)
        ).rowcount
