"""Pictures of a candidate's largest gains and losses: stored with its verdict, for any server."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from backend.db.engine import Database
from backend.db.models import GatePictureRow


def keep(connection: Connection, version: str, pictures: Mapping[str, bytes]) -> None:
    """Store the pictures of a version's verdict; they replace those of an earlier one."""
    connection.execute(delete(GatePictureRow).where(GatePictureRow.version == version))
    now = datetime.now(UTC)
    for name, content in pictures.items():
        values = {"version": version, "name": name, "created_at": now, "content": content}
        connection.execute(insert(GatePictureRow).values(values))


def picture(database: Database, version: str, name: str) -> bytes | None:
    """A JPEG by its name in the report; None if it is no longer stored."""
    query = select(GatePictureRow.content).where(
        GatePictureRow.version == version, GatePictureRow.name == name
    )
    with database.read() as connection:
        return connection.execute(query).scalar()


def names(database: Database, version: str) -> list[str]:
    """The stored pictures of a version."""
    query = select(GatePictureRow.name).where(GatePictureRow.version == version)
    with database.read() as connection:
        return list(connection.execute(query.order_by(GatePictureRow.name)).scalars())


def forget(database: Database, days: float, now: datetime | None = None) -> int:
    """Delete pictures older than this; returns their number."""
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    with database.write() as connection:
        return connection.execute(
            delete(GatePictureRow).where(GatePictureRow.created_at < before)
        ).rowcount
