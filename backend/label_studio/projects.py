"""Connected projects, as ``/setup`` last described them: Label Studio, config, title."""

import hashlib
from datetime import UTC, datetime

from sqlalchemy import Table, select, update

from backend.db.engine import Database, insert_of
from backend.db.models.core import ProjectRow
from backend.label_studio.payloads import Project, SetupRequest

_projects: Table = ProjectRow.__table__  # type: ignore[assignment]


class Projects:
    """The table of projects. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, request: SetupRequest) -> None:
        """Keep what ``/setup`` told. Label Studio asks often; an unchanged row is left alone."""
        told = {
            "hostname": request.hostname,
            "access_token": request.access_token,
            "label_config": request.label_config,
            "config_hash": hashlib.sha256(request.label_config.encode()).hexdigest(),
            "extra_params": dict(request.extra_params),
        }
        columns = [getattr(ProjectRow, name) for name in told]
        with self._database.read() as connection:
            known = connection.execute(
                select(*columns).where(ProjectRow.key == request.project.key)
            ).one_or_none()
        if known is not None and known._asdict() == told:
            return
        now = datetime.now(UTC)
        with self._database.write() as connection:
            connection.execute(
                insert_of(connection, _projects)
                .values(
                    key=request.project.key,
                    project_id=request.project.id,
                    **told,
                    created_at=now,
                    updated_at=now,
                )
                .on_conflict_do_update(
                    index_elements=[ProjectRow.key], set_={**told, "updated_at": now}
                )
            )

    def call(self, project: Project, title: str) -> None:
        """Remember what a connected project is called in Label Studio."""
        renamed = (ProjectRow.key == project.key) & (ProjectRow.title != title)
        with self._database.read() as connection:
            if connection.execute(select(ProjectRow.key).where(renamed)).first() is None:
                return
        with self._database.write() as connection:
            connection.execute(update(ProjectRow).where(renamed).values(title=title))

    def announced(self, project_id: int) -> tuple[str, str] | None:
        """Hostname and token that ``/setup`` told for a project, the newest."""
        with self._database.read() as connection:
            row = connection.execute(
                select(ProjectRow.hostname, ProjectRow.access_token)
                .where(ProjectRow.project_id == project_id)
                .order_by(ProjectRow.updated_at.desc())
                .limit(1)
            ).one_or_none()
        return None if row is None else (row.hostname, row.access_token)

    def label_config(self, project: Project) -> str:
        """The labeling config that ``/setup`` told; '' for a project that never connected."""
        with self._database.read() as connection:
            found = connection.execute(
                select(ProjectRow.label_config)
                .where(
                    (ProjectRow.key == project.key)
                    if project.created
                    else (ProjectRow.project_id == project.id)
                )
                .order_by(ProjectRow.updated_at.desc())
                .limit(1)
            ).scalar_one_or_none()
        return found or ""
