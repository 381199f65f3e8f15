"""Which version serves which project: the log of promotions, and the champions that follow from it.

A promotion or rollback is one row, written under a lock, so that two people who promote at once do
so one after the other and every server sees the rows in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, func, insert, select, text

from backend.db.engine import Database, records
from backend.db.models import Promotion, Version
from backend.label_studio.payloads import Project, number_of

# As a version's name, '' is the checkpoint that the settings name.
BASE = ""
# As a project, '' is all projects without a champion of their own.
EVERYONE = ""


def served_by(project: str) -> str:
    """For people: what a champion of this project, or of EVERYONE, serves."""
    return f"project {number_of(project)}" if project else "all projects without their own version"


# An object is finished on the version that it was begun with. One that is continued after a
# night, or after it was submitted, is new work and gets the champion.
STICKY_FOR = timedelta(hours=12)

# Built once, since every server runs it a few times a second.
_LAST = select(func.max(Promotion.id))


@dataclass(frozen=True)
class Champion:
    """A project's champion: ``line`` are the promotions in force, the newest last."""

    promotion: int
    line: tuple[str, ...]

    @property
    def version(self) -> str:
        return self.line[-1] if self.line else BASE

    @property
    def before(self) -> str:
        """The version that a rollback leads to."""
        return self.line[-2] if len(self.line) > 1 else BASE


@dataclass(frozen=True)
class Champions:
    """All champions at one moment; ``last`` is the newest promotion that they include."""

    last: int = 0
    by_project: Mapping[str, Champion] = field(default_factory=dict)

    @classmethod
    def after(cls, promotions: Iterable[Promotion]) -> Champions:
        """The champions after these promotions and rollbacks, oldest first."""
        champions: dict[str, Champion] = {}
        last = 0
        for promotion in promotions:
            project = promotion.project
            line = champions[project].line if project in champions else ()
            if promotion.kind == "promotion":
                line = (*line, promotion.version)
            else:
                # Past versions that were pruned in the meantime, if need be to the base.
                while line and (line := line[:-1]) and line[-1] != promotion.version:
                    pass
            champions[project] = Champion(promotion.id, line)
            last = promotion.id
        return cls(last, champions)

    def owner(self, project: Project) -> str:
        """The key whose champion serves the project: its own, or EVERYONE."""
        if project.created:
            key = project.key
        else:
            # Scripts may know the number only: it means the project last promoted under it.
            keys = [
                (champion.promotion, key)
                for key, champion in self.by_project.items()
                if key and project.may_be(key)
            ]
            key = max(keys)[1] if keys else EVERYONE
        return key if self.of_owner(key) != BASE else EVERYONE

    def of(self, project: Project) -> str:
        """The version that serves the project; BASE for the checkpoint of the settings."""
        return self.of_owner(self.owner(project))

    def of_owner(self, owner: str) -> str:
        """The version that was promoted for this very key."""
        champion = self.by_project.get(owner)
        return champion.version if champion else BASE

    def owners(self, version: str, base: str) -> list[str]:
        """The keys whose champion is this version; EVERYONE for the base if nothing replaced it."""
        owners = [key for key in self.by_project if self.of_owner(key) == version]
        if version == base and self.of_owner(EVERYONE) == BASE:
            owners.append(EVERYONE)
        return sorted(owners)

    def names(self) -> list[str]:
        """Versions that serve, last promoted first; then those that a rollback would lead to."""
        newest = sorted(self.by_project.values(), key=lambda champion: -champion.promotion)
        names = [champion.version for champion in newest]
        names += [champion.before for champion in newest]
        return [name for name in dict.fromkeys(names) if name != BASE]


@contextmanager
def locked(database: Database) -> Iterator[Connection]:
    """A transaction with promotions and versions locked, so that promotions are numbered in the
    order of their commits: a reader of one has seen all earlier ones."""
    with database.write() as connection:
        if not database.is_sqlite:  # where every writer is alone already
            connection.execute(text("LOCK TABLE promotions, versions IN SHARE ROW EXCLUSIVE MODE"))
        yield connection


def last_promotion(connection: Connection) -> int:
    """Number of the newest promotion or rollback; 0 if there is none."""
    return connection.execute(_LAST).scalar() or 0


def history(connection: Connection, project: str | None = None) -> list[Promotion]:
    """Promotions and rollbacks of a project (None: of all), oldest first."""
    query = select(Promotion).order_by(Promotion.id)
    if project is not None:
        query = query.where(Promotion.project == project)
    return records(connection, query)


def append(
    connection: Connection,
    project: str,
    kind: Literal["promotion", "rollback"],
    version: str,
    before: str,
    who: str,
    why: str,
) -> Promotion:
    row = {
        "project": project,
        "kind": kind,
        "version": version,
        "before": before,
        "who": who[:254],
        "why": why,
        "at": datetime.now(UTC),
    }
    number = connection.execute(insert(Promotion).values(row).returning(Promotion.id)).scalar_one()
    return Promotion(id=number, **row)


def pruned(connection: Connection) -> set[str]:
    """Versions that can no longer be promoted or rolled back to."""
    return set(records(connection, select(Version.name).where(Version.state == "pruned")))
