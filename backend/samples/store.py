"""The samples of accepted labels: the same rows, whatever comes, in whatever order, however often.

Of each annotation the newest version counts, by Label Studio's own ``updated_at``; between two
tellings of one version the later answer of Label Studio's API does, and a webhook's digest decides
the rest. A deletion leaves a gravestone, which only an answer of Label Studio's asked for after it
can lift. So every fact is a maximum over all that was heard, and a maximum knows no order.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.contract import Project
from backend.database import Database
from backend.memory.masks import PackedMask
from backend.samples.annotation import Annotation, News, Region
from backend.samples.prompts import Prompts, prompts_of
from backend.tables import (
    AnnotatedPictureRow,
    AnnotatedTaskRow,
    AnnotationRow,
    ProjectRow,
    SampledProjectRow,
    SampleRow,
)

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
# What a webhook told so shortly before Label Studio was asked may have come in between.
_JUST_BEFORE = timedelta(minutes=1)

_projects: Table = SampledProjectRow.__table__  # type: ignore[assignment]
_tasks: Table = AnnotatedTaskRow.__table__  # type: ignore[assignment]
_annotations: Table = AnnotationRow.__table__  # type: ignore[assignment]
_pictures: Table = AnnotatedPictureRow.__table__  # type: ignore[assignment]
_samples: Table = SampleRow.__table__  # type: ignore[assignment]


@dataclass(frozen=True)
class _Made:
    """An annotation with its masks read and its prompts found, ready to be written."""

    regions: list[tuple[Region, PackedMask, int]]
    left_out: dict[str, int]
    prompts: dict[str, Prompts]


class SampleStore:
    """The tables of samples. Thread-safe; processes share the database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def settle(self, news: News, now: datetime | None = None) -> None:
        """Take in what a webhook said."""
        now = now or datetime.now(UTC)
        made = self._make(news.project, news.annotations, None)
        with self.database.write() as connection:
            for key in self._keys(connection, news):
                lock(connection, key)
                if news.project_gone:
                    _bury_project(connection, key, now)
                    continue
                _note_config(connection, key, news.label_config, news.config_at)
                for annotation in news.annotations:
                    _take(connection, key, annotation, made.get(annotation.id), None, now)
                for task_id in news.gone_tasks:
                    _bury_task(connection, key, task_id, now)
                _bury(connection, key, news.gone_annotations, now)

    def told(
        self,
        project: Project,
        task_id: int,
        annotations: Sequence[Annotation],
        *,
        asked_at: datetime,
        mark: str = "",
    ) -> None:
        """Take in all annotations of a task as Label Studio's API gave them: what it did not give
        is gone. ``mark``: how the task looked in the list before it was asked for."""
        made = self._make(project, annotations, asked_at)
        given = {annotation.id for annotation in annotations}
        with self.database.write() as connection:
            lock(connection, project.key)
            _stands_again(connection, project.key, task_id, asked_at)
            for annotation in annotations:
                found = made.get(annotation.id)
                _take(connection, project.key, annotation, found, asked_at, asked_at)
            of_task = _annotations.c.task_id == task_id
            missing = set(_living(connection, project.key, of_task)) - given
            before = _annotations.c.seen_at < asked_at - _JUST_BEFORE
            gone = missing & set(_living(connection, project.key, of_task, before))
            _bury(connection, project.key, sorted(gone), asked_at)
            # With one that is missing or only just came, this is to be asked again next time.
            _mark(connection, project.key, task_id, "" if missing - gone else mark, asked_at)

    def tasks_gone(self, project: Project, tasks: Iterable[int], *, asked_at: datetime) -> None:
        """Label Studio was asked for these tasks and has them no more."""
        with self.database.write() as connection:
            lock(connection, project.key)
            for task_id in tasks:
                _bury_task(connection, project.key, task_id, asked_at)

    def config(self, project: Project, label_config: str, at: datetime | None) -> None:
        """Note the project's labeling config, unless a newer one is known."""
        with self.database.write() as connection:
            lock(connection, project.key)
            _note_config(connection, project.key, label_config, at)

    def live_tasks(self, project: Project) -> set[int]:
        """The tasks that have an annotation, as far as is known."""
        query = select(_annotations.c.task_id).where(
            _annotations.c.project == project.key, _annotations.c.gone_at.is_(None)
        )
        with self.database.read() as connection:
            return {number for number in connection.execute(query).scalars() if number is not None}

    def marks(
        self, project: Project, tasks: Collection[int]
    ) -> dict[int, tuple[str, datetime | None]]:
        """Of those tasks that were asked for: how they looked in the list, and when."""
        query = select(_tasks.c.task_id, _tasks.c.mark, _tasks.c.asked_at).where(
            _tasks.c.project == project.key, _tasks.c.task_id.in_(list(tasks))
        )
        with self.database.read() as connection:
            return {row.task_id: (row.mark, row.asked_at) for row in connection.execute(query)}

    # -- inside

    def _make(
        self, project: Project, annotations: Sequence[Annotation], asked_at: datetime | None
    ) -> dict[int, _Made]:
        """Read the masks of those that would be written, before anything is locked."""
        made = {}
        for annotation in annotations:
            with self.database.read() as connection:
                row = _row(connection, project.key, annotation.id)
            if not _newer(annotation, asked_at, row):
                continue
            regions, left_out = annotation.drawn()
            masks = {region.id: mask for region, mask, _ in regions}
            with self.database.read() as connection:
                prompts = prompts_of(connection, project, annotation.task_id, annotation.id, masks)
            made[annotation.id] = _Made(regions, left_out, prompts)
        return made

    @staticmethod
    def _keys(connection: Connection, news: News) -> list[str]:
        """The project's key. A deleted project is named by its number alone, which must be that of
        one connected project: on two Label Studios there can be two of them."""
        if not news.project_gone or news.project.created:
            return [news.project.key]
        query = select(ProjectRow.key).where(ProjectRow.project_id == news.project.id)
        known = list(connection.execute(query).scalars())
        return known if len(known) == 1 else []


