"""Telling Label Studio which version serves a project, whenever that has changed.

Label Studio orders tasks by uncertainty only where its project's ``model_version`` is that of the
predictions, and takes only a version that is the title of a connected backend, so both are set.
What was told is a row for each project; where it differs from the champion it is told, by a task of
the worker now and then: a Label Studio that is away is told when it is back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, insert, select, update

from backend.db.models.core import ProjectRow
from backend.db.models.registry import AnnouncementRow
from backend.errors import LabelStudioError
from backend.label_studio.client import LabelStudio
from backend.label_studio.credentials import backend_login, load_credentials
from backend.label_studio.payloads import Project
from backend.label_studio.projects import LabelStudioHosts
from backend.registry.records import EVERYONE
from backend.registry.versions import Registry
from backend.settings import Settings
from model.errors import PhraseClickError

_log = logging.getLogger(__name__)

_FIRST_PAUSE = timedelta(seconds=10)
_LONGEST_PAUSE = timedelta(minutes=5)

_announcements: Table = AnnouncementRow.__table__  # type: ignore[assignment]


@dataclass(frozen=True)
class _Due:
    """A project whose Label Studio is to be told."""

    key: str
    project_id: int
    version: str
    attempts: int


class Announcer:
    """See the module. Two at once tell the same twice, which does no harm."""

    def __init__(
        self,
        registry: Registry,
        hosts: LabelStudioHosts,
        settings: Settings,
        told: Callable[[str], None] = lambda project: None,
    ) -> None:
        """told: is called with the key of each project whose Label Studio was told."""
        self._registry = registry
        self._told = told
        self._hosts = hosts
        self._settings = settings

    def announce(self, now: datetime | None = None) -> int:
        """Tell what is to be told by now; to how many projects that went well."""
        now = now or datetime.now(UTC)
        told = 0
        for due in self._due(now):
            try:
                self._tell(due)
            except Exception as error:  # one Label Studio must not keep the others from theirs
                foreseen = isinstance(error, PhraseClickError)
                _log.warning(
                    "Label Studio was not told that %s serves project %s: %s",
                    due.version,
                    due.key,
                    error,
                    exc_info=not foreseen,
                )
                self._note_failure(due, str(error), now)
            else:
                _log.info("Label Studio knows that %s serves project %s", due.version, due.key)
                self._note(due, version=due.version, told_at=now, attempts=0, try_at=None, error="")
                self._told(due.key)
                told += 1
        return told

    def _due(self, now: datetime) -> list[_Due]:
        champions = self._registry.champions()
        with self._registry.database.read() as connection:
            projects = connection.execute(select(ProjectRow.key, ProjectRow.project_id)).all()
            rows = connection.execute(select(_announcements)).all()
        noted = {row.project: row for row in rows}
        due = []
        for key, project_id in projects:
            row = noted.get(key)
            # One that has never had a champion was told its version when it was connected.
            if row is None and not {key, EVERYONE} & set(champions.by_project):
                continue
            version = champions.of(Project.read(key)) or self._registry.base_name
            told = row is not None and row.version == version
            later = row is not None and row.try_at is not None and row.try_at > now
            if not told and not later:
                attempts = row.attempts if row is not None else 0
                due.append(_Due(key, project_id, version, attempts))
        return due

    def _tell(self, due: _Due) -> None:
        label_studio = self._hosts.of(due.project_id)
        ours = self._ours(label_studio, due)
        if ours.get("title") != due.version:
            label_studio.patch_ml_backend(
                ours["id"],
                url=ours["url"],
                project=due.project_id,
                title=due.version,
                **backend_login(self._settings),
            )
        if label_studio.project(due.project_id).get("model_version") != due.version:
            label_studio.patch_project(due.project_id, model_version=due.version)

    def _ours(self, label_studio: LabelStudio, due: _Due) -> dict[str, Any]:
        """This backend among those of the project: where connect put it, or by what it serves."""
        backends = label_studio.ml_backends(due.project_id)
        kept = load_credentials(self._settings).get(due.project_id)
        names = {it.name for it in self._registry.all()} | {self._registry.base_name}
        for backend in backends:
            if kept is not None and backend["url"].rstrip("/") == kept.backend_url.rstrip("/"):
                return backend
        for backend in backends:
            if names & {backend.get("model_version"), backend.get("title")}:
                return backend
        raise LabelStudioError(
            f"Project {due.project_id} has no backend that serves a version of ours. "
            f"Run phraseclick connect --project {due.project_id}."
        )

    def _note_failure(self, due: _Due, error: str, now: datetime) -> None:
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(due.attempts, 10))
        self._note(due, attempts=due.attempts + 1, try_at=now + pause, error=error)

    def _note(self, due: _Due, **values: Any) -> None:
        with self._registry.database.write() as connection:
            here = _announcements.c.project == due.key
            changed = connection.execute(update(_announcements).where(here).values(**values))
            if not changed.rowcount:
                row = {"version": "", "attempts": 0, "error": "", **values}
                connection.execute(insert(_announcements).values(project=due.key, **row))
