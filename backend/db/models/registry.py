"""The registry's tables. Promotions are only ever appended: the champion is the newest one's."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.models.core import Base

_Number = BigInteger().with_variant(Integer, "sqlite")


class VersionRow(Base):
    """A model version. Its files and this row never change, but for state and gate."""

    __tablename__ = "versions"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    project: Mapped[str] = mapped_column(String(40), default="", index=True)  # '': for all
    parent: Mapped[str] = mapped_column(String(128), default="")
    state: Mapped[str] = mapped_column(String(16))  # base, candidate, accepted, rejected, pruned
    location: Mapped[str] = mapped_column(Text, default="")  # of a base; '': in the store
    sums: Mapped[dict[str, Any]] = mapped_column(JSON)  # SHA-256 by file
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)  # what it learned from
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)  # as its checkpoint has them
    gate: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(254), default="")


class PromotionRow(Base):
    """Who made which version the champion of a project, when and why. Never changed, never gone."""

    __tablename__ = "promotions"

    # Counts up in the order of the commits, which the registry's lock sees to.
    id: Mapped[int] = mapped_column(_Number, primary_key=True)
    project: Mapped[str] = mapped_column(String(40), index=True)  # '': of all without one
    kind: Mapped[str] = mapped_column(String(16))  # promotion, rollback
    version: Mapped[str] = mapped_column(String(128))  # '': the base
    before: Mapped[str] = mapped_column(String(128))  # what it took the place of; '': the base
    who: Mapped[str] = mapped_column(String(254))
    why: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]

    __table_args__ = ({"sqlite_autoincrement": True},)


class AnnouncementRow(Base):
    """What a project's Label Studio was last told of its champion, and when to try again."""

    __tablename__ = "announcements"

    project: Mapped[str] = mapped_column(String(40), primary_key=True)
    version: Mapped[str] = mapped_column(String(128), default="")  # told; '': nothing yet
    told_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0)  # in vain, since
    try_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(Text, default="")