def lock(connection: Connection, key: str) -> Row[Any]:
    """Take a project's lock, and read its row."""
    query = select(_projects).where(_projects.c.key == key).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        values = {"key": key, "label_config": "", "error": ""}
        connection.execute(_insert(connection, _projects, values).on_conflict_do_nothing())
        row = connection.execute(query).one()
    return row


def _take(
    connection: Connection,
    key: str,
    annotation: Annotation,
    made: _Made | None,
    asked_at: datetime | None,
    now: datetime,
) -> None:
    """Write a version where it is the newest; ``made`` is None where it was not, before."""
    row = _row(connection, key, annotation.id)
    if made is None or not _newer(annotation, asked_at, row):
        return
    if _buried(connection, key, annotation.task_id, row, asked_at):
        return
    if asked_at is None:
        # Late news may be of what is gone since; Label Studio is asked about this task next time.
        here = (_tasks.c.project == key) & (_tasks.c.task_id == annotation.task_id)
        connection.execute(update(_tasks).where(here).values(mark=""))
    told = {
        "task_id": annotation.task_id,
        "updated_at": annotation.updated_at,
        "asked_at": asked_at,
        "seen_at": now,
        "digest": annotation.digest,
        "gone_at": None,
    }
    same = row is not None and row.gone_at is None and row.digest == annotation.digest
    if same and row is not None and row.updated_at == annotation.updated_at:
        connection.execute(update(_annotations).where(_this(key, annotation.id)).values(**told))
        return
    told |= {
        "created_at": annotation.created_at,
        "annotator": annotation.annotator,
        "skipped": annotation.skipped,
        "ground_truth": annotation.ground_truth,
        "left_out": made.left_out,
    }
    values = {"project": key, "annotation_id": annotation.id, **told}
    connection.execute(
        _insert(connection, _annotations, values).on_conflict_do_update(
            index_elements=[_annotations.c.project, _annotations.c.annotation_id], set_=told
        )
    )
    _write_pictures(connection, key, annotation, made, row)
    _write_samples(connection, key, annotation, made)


def _write_pictures(
    connection: Connection, key: str, annotation: Annotation, made: _Made, before: Row[Any] | None
) -> None:
    """A new version was drawn on the picture of its own day, so that is looked at anew."""
    here = (_pictures.c.project == key) & (_pictures.c.annotation_id == annotation.id)
    looked: dict[tuple[str, str], Mapping[str, Any]] = {}
    if before is not None and before.updated_at == annotation.updated_at:
        for row in connection.execute(select(_pictures).where(here)).mappings():
            looked[row["image"], row["address"]] = dict(row)
    connection.execute(delete(_pictures).where(here))
    for image in sorted({region.image for region, _, _ in made.regions}):
        address = annotation.addresses.get(image, "")
        fresh = {
            "project": key,
            "annotation_id": annotation.id,
            "image": image,
            "address": address,
            "state": "unseen",
            "key": "",
            "attempts": 0,
            "error": "",
        }
        connection.execute(insert(_pictures).values(looked.get((image, address), fresh)))


def _write_samples(connection: Connection, key: str, annotation: Annotation, made: _Made) -> None:
    here = (_samples.c.project == key) & (_samples.c.annotation_id == annotation.id)
    connection.execute(delete(_samples).where(here))
    rows = []
    for number, (region, mask, area) in enumerate(made.regions):
        prompts = made.prompts.get(region.id, Prompts())
        row = {
            "project": key,
            "annotation_id": annotation.id,
            "number": number,
            "region_id": region.id,
            "image": region.image,
            "brush": region.brush,
            "label": region.label,
            "origin": region.origin,
            "phrase": prompts.phrase,
            "clicks": [list(click) for click in prompts.clicks],
            "width": mask.width,
            "height": mask.height,
            "area": area,
            "mask": mask.data,
        }
        rows.append(row)
    if rows:
        connection.execute(insert(_samples), rows)


