"""Connected projects as ``/setup`` last described them, and the Label Studio that each is in."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from cachetools import LRUCache
from sqlalchemy import Connection, delete, exists, func, select, update

from backend.db.engine import Database, insert_of
from backend.db.models import EventRow, ProjectRow, SampledProjectRow
from backend.errors import LabelStudioError, ReportError, TooManyError
from backend.label_studio.client import LabelStudio
from backend.label_studio.credentials import load_credentials
from backend.label_studio.payloads import Project, SetupRequest, number_of
from backend.settings import Settings

_log = logging.getLogger(__name__)

# Projects that announced themselves and have neither labels nor clicks yet.
_MAX_UNUSED = 200
_GIVEN_UP = timedelta(days=7)
_MAX_CLIENTS = 256


@dataclass(frozen=True)
class Projects:
    """The table of projects. Thread-safe."""

    database: Database

    def remember(self, request: SetupRequest, *, logged_in: bool = True) -> None:
        """Save a ``/setup`` request. Label Studio repeats it often; it is written if it differs.

        logged_in: the request came with the backend's password. Without it, what a project first
        announced stays until an admin connects the project again: anyone who reaches ``/setup``
        could otherwise move a project to a host of their own, or give it other labels. Only who
        repeats the project's token may change its labeling config.

        Raises TooManyError for a new project without the password, when too many wait for a use.
        """
        values = {
            "hostname": request.hostname,
            "access_token": request.access_token,
            "label_config": request.label_config,
        }
        columns = [getattr(ProjectRow, name) for name in values]
        query = select(*columns).where(ProjectRow.key == request.project.key)
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        known = None if row is None else row._asdict()
        if known == values:
            return
        if known is not None and known["hostname"] and not logged_in:
            of_project = {name: known[name] for name in ("hostname", "access_token")}
            if not (of_project.items() <= values.items() and known["access_token"]):
                _log.warning(
                    "Project %s: /setup without a password announced another address, token or "
                    "labeling config than that of %s. It is ignored. If it is right, run "
                    "phraseclick connect.",
                    request.project.key,
                    known["hostname"],
                )
                return
        now = datetime.now(UTC)
        with self.database.write() as connection:
            if known is None:
                _make_room(connection, logged_in=logged_in)
            connection.execute(
                insert_of(connection, ProjectRow)
                .values(
                    key=request.project.key,
                    project_id=request.project.id,
                    **values,
                    created_at=now,
                    updated_at=now,
                )
                .on_conflict_do_update(
                    index_elements=[ProjectRow.key], set_={**values, "updated_at": now}
                )
            )

    def knows(self, project: Project) -> bool:
        with self.database.read() as connection:
            return any(
                connection.execute(select(row.key).where(row.key == project.key)).first()
                for row in (ProjectRow, SampledProjectRow)
            )

    def admits(self, project: Project) -> bool:
        """Whether labels of the project are taken in: it is known, or one of a bounded number that
        sent labels without having connected. Without a webhook secret, anyone can invent more."""
        if self.knows(project):
            return True
        connected = exists().where(ProjectRow.key == SampledProjectRow.key)
        query = select(func.count()).select_from(SampledProjectRow).where(~connected)
        with self.database.read() as connection:
            return connection.execute(query).scalar_one() < _MAX_UNUSED

    def rename(self, project: Project, title: str) -> None:
        renamed = (ProjectRow.key == project.key) & (ProjectRow.title != title)
        with self.database.read() as connection:
            if connection.execute(select(ProjectRow.key).where(renamed)).first() is None:
                return
        with self.database.write() as connection:
            connection.execute(update(ProjectRow).where(renamed).values(title=title))

    def forget_announced(self, number: int) -> None:
        """Have the next ``/setup`` of the projects of this number announce host and token again."""
        with self.database.write() as connection:
            connection.execute(
                update(ProjectRow)
                .where(ProjectRow.project_id == number)
                .values(hostname="", access_token="")
            )

    def announced(self, project: Project) -> tuple[str, str] | None:
        """Hostname and token that a project announced."""
        row = self._row(project)
        return None if row is None else (row.hostname, row.access_token)

    def label_config(self, project: Project) -> str:
        """The labeling config of ``/setup``; '' for a project that was never connected."""
        row = self._row(project)
        return "" if row is None else str(row.label_config)

    def _row(self, project: Project) -> Any:
        """What a project announced; where only its number is known, the first one with it."""
        key, number = ProjectRow.key == project.key, ProjectRow.project_id == project.id
        query = (
            select(ProjectRow.hostname, ProjectRow.access_token, ProjectRow.label_config)
            .where(key if project.created else number)
            .order_by(ProjectRow.created_at)
        )
        with self.database.read() as connection:
            return connection.execute(query.limit(1)).one_or_none()


def _make_room(connection: Connection, *, logged_in: bool) -> None:
    """Keep the number of announced projects that nobody works on within bounds.

    Without the password, only old ones make room: who drops a project could announce it again, with
    another host. Raises TooManyError.
    """
    used = exists().where(SampledProjectRow.key == ProjectRow.key) | exists().where(
        EventRow.project == ProjectRow.key
    )
    query = select(ProjectRow.key).where(~used).order_by(ProjectRow.updated_at.desc())
    unused = connection.execute(query.offset(_MAX_UNUSED - 1)).scalars().all()
    if not unused:
        return
    room = delete(ProjectRow).where(ProjectRow.key.in_(unused))
    if not logged_in:
        room = room.where(ProjectRow.updated_at < datetime.now(UTC) - _GIVEN_UP)
    if not connection.execute(room).rowcount:
        raise TooManyError(
            "Too many projects have connected without being used. Set a password for the backend, "
            "which says who may connect more."
        )


@dataclass(frozen=True)
class LabelStudioHosts:
    """The Label Studio of each project: from the settings, else from ``phraseclick connect``, else
    from ``/setup``. Only the first two are trusted: with a private address, and with secrets.

    The token of the settings is sent only to the address of the settings. Anyone who can reach
    ``/setup`` could otherwise announce a host of their own and receive the token.
    """

    settings: Settings
    # Hostname and token of a project's ``/setup`` request.
    announced: Callable[[Project], tuple[str, str] | None] = lambda project: None
    _lock: Lock = field(default_factory=Lock)
    # One client per host and token: projects share its access token and connections.
    _clients: LRUCache[tuple[str, str, str, bool], LabelStudio] = field(
        default_factory=lambda: LRUCache(_MAX_CLIENTS)
    )

    def of(self, project: Project | int) -> LabelStudio:
        """The Label Studio of a project, or of the one with this number.

        Raises LabelStudioError if none is known.
        """
        project = Project(project) if isinstance(project, int) else project
        hostname, token = self.announced(project) or ("", "")
        ours = self.settings.label_studio_token.get_secret_value()
        if self.settings.label_studio_url:
            who = (self.settings.label_studio_url, ours or token, hostname, True)
        elif (saved := load_credentials(self.settings).get(project.id)) and saved.belongs(project):
            who = (saved.url, saved.token, hostname, True)
        elif hostname:
            who = (hostname, token, "", False)
        else:
            raise LabelStudioError(
                "The address of Label Studio is unknown. Ask the admin to set "
                "PHRASECLICK_LABEL_STUDIO_URL, or to connect the backend to the project again."
            )
        with self._lock:
            if who not in self._clients:
                url, token, also_at, trusted = who
                private = self.settings.allow_private_addresses
                self._clients[who] = LabelStudio(
                    url, token, also_at=also_at, trusted=trusted, private=private
                )
            return self._clients[who]


def project_keys(connection: Connection) -> list[str]:
    """All projects that connected, were clicked in or sent labels."""
    keys: set[str] = set()
    for column in (ProjectRow.key, SampledProjectRow.key):
        keys.update(connection.execute(select(column)).scalars())
    # A project that was never connected may have been clicked in. Going from key to key along the
    # index is fast even for a long log.
    here: str | None = ""
    while here is not None:
        keys.add(here)
        query = select(func.min(EventRow.project)).where(EventRow.project > here)
        here = connection.execute(query).scalar()
    return sorted(keys - {""})


def project_key(database: Database, written: str | int) -> str:
    """The key of a project, from the key or its number.

    Raises ReportError for an unknown project, or a number that several projects have.
    """
    written = str(written)
    with database.read() as connection:
        known = project_keys(connection)
    if written in known:
        return written
    keys = [key for key in known if written == str(number_of(key))]
    if not keys:
        raise ReportError(
            f"Project {written} is unknown: it has neither connected to this backend nor sent "
            "labels."
        )
    if len(keys) > 1:
        raise ReportError(f"There are several projects {written}: use {' or '.join(keys)}.")
    return keys[0]
