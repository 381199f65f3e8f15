"""Keeps Label Studio's ``model_version`` of each project equal to the version that serves it.

Label Studio orders tasks by uncertainty only if its project's ``model_version`` is that of the
predictions, and accepts only the title of a connected backend, so both are set. One row for each
project records what was last set. A periodic task of the worker compares it with the champion, so a
Label Studio that is unreachable is updated when it is back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from backend.db.engine import upsert
from backend.db.models import AnnouncementRow, ProjectRow
from backend.errors import LabelStudioError
from backend.label_studio.client import LabelStudio
from backend.label_studio.credentials import backend_login, load_credentials
from backend.label_studio.payloads import Project, number_of
from backend.label_studio.projects import LabelStudioHosts
from backend.registry.champions import EVERYONE
from backend.registry.versions import Registry
from backend.settings import Settings
from model.errors import PhraseClickError

_log = logging.getLogger(__name__)

_FIRST_PAUSE = timedelta(seconds=10)
_LONGEST_PAUSE = timedelta(minutes=5)
_AT_ONCE = 8


class LabelStudioSync:
    """Updates Label Studio. Running it twice at the same time does no harm."""

    def __init__(
        self,
        registry: Registry,
        hosts: LabelStudioHosts,
        settings: Settings,
        synced: Callable[[str], None] = lambda project: None,
    ) -> None:
        """synced: called with the key of each project whose Label Studio was updated."""
        self._registry = registry
        self._hosts = hosts
        self._settings = settings
        self._synced = synced

    def run(self, now: datetime | None = None) -> int:
        """Update every project that is due; returns how many succeeded."""
        now = now or datetime.now(UTC)
        # Each project waits for its own Label Studio only; those that failed least come first.
        due = sorted(self._due(now), key=lambda one: one.attempts)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="announce") as pool:
            return sum(pool.map(lambda one: self._succeeds(one, now), due))

    def _succeeds(self, due: AnnouncementRow, now: datetime) -> bool:
        try:
            self._update(due)
        except Exception as error:  # one Label Studio must not block the others
            expected = isinstance(error, PhraseClickError)
            _log.warning(
                "Label Studio could not be updated: version %s serves project %s: %s",
                due.version,
                due.project,
                error,
                exc_info=not expected,
            )
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(due.attempts, 10))
            self._save(due, attempts=due.attempts + 1, try_at=now + pause, error=str(error))
            return False
        _log.info("Label Studio shows that %s serves project %s", due.version, due.project)
        self._save(due, version=due.version, told_at=now, attempts=0, try_at=None, error="")
        self._synced(due.project)
        return True

    def _due(self, now: datetime) -> list[AnnouncementRow]:
        """What Label Studio is to show, and how often that has failed."""
        champions = self._registry.champions()
        database = self._registry.database
        rows = {row.project: row for row in database.records(select(AnnouncementRow))}
        due = []
        for key in database.records(select(ProjectRow.key)):
            # Without any champion so far, connect has set the version.
            if key not in rows and not {key, EVERYONE} & set(champions.by_project):
                continue
            row = rows.get(key, AnnouncementRow(project=key, version="", attempts=0))
            version = champions.of(Project.read(key)) or self._registry.base_name
            # A wait that is longer than any: the clock was set back.
            waits = row.try_at is not None and now < row.try_at <= now + _LONGEST_PAUSE
            if row.version != version and not waits:
                row.version = version
                due.append(row)
        return due

    def _update(self, due: AnnouncementRow) -> None:
        number = number_of(due.project)
        label_studio = self._hosts.of(Project.read(due.project))
        login = backend_login(self._settings)
        if login and not label_studio.trusted:
            # The host only announced itself; the password is for one that an admin named.
            raise LabelStudioError(
                f"Label Studio at {label_studio.url} is not confirmed by an admin. Run phraseclick "
                f"connect --project {number}, or set PHRASECLICK_LABEL_STUDIO_URL."
            )
        backend = self._our_backend(label_studio, due)
        if backend.get("title") != due.version:
            label_studio.patch_ml_backend(
                backend["id"],
                url=backend["url"],
                project=number,
                title=due.version,
                **login,
            )
        if label_studio.project(number).get("model_version") != due.version:
            label_studio.patch_project(number, model_version=due.version)

    def _our_backend(self, label_studio: LabelStudio, due: AnnouncementRow) -> dict[str, Any]:
        """This backend among the project's: by its connected URL, else by the version it serves."""
        number = number_of(due.project)
        backends = label_studio.ml_backends(number)
        connected = load_credentials(self._settings).get(number)
        names = self._registry.names()
        for backend in backends:
            if connected and backend["url"].rstrip("/") == connected.backend_url.rstrip("/"):
                return backend
        for backend in backends:
            if names & {backend.get("model_version"), backend.get("title")}:
                return backend
        raise LabelStudioError(
            f"None of the backends of project {number} serves a version of this one. "
            f"Run phraseclick connect --project {number}."
        )

    def _save(self, due: AnnouncementRow, **values: Any) -> None:
        with self._registry.database.write() as connection:
            upsert(connection, AnnouncementRow, {"project": due.project}, values)
