"""Model versions: registered, judged by the gate, promoted, rolled back, pruned."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, delete, insert, select, update

from backend.db.engine import Database, insert_of, upsert
from backend.db.migrations import open_database
from backend.db.models import GatePictureRow, Promotion, Version
from backend.errors import VersionError
from backend.label_studio.payloads import Project
from backend.label_studio.projects import project_key
from backend.registry import champions as log
from backend.registry.champions import BASE, EVERYONE, Champions
from backend.registry.store import open_store
from backend.settings import Settings
from model import checkpoint_files as files

# Candidates are loaded ahead of their promotion. A gate takes less than this on two cores.
_RECENT = timedelta(hours=1)
_MOST_CANDIDATES = 3

Alongside = Callable[[Connection], None]
"""What belongs in the same transaction. Any exception undoes all of it, so that a job that lost its
lease cannot write half."""

# A name becomes a folder, an object's key and Label Studio's model version.
_NAME = re.compile(r"[\w+@-][\w .+@-]{0,119}", re.ASCII)


class Registry:
    """The registry of versions. Thread-safe; processes share the database and the store."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.store = open_store(settings)
        self._base = base_folder(settings.checkpoint)
        self._base_location = settings.checkpoint

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """A registry with a database connection of its own; close it when done."""
        return cls(open_database(settings), settings)

    def close(self) -> None:
        self.database.close()

    def base(self) -> Version:
        """The checkpoint of the settings, registered when first used."""
        return self._registered(self._base_location)

    def add(
        self,
        folder: Path,
        *,
        project: str = EVERYONE,
        data: Mapping[str, Any] | None = None,
        by: str = "",
        alongside: Alongside | None = None,
    ) -> Version:
        """Register a checkpoint as a candidate: store its files, then write its row. Repeating this
        is fine.

        Args:
            folder: a checkpoint.
            project: the key of the project it is for, or EVERYONE.
            data: any JSON.
            by: who registered it.
            alongside: what belongs in the same transaction.

        Raises:
            CheckpointError: the folder is not a complete checkpoint.
            StorageError: the files cannot be stored.
            VersionError: the name is not allowed, or in use for other files.
        """
        contents = files.read(folder)
        about = files.about(folder)
        name = about["version"]
        if not _NAME.fullmatch(name):
            raise VersionError(
                f"{name!r} is not allowed as a version's name. Use at most 120 letters, digits, "
                "spaces and _ . + @ -. Save the checkpoint under another name."
            )
        row = self._row(
            folder,
            about,
            project=project,
            data=dict(data or {}),
            state="candidate",
            created_by=by[:254],
        )
        known = self._known(name)
        if known is not None and dict(known.sums) != row["sums"]:
            raise VersionError(
                f"Another version {name} exists, with other files. "
                "A version never changes: save the new one under another name."
            )
        if known is not None and known.state != "pruned":
            return known
        self.store.put(name, contents)
        with self.database.write() as connection:
            upsert(connection, Version, {"name": row.pop("name")}, row)
            if alongside:
                alongside(connection)
        return self.get(name)

    def judge(
        self,
        name: str,
        gate: Mapping[str, Any],
        *,
        passed: bool,
        pictures: Mapping[str, bytes] | None = None,
        alongside: Alongside | None = None,
    ) -> None:
        """Record the gate's decision on a candidate. pictures: JPEGs by their names in it."""
        with self.database.write() as connection:
            changed = connection.execute(
                update(Version)
                .where(Version.name == name)
                .values(gate=dict(gate), state="accepted" if passed else "rejected")
            )
            if not changed.rowcount:
                raise VersionError(f"There is no version {name}.")
            # After the versions, as in promote, so that the two cannot deadlock.
            if alongside:
                alongside(connection)
            connection.execute(delete(GatePictureRow).where(GatePictureRow.version == name))
            now = datetime.now(UTC)
            for file, content in (pictures or {}).items():
                row = {"version": name, "name": file, "created_at": now, "content": content}
                connection.execute(insert(GatePictureRow).values(row))

    def gate_pictures(self, name: str) -> dict[str, bytes]:
        """The pictures of a version's verdict that are still stored, by their names in it."""
        query = select(GatePictureRow.name, GatePictureRow.content)
        with self.database.read() as connection:
            rows = connection.execute(query.where(GatePictureRow.version == name)).all()
        return {row.name: row.content for row in rows}

    def get(self, name: str) -> Version:
        """The version with this name or unique prefix; "shipped" and "base" are accepted too.

        Raises VersionError if there is none, or more than one.
        """
        if name == files.SHIPPED:
            return self._registered(files.SHIPPED)
        if name in ("base", self.base_name):
            return self.base()
        known = self._known(name)
        if known is not None:
            return known
        versions = self.all()
        matches = [v for v in versions if name and v.name.startswith(name)]
        if len(matches) == 1:
            return matches[0]
        names = [v.name for v in matches or versions if v.state != "pruned"]
        raise VersionError(
            f"{name!r} could be {' or '.join(names)}."
            if matches
            else f"There is no version {name!r}. Known are: {', '.join(names[:20]) or 'none yet'}."
        )

    def all(self, project: str | None = None) -> list[Version]:
        """Versions, oldest first; of one project together with those that are for everyone."""
        query = select(Version).order_by(Version.created_at, Version.name)
        if project is not None:
            query = query.where(Version.project.in_((EVERYONE, project)))
        return self.database.records(query)

    def names(self) -> set[str]:
        return {version.name for version in self.all()} | {self.base_name}

    def candidates(self, now: datetime | None = None) -> list[str]:
        """Names of versions that may soon be promoted, newest first."""
        since = (now or datetime.now(UTC)) - _RECENT
        query = (
            select(Version.name)
            .where(Version.created_at >= since, Version.state.in_(("candidate", "accepted")))
            .order_by(Version.created_at.desc())
            .limit(_MOST_CANDIDATES)
        )
        return self.database.records(query)

    def folder(self, name: str) -> Path:
        """The version's files in a local folder, verified. Raises VersionError or StorageError."""
        version = self.get(name)
        if version.name == self.base_name:
            return self._base
        if version.state == "pruned":
            raise VersionError(f"Version {version.name} was pruned: its files are deleted.")
        if version.state != "base":
            return self.store.fetch(version.name, version.sums)
        folder = base_folder(version.location)
        if files.read_sums(folder) != dict(version.sums):
            raise VersionError(
                f"Version {version.name} is no longer at {version.location!r}: another checkpoint "
                "has replaced it."
            )
        return folder

    def last_promotion(self) -> int:
        """Number of the newest promotion or rollback. A cheap query."""
        with self.database.read() as connection:
            return log.last_promotion(connection)

    def champions(self) -> Champions:
        with self.database.read() as connection:
            return Champions.after(log.history(connection))

    def serves(self, project: str) -> str:
        """The version that serves a project (its key, or EVERYONE)."""
        champions = self.champions()
        champion = champions.of(Project.read(project)) if project else champions.of_owner(EVERYONE)
        return champion or self.base_name

    def history(self, project: str | None = None) -> list[Promotion]:
        """Promotions and rollbacks, oldest first."""
        with self.database.read() as connection:
            return log.history(connection, project)

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
        """Make a version the champion. If it already is, returns the promotion in force.

        Args:
            name: as in ``get``.
            project: a key, EVERYONE, or None for the version's own.
            who, why: for the log.
            instead_of: the champion that it was compared with, or BASE.
            anyway: promote even a version that the gate rejected.
            alongside: what belongs in the same transaction.

        Raises:
            VersionError: it was rejected or pruned, or ``instead_of`` no longer serves.
        """
        version = self.get(name)
        owner = version.project if project is None else project
        if version.state == "rejected" and not anyway:
            raise VersionError(
                f"The gate rejected {version.name}. To promote it anyway, add --anyway."
            )
        if version.in_store and not self.store.has(version.name):
            raise VersionError(f"The files of version {version.name} are not in the store.")
        base = self.base_name
        becomes = BASE if version.name == base and owner == EVERYONE else version.name
        with log.locked(self.database) as connection:
            if alongside:
                alongside(connection)
            # Checked under the lock, so that it cannot be pruned at the same time.
            if version.name in log.pruned(connection):
                raise VersionError(f"Version {version.name} was pruned: its files are deleted.")
            history = log.history(connection)
            champions = Champions.after(history)
            serves = champions.of_owner(owner)
            now = serves or champions.of_owner(EVERYONE) or base
            if instead_of is not None and now != (instead_of or base):
                raise VersionError(
                    f"{now} serves now, not {instead_of or base}: compare again before promoting."
                )
            own = [promotion for promotion in history if promotion.project == owner]
            if own and serves == becomes:
                return own[-1]
            if owner == EVERYONE and serves == becomes:
                raise VersionError(f"{base} already serves: the settings name it.")
            return log.append(connection, owner, "promotion", becomes, serves, who, why)

    def rollback(self, project: str = EVERYONE, *, who: str, why: str = "") -> Promotion:
        """Undo the newest promotion in force. Raises VersionError if there is none."""
        with log.locked(self.database) as connection:
            champion = Champions.after(log.history(connection)).by_project.get(project)
            if champion is None or not champion.line:
                scope = f"of project {project}" if project else "for all projects"
                raise VersionError(f"There is no promotion {scope} to roll back.")
            pruned = log.pruned(connection)
            earlier = [version for version in champion.line[:-1] if version not in pruned]
            back = earlier[-1] if earlier else BASE
            return log.append(connection, project, "rollback", back, champion.version, who, why)

    @property
    def base_name(self) -> str:
        """The version of the checkpoint that the settings name."""
        return str(files.about(self._base)["version"])

    def _registered(self, location: str) -> Version:
        """The version of a base; its row is added when first used."""
        folder = base_folder(location)
        about = files.about(folder)
        known = self._known(about["version"])
        if known is not None:
            return known
        row = self._row(folder, about, state="base", location=location)
        with self.database.write() as connection:
            # Servers that start at the same time all add it.
            added = insert_of(connection, Version).values(row)
            connection.execute(added.on_conflict_do_nothing())
        return Version(**row)

    def _known(self, name: str) -> Version | None:
        with self.database.session() as session:
            return session.get(Version, name)

    @staticmethod
    def _row(folder: Path, about: Mapping[str, Any], **values: Any) -> dict[str, Any]:
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
            **values,
        }


def base_folder(location: str) -> Path:
    """The folder of the checkpoint that the settings name: a path, or "shipped"."""
    return files.SHIPPED_FOLDER if location == files.SHIPPED else Path(location).expanduser()


def resolve(name: str, settings: Settings) -> Path:
    """The local folder of a version, fetched from the store if needed, and verified.

    name: a version or its unique prefix, "shipped", "base" (the checkpoint of the settings),
    "champion" or "champion:6" (of project 6), or a checkpoint's folder. Raises VersionError,
    StorageError, CheckpointError, or JobError for an unknown project.
    """
    if name == files.SHIPPED:
        return files.SHIPPED_FOLDER
    if name == "base":
        return base_folder(settings.checkpoint)
    folder = Path(name).expanduser()
    if folder.is_dir() or folder.is_absolute():
        files.read_sums(folder)
        return folder
    registry = Registry.open(settings)
    try:
        champion, _, project = name.partition(":")
        if champion != "champion":
            return registry.folder(name)
        key = project_key(registry.database, project) if project else EVERYONE
        return registry.folder(registry.serves(key))
    finally:
        registry.close()
