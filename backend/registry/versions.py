"""Model versions in the database: added once, judged, promoted, taken back, pruned.

Promotion and rollback are one row each, written under a lock, so that two who promote at once do so
one after the other and every server sees their rows in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Table, select, update

from backend.db.engine import Database, insert_of
from backend.db.models.core import ProjectRow, TargetRow
from backend.db.models.registry import VersionRow
from backend.errors import VersionError
from backend.label_studio.payloads import Project
from backend.registry import promotion_log as log
from backend.registry import pruning
from backend.registry.folder_store import Store
from backend.registry.records import (
    BASE,
    EVERYONE,
    GOES_ON_FOR,
    Champions,
    Promotion,
    State,
    Version,
)
from backend.registry.store import open_store
from backend.settings import Settings
from model import checkpoint_files as files

_versions: Table = VersionRow.__table__  # type: ignore[assignment]
_targets: Table = TargetRow.__table__  # type: ignore[assignment]
_projects: Table = ProjectRow.__table__  # type: ignore[assignment]

# Longer than a gate takes on two cores.
_FRESH = timedelta(hours=1)
_MOST_CANDIDATES = 3

Alongside = Callable[[Connection], None]
"""What belongs into the same transaction. Whatever it raises undoes all of it: so a job that lost
its right to write cannot do so half."""

# A name becomes a folder, an object's key and Label Studio's model version.
_NAME = re.compile(r"[\w+@-][\w .+@-]{0,119}", re.ASCII)


class Registry:
    """See the module. Thread-safe; processes share the database and the store."""

    def __init__(self, database: Database, store: Store, settings: Settings) -> None:
        self.database = database
        self.store = store
        self._base = base_folder(settings.checkpoint)
        self._base_location = settings.checkpoint

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """With a database connection of its own; close it in the end."""
        database = Database(settings.resolved_database_url)
        database.migrate()
        return cls(database, open_store(settings), settings)

    def close(self) -> None:
        """Give the database back."""
        self.database.close()

    # -- versions

    def base(self) -> Version:
        """The checkpoint of the settings, registered when first asked for."""
        return self._registered(self._base_location)

    def add(
        self,
        folder: Path,
        *,
        project: str = EVERYONE,
        parent: str | None = None,
        data: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        gate: Mapping[str, Any] | None = None,
        state: State = "candidate",
        by: str = "",
        alongside: Alongside | None = None,
    ) -> Version:
        """Take a checkpoint in: its files into the store, then its row. Once more is fine.

        project: the key of the project it is for, or EVERYONE. parent, metrics: by default as the
        checkpoint itself says. data, gate: any JSON. Raises CheckpointError where the folder is no
        whole checkpoint, StorageError where it cannot be kept, VersionError for a bad name.
        """
        contents = files.read(folder)
        about = files.about(folder)
        name = about["version"]
        if not _NAME.fullmatch(name):
            raise VersionError(
                f"A version cannot be called {name!r}: letters, digits, spaces and _ . + @ - are "
                "allowed, 120 at most. Save the checkpoint under another name."
            )
        told = {
            "project": project,
            "data": dict(data or {}),
            "gate": None if gate is None else dict(gate),
            "state": state,
            "created_by": by[:254],
        }
        if parent is not None:
            told["parent"] = parent
        if metrics is not None:
            told["metrics"] = dict(metrics)
        row = self._row(folder, about, **told)
        known = self._known(name)
        if known is not None and dict(known.sums) != row["sums"]:
            raise VersionError(
                f"There is another version {name} already, with other files. "
                "A version never changes: save the new one under another name."
            )
        if known is not None and known.state != "pruned":
            return known
        self.store.put(name, contents)
        with self.database.write() as connection:
            made = insert_of(connection, _versions).values(row)
            connection.execute(
                made.on_conflict_do_update(index_elements=[_versions.c.name], set_=row)
            )
            if alongside:
                alongside(connection)
        return self.get(name)

    def judge(
        self,
        name: str,
        gate: Mapping[str, Any],
        *,
        passed: bool,
        alongside: Alongside | None = None,
    ) -> None:
        """Write down what the gate said of a candidate."""
        with self.database.write() as connection:
            changed = connection.execute(
                update(_versions)
                .where(_versions.c.name == name)
                .values(gate=dict(gate), state="accepted" if passed else "rejected")
            )
            # After the versions, as in promote: two never wait for each other's locks.
            if alongside:
                alongside(connection)
        if not changed.rowcount:
            raise VersionError(f"There is no version {name}.")

    def get(self, name: str) -> Version:
        """The version of this name, or of this unique beginning; "shipped" and "base" count.

        Raises VersionError where there is none, or more than one.
        """
        if name == files.SHIPPED:
            return self._registered(files.SHIPPED)
        if name in ("base", self.base_name):
            return self.base()
        known = self._known(name)
        if known is not None:
            return known
        everyone = self.all()
        found = [it for it in everyone if name and it.name.startswith(name)]
        if len(found) == 1:
            return found[0]
        among = [it.name for it in found or everyone if it.state != "pruned"]
        raise VersionError(
            f"{name!r} could be {' or '.join(among)}."
            if found
            else f"There is no version {name!r}. Known are: {', '.join(among[:20]) or 'none yet'}."
        )

    def all(self, project: str | None = None) -> list[Version]:
        """Versions, oldest first; of one project with those that are for everyone."""
        query = select(_versions).order_by(_versions.c.created_at, _versions.c.name)
        if project is not None:
            query = query.where(_versions.c.project.in_(("", project)))
        with self.database.read() as connection:
            return [Version(**row) for row in connection.execute(query).mappings()]

    def candidates(self, now: datetime | None = None) -> list[str]:
        """Versions that may be promoted before long, the newest first."""
        since = (now or datetime.now(UTC)) - _FRESH
        query = (
            select(_versions.c.name)
            .where(
                _versions.c.created_at >= since, _versions.c.state.in_(("candidate", "accepted"))
            )
            .order_by(_versions.c.created_at.desc())
            .limit(_MOST_CANDIDATES)
        )
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def folder(self, name: str) -> Path:
        """The version's files in a local folder, checked. Raises VersionError or StorageError."""
        version = self.get(name)
        if version.name == self.base_name:
            return self._base
        if version.state == "pruned":
            raise VersionError(f"Version {version.name} was pruned: its files are gone.")
        if version.state != "base":
            return self.store.fetch(version.name, version.sums)
        folder = base_folder(version.location)
        if files.read_sums(folder) != dict(version.sums):
            raise VersionError(
                f"Version {version.name} is no longer at {version.location!r}: another checkpoint "
                "took its place."
            )
        return folder

    # -- champions

    def last_promotion(self) -> int:
        """Number of the newest promotion; changes with every one. One cheap look."""
        with self.database.read() as connection:
            return log.last(connection)

    def champions(self) -> Champions:
        """Who serves whom."""
        with self.database.read() as connection:
            return Champions.after(log.history(connection))

    def history(self, project: str | None = None) -> list[Promotion]:
        """Promotions and rollbacks, oldest first."""
        with self.database.read() as connection:
            return [
                it for it in log.history(connection) if project is None or it.project == project
            ]

    def promote(
        self,
        name: str,
        project: str | None = None,
        *,
        who: str,
        why: str = "",
        instead_of: str | None = None,
        anyway: bool = False,
        alongside: Alongside | None = None,
    ) -> Promotion:
        """Make a version the champion. One that is it already: the promotion that stands.

        project: key, EVERYONE, or None for the version's own. instead_of: the champion that the
        decision rests on (BASE counts); if another serves by now, nothing is done. anyway: even a
        version that the gate rejected. Raises VersionError.
        """
        version = self.get(name)
        owner = version.project if project is None else project
        if version.state == "rejected" and not anyway:
            raise VersionError(
                f"The gate rejected {version.name}. To promote it all the same, say --anyway."
            )
        if version.in_store and not self.store.has(version.name):
            raise VersionError(f"The files of version {version.name} are not in the store.")
        base = self.base_name
        becomes = BASE if version.name == base and owner == EVERYONE else version.name
        with log.deciding(self.database) as connection:
            if alongside:
                alongside(connection)
            # Under the lock: nobody prunes it while it is promoted.
            if version.name in log.pruned(connection):
                raise VersionError(f"Version {version.name} was pruned: its files are gone.")
            history = log.history(connection)
            champions = Champions.after(history)
            serves = champions.of_owner(owner)
            now = serves or champions.of_owner(EVERYONE) or base
            if instead_of is not None and now != (instead_of or base):
                raise VersionError(
                    f"{now} serves by now, not {instead_of or base}: compare again before "
                    "promoting."
                )
            stands = [it for it in history if it.project == owner]
            if stands and serves == becomes:
                return stands[-1]
            if owner == EVERYONE and serves == becomes:
                raise VersionError(f"{base} serves already: it is what the settings name.")
            return log.append(connection, owner, "promotion", becomes, serves, who, why)

    def rollback(self, project: str = EVERYONE, *, who: str, why: str = "") -> Promotion:
        """Take the newest promotion that stands back. Raises VersionError where none does."""
        with log.deciding(self.database) as connection:
            champion = Champions.after(log.history(connection)).by_project.get(project)
            if champion is None or not champion.line:
                whose = f"of project {project}" if project else "for all projects"
                raise VersionError(f"No promotion {whose} is left to take back.")
            gone = log.pruned(connection)
            left = [it for it in champion.line[:-1] if it not in gone]
            back = left[-1] if left else BASE
            return log.append(connection, project, "rollback", back, champion.version, who, why)

    @property
    def base_name(self) -> str:
        """The version of the checkpoint that the settings name."""
        return str(files.about(self._base)["version"])

    def project_key(self, written: str | int) -> str:
        """The key of a project, from its number or the key itself. Raises VersionError."""
        project = Project.read(written)
        if project.created:
            return project.key
        with self.database.read() as connection:
            query = select(_projects.c.key).where(_projects.c.project_id == project.id)
            keys = list(connection.execute(query).scalars())
        if len(keys) > 1:
            raise VersionError(
                f"There are several projects {project.id}: say which, {' or '.join(keys)}."
            )
        if not keys:
            raise VersionError(f"No project {project.id} has connected to this backend.")
        return str(keys[0])

    # -- pruning

    def in_progress(self, now: datetime | None = None) -> set[str]:
        """Versions that objects in the making began with."""
        since = (now or datetime.now(UTC)) - GOES_ON_FOR
        query = (
            select(_targets.c.model_version)
            .where(_targets.c.state.in_(("open", "kept")), _targets.c.updated_at >= since)
            .distinct()
        )
        with self.database.read() as connection:
            return set(connection.execute(query).scalars()) - {""}

    def prune(
        self, *, keep: int = pruning.KEEP, now: datetime | None = None, try_only: bool = False
    ) -> list[Version]:
        """Delete the files of versions that nobody needs (see pruning.py); gives those versions."""
        now = now or datetime.now(UTC)
        in_progress = self.in_progress(now)
        with log.deciding(self.database) as connection:
            everyone = [Version(**row) for row in connection.execute(select(_versions)).mappings()]
            champions = Champions.after(log.history(connection))
            goes = pruning.prunable(everyone, champions, in_progress, keep=keep, now=now)
            if try_only:
                return goes
            # First the rows: from here on nobody can promote them.
            names = [it.name for it in goes]
            connection.execute(
                update(_versions).where(_versions.c.name.in_(names)).values(state="pruned")
            )
        half_way = [it.name for it in everyone if it.state == "pruned" and it.size_bytes]
        for name in half_way + names:
            self.store.delete(name)
            with self.database.write() as connection:
                here = (_versions.c.name == name) & (_versions.c.state == "pruned")
                connection.execute(update(_versions).where(here).values(size_bytes=0))
        self.store.sweep()
        return goes

    # -- inside

    def _registered(self, location: str) -> Version:
        """The version of a base; its row is made when first asked for."""
        folder = base_folder(location)
        about = files.about(folder)
        known = self._known(about["version"])
        if known is not None:
            return known
        row = self._row(folder, about, state="base", location=location)
        with self.database.write() as connection:
            # Servers that start together all make it.
            made = insert_of(connection, _versions).values(row)
            connection.execute(made.on_conflict_do_nothing())
        return Version(**row)

    def _known(self, name: str) -> Version | None:
        with self.database.read() as connection:
            query = select(_versions).where(_versions.c.name == name)
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else Version(**row)

    @staticmethod
    def _row(folder: Path, about: Mapping[str, Any], **told: Any) -> dict[str, Any]:
        sums = files.read_sums(folder)
        return {
            "name": about["version"],
            "project": EVERYONE,
            "parent": about.get("parent") or "",
            "location": "",
            "sums": sums,
            "size_bytes": sum((folder / file).stat().st_size for file in sums),
            "data": {},
            "metrics": about.get("metrics") or {},
            "gate": None,
            "created_at": datetime.now(UTC),
            "created_by": "",
            **told,
        }


def base_folder(location: str) -> Path:
    """Where the checkpoint of the settings lies."""
    return files.SHIPPED_FOLDER if location == files.SHIPPED else Path(location).expanduser()