def _newer(annotation: Annotation, asked_at: datetime | None, row: Row[Any] | None) -> bool:
    if row is None or row.updated_at is None:
        return True
    ours = (annotation.updated_at, asked_at or _NEVER, annotation.digest)
    theirs: tuple[datetime, datetime, str] = (
        row.updated_at,
        row.asked_at or _NEVER,
        row.digest,
    )
    return ours > theirs


def _buried(
    connection: Connection,
    key: str,
    task_id: int,
    row: Row[Any] | None,
    asked_at: datetime | None,
) -> bool:
    """Whether annotation, task or project is gone, and not there again when Label Studio was asked
    (one that was set back to a backup gives out old numbers again)."""
    project = select(_projects.c.gone_at).where(_projects.c.key == key)
    task = select(_tasks.c.gone_at).where(_tasks.c.project == key, _tasks.c.task_id == task_id)
    deaths = [
        None if row is None else row.gone_at,
        connection.execute(task).scalar(),
        connection.execute(project).scalar(),
    ]
    return any(death is not None and (asked_at or _NEVER) <= death for death in deaths)


def _bury(connection: Connection, key: str, numbers: Iterable[int], now: datetime) -> None:
    """Annotations are gone: their samples go, their graves stay."""
    for number in numbers:
        values = {
            "project": key,
            "annotation_id": number,
            "digest": "",
            "skipped": False,
            "ground_truth": False,
            "left_out": {},
            "gone_at": now,
        }
        connection.execute(_insert(connection, _annotations, values).on_conflict_do_nothing())
        for table in (_samples, _pictures):
            here = (table.c.project == key) & (table.c.annotation_id == number)
            connection.execute(delete(table).where(here))
        standing = _this(key, number) & _annotations.c.gone_at.is_(None)
        connection.execute(update(_annotations).where(standing).values(gone_at=now))


def _bury_task(connection: Connection, key: str, task_id: int, now: datetime) -> None:
    values = {"project": key, "task_id": task_id, "mark": "", "gone_at": now}
    connection.execute(_insert(connection, _tasks, values).on_conflict_do_nothing())
    here = (_tasks.c.project == key) & (_tasks.c.task_id == task_id)
    standing = here & _tasks.c.gone_at.is_(None)
    connection.execute(update(_tasks).where(standing).values(gone_at=now))
    _bury(connection, key, _living(connection, key, _annotations.c.task_id == task_id), now)


def _bury_project(connection: Connection, key: str, now: datetime) -> None:
    standing = (_projects.c.key == key) & _projects.c.gone_at.is_(None)
    connection.execute(update(_projects).where(standing).values(gone_at=now))
    _bury(connection, key, _living(connection, key), now)


def _living(connection: Connection, key: str, *where: Any) -> list[int]:
    query = select(_annotations.c.annotation_id).where(
        _annotations.c.project == key, _annotations.c.gone_at.is_(None), *where
    )
    return list(connection.execute(query).scalars())


def _stands_again(connection: Connection, key: str, task_id: int, asked_at: datetime) -> None:
    """Label Studio has project and task after all."""
    for table, here in (
        (_projects, _projects.c.key == key),
        (_tasks, (_tasks.c.project == key) & (_tasks.c.task_id == task_id)),
    ):
        lifted = here & (table.c.gone_at < asked_at)
        connection.execute(update(table).where(lifted).values(gone_at=None))


def _mark(connection: Connection, key: str, task_id: int, mark: str, asked_at: datetime) -> None:
    told = {"mark": mark[:80], "asked_at": asked_at}
    values = {"project": key, "task_id": task_id, **told}
    connection.execute(
        _insert(connection, _tasks, values).on_conflict_do_update(
            index_elements=[_tasks.c.project, _tasks.c.task_id], set_=told
        )
    )


def _note_config(connection: Connection, key: str, label_config: str, at: datetime | None) -> None:
    if not label_config:
        return
    newer = _projects.c.config_at.is_(None) | (_projects.c.config_at < (at or _NEVER))
    connection.execute(
        update(_projects)
        .where(_projects.c.key == key, newer)
        .values(label_config=label_config, config_at=at or _NEVER)
    )


def _this(key: str, number: int) -> Any:
    return (_annotations.c.project == key) & (_annotations.c.annotation_id == number)


def _row(connection: Connection, key: str, number: int) -> Row[Any] | None:
    return connection.execute(select(_annotations).where(_this(key, number))).first()


def _insert(connection: Connection, table: Table, values: Mapping[str, Any]) -> Any:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table).values(**values)
