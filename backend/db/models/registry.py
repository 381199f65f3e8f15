"""Model versions, their promotions, what Label Studio knows of them, and pictures of their gate.

Promotions are only ever appended: a project's champion follows from them.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.engine import (
    AutoId,
    Base,
    BigInt,
    OptionalJson,
    ProjectId,
    ProjectKey,
    Str64,
    Str128,
    Str254,
)

# base: shipped or named by the settings, and not in the store. candidate: not judged yet. accepted,
# rejected: by the gate. pruned: the files are deleted, the row stays.
VersionState = Literal["base", "candidate", "accepted", "rejected", "pruned"]


class Version(Base):
    """A model version. Its files and this row never change, except for state and gate."""

    __tablename__ = "versions"

    name: Mapped[Str128] = mapped_column(primary_key=True)
    project: Mapped[ProjectKey] = mapped_column(default="", index=True)  # '': for all
    parent: Mapped[Str128] = mapped_column(default="")
    state: Mapped[VersionState] = mapped_column(String(16))
    location: Mapped[str] = mapped_column(default="")  # of a base; '': in the store
    sums: Mapped[dict[str, Any]]  # SHA-256 by file
    size_bytes: Mapped[BigInt]
    data: Mapped[dict[str, Any]]  # what it was trained on
    metrics: Mapped[dict[str, Any]]  # as in its checkpoint
    gate: Mapped[OptionalJson]
    created_at: Mapped[datetime]
    created_by: Mapped[Str254] = mapped_column(default="")

    @property
    def in_store(self) -> bool:
        """Whether the store holds its files, and may delete them."""
        return self.state not in ("base", "pruned")

    @property
    def figures(self) -> dict[str, float]:
        """Every measured number by its dotted path; without the training's recipe."""
        return dict(_figures(self.metrics, ()))


def _figures(metrics: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        full = (*path, str(name))
        if isinstance(value, Mapping):
            if name != "recipe":
                yield from _figures(value, full)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield ".".join(full), float(value)


class Promotion(Base):
    """Who made which version a project's champion, when and why. Never changed or deleted."""

    __tablename__ = "promotions"

    # Counts up in the order of the commits, which the registry's lock guarantees.
    id: Mapped[AutoId]
    project: Mapped[ProjectKey] = mapped_column(index=True)  # '': all without a champion
    kind: Mapped[Literal["promotion", "rollback"]] = mapped_column(String(16))
    version: Mapped[Str128]  # '': the base
    before: Mapped[Str128]  # the version that it replaced; '': the base
    who: Mapped[Str254]
    why: Mapped[str]
    at: Mapped[datetime]

    __table_args__ = ({"sqlite_autoincrement": True},)


class AnnouncementRow(Base):
    """The champion that a project's Label Studio last took, and when to try again."""

    __tablename__ = "announcements"

    project: Mapped[ProjectId]
    version: Mapped[Str128] = mapped_column(default="")  # '': none yet
    told_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)  # failures since
    try_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(default="")


class GatePictureRow(Base):
    """A JPEG that a gate's report names. In the database, so that every server can show it."""

    __tablename__ = "gate_pictures"

    version: Mapped[Str128] = mapped_column(primary_key=True)
    name: Mapped[Str64] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(index=True)
    content: Mapped[bytes]
