"""What all tables share: the base class, its naming of constraints, and the column types.

In a mapped class ``Mapped[str]`` is text of any length and ``Mapped[datetime]`` an aware UTC time.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator

# SQLite numbers rows only in a column that is exactly INTEGER.
AutoId = Annotated[
    int, mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
]
# Ids of Label Studio and of rows, and counts of pixels.
BigInt = Annotated[int, mapped_column(BigInteger)]
# A project's key: "6.1795384361".
ProjectKey = Annotated[str, mapped_column(String(40))]
ProjectId = Annotated[str, mapped_column(String(40), primary_key=True)]
# With a project's key, the primary key of rows about a task, an annotation.
LabelStudioId = Annotated[int, mapped_column(BigInteger, primary_key=True)]

Str16 = Annotated[str, mapped_column(String(16))]
Str32 = Annotated[str, mapped_column(String(32))]
Str64 = Annotated[str, mapped_column(String(64))]
Str128 = Annotated[str, mapped_column(String(128))]
# A user or a process, by name.
Str254 = Annotated[str, mapped_column(String(254))]

# None is SQL's NULL, not JSON's null.
OptionalList = Annotated[list[Any] | None, mapped_column(JSON(none_as_null=True))]
OptionalJson = Annotated[dict[str, Any] | None, mapped_column(JSON(none_as_null=True))]


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite stores no zone: it is dropped on the way in, added on the way out.

    Raises ValueError for a time without a zone.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can find it on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        float: Double(),
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        bytes: LargeBinary(),
    }
