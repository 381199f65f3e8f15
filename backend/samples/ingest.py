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

from sqlalchemy import Connection, Row, delete, insert, select, update

from backend.db import sample_tables
from backend.db.engine import Database, insert_of
from backend.db.models.core import ProjectRow
from backend.db.packed_mask import PackedMask
from backend.label_studio.annotations import Annotation, LabelChange, Region
from backend.label_studio.payloads import Project
from backend.reports import annotation_metadata as making
from backend.samples import tombstones
from backend.samples.prompts import Prompts, prompts_of

# What a webhook told so shortly before Label Studio was asked may have come in between.
_JUST_BEFORE = timedelta(minutes=1)


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

    def settle(self, change: LabelChange, now: datetime | None = None) -> None:
        """Take in what a webhook said."""
        now = now or datetime.now(UTC)
        made = self._make(change.project, change.annotations, None)
        with self.database.write() as connection:
            for key in self._keys(connection, change):
                sample_tables.lock(connection, key)
                if change.project_gone:
                    tombstones.bury_project(connection, key, now)
                    continue
                _note_config(connection, key, change.label_config, change.config_at)
                for annotation in change.annotations:
                    _take(connection, key, annotation, made.get(annotation.id), None, now)
                for task_id in change.gone_tasks:
                    tombstones.bury_task(connection, key, task_id, now)
                tombstones.bury(connection, key, change.gone_annotations, now)

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
            sample_tables.lock(connection, project.key)
            tombstones.stands_again(connection, project.key, task_id, asked_at)
            for annotation in annotations:
                found = made.get(annotation.id)
                _take(connection, project.key, annotation, found, asked_at, asked_at)
            of_task = sample_tables.annotations.c.task_id == task_id
            before = sample_tables.annotations.c.asked_at.is_not(None) | (
                sample_tables.annotations.c.seen_at < asked_at - _JUST_BEFORE
            )
            missing = set(tombstones.living(connection, project.key, of_task, before)) - given
            tombstones.bury(connection, project.key, sorted(missing), asked_at)
            # Where something came in between, this is to be asked again next time.
            agreed = set(tombstones.living(connection, project.key, of_task)) == given
            _mark(connection, project.key, task_id, mark if agreed else "", asked_at)

    def tasks_gone(self, project: Project, tasks: Iterable[int], *, asked_at: datetime) -> None:
        """Label Studio was asked for these tasks and has them no more."""
        with self.database.write() as connection:
            sample_tables.lock(connection, project.key)
            for task_id in tasks:
                tombstones.bury_task(connection, project.key, task_id, asked_at)

    def config(self, project: Project, label_config: str, at: datetime | None) -> None:
        """Note the project's labeling config, unless a newer one is known."""
        with self.database.write() as connection:
            sample_tables.lock(connection, project.key)
            _note_config(connection, project.key, label_config, at)

    def live_tasks(self, project: Project) -> set[int]:
        """The tasks that have an annotation, as far as is known."""
        query = select(sample_tables.annotations.c.task_id).where(
            sample_tables.annotations.c.project == project.key,
            sample_tables.annotations.c.gone_at.is_(None),
        )
        with self.database.read() as connection:
            return {number for number in connection.execute(query).scalars() if number is not None}

    def marks(
        self, project: Project, tasks: Collection[int]
    ) -> dict[int, tuple[str, datetime | None]]:
        """Of those tasks that were asked for: how they looked in the list, and when."""
        query = select(
            sample_tables.tasks.c.task_id,
            sample_tables.tasks.c.mark,
            sample_tables.tasks.c.asked_at,
        ).where(
            sample_tables.tasks.c.project == project.key,
            sample_tables.tasks.c.task_id.in_(list(tasks)),
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
            if not _newer(annotation, asked_at, row) or _same(annotation, row):
                continue
            regions, left_out = annotation.decode_masks()
            masks = {region.id: mask for region, mask, _ in regions}
            with self.database.read() as connection:
                prompts = prompts_of(connection, project, annotation.task_id, annotation.id, masks)
            made[annotation.id] = _Made(regions, left_out, prompts)
        return made

    @staticmethod
    def _keys(connection: Connection, change: LabelChange) -> list[str]:
        """The project's key. A deleted project is named by its number alone, which must be that of
        one connected project: on two Label Studios there can be two of them."""
        if not change.project_gone or change.project.created:
            return [change.project.key]
        query = select(ProjectRow.key).where(ProjectRow.project_id == change.project.id)
        known = list(connection.execute(query).scalars())
        return known if len(known) == 1 else []


def _take(
    connection: Connection,
    key: str,
    annotation: Annotation,
    made: _Made | None,
    asked_at: datetime | None,
    now: datetime,
) -> None:
    """Write a version where it is the newest; ``made`` is None where it was old or known."""
    row = _row(connection, key, annotation.id)
    if not _newer(annotation, asked_at, row):
        return
    if tombstones.buried(connection, key, annotation.task_id, row, asked_at):
        return
    if asked_at is None:
        # Late news may be of what is gone since; Label Studio is asked about this task next time.
        here = (sample_tables.tasks.c.project == key) & (
            sample_tables.tasks.c.task_id == annotation.task_id
        )
        connection.execute(update(sample_tables.tasks).where(here).values(mark=""))
    told = {
        "task_id": annotation.task_id,
        "updated_at": annotation.updated_at,
        "asked_at": asked_at,
        "seen_at": now,
        "digest": annotation.digest,
        "gone_at": None,
    }
    if _same(annotation, row):
        this = sample_tables.this(key, annotation.id)
        connection.execute(update(sample_tables.annotations).where(this).values(**told))
        making.note(connection, key, annotation)
        return
    if made is None:
        return
    making.note(connection, key, annotation)
    told |= {
        "created_at": annotation.created_at,
        "annotator": annotation.annotator,
        "skipped": annotation.skipped,
        "ground_truth": annotation.ground_truth,
        "left_out": made.left_out,
    }
    values = {"project": key, "annotation_id": annotation.id, **told}
    connection.execute(
        insert_of(connection, sample_tables.annotations)
        .values(**values)
        .on_conflict_do_update(
            index_elements=[
                sample_tables.annotations.c.project,
                sample_tables.annotations.c.annotation_id,
            ],
            set_=told,
        )
    )
    _write_pictures(connection, key, annotation, made, row)
    _write_samples(connection, key, annotation, made)


def _write_pictures(
    connection: Connection, key: str, annotation: Annotation, made: _Made, before: Row[Any] | None
) -> None:
    """A new version was drawn on the picture of its own day, so that is looked at anew."""
    here = (sample_tables.pictures.c.project == key) & (
        sample_tables.pictures.c.annotation_id == annotation.id
    )
    looked: dict[tuple[str, str], Mapping[str, Any]] = {}
    if before is not None and before.updated_at == annotation.updated_at:
        for row in connection.execute(select(sample_tables.pictures).where(here)).mappings():
            looked[row["image"], row["address"]] = dict(row)
    connection.execute(delete(sample_tables.pictures).where(here))
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
        connection.execute(
            insert(sample_tables.pictures).values(looked.get((image, address), fresh))
        )


def _write_samples(connection: Connection, key: str, annotation: Annotation, made: _Made) -> None:
    here = (sample_tables.samples.c.project == key) & (
        sample_tables.samples.c.annotation_id == annotation.id
    )
    connection.execute(delete(sample_tables.samples).where(here))
    written = []
    for number, (region, mask, area) in enumerate(made.regions):
        prompts = made.prompts.get(region.id, Prompts())
        row = {
            "project": key,
            "annotation_id": annotation.id,
            "number": number,
            "region_id": region.id,
            "image": region.image,
            "brush": region.control,
            "label": region.label,
            "origin": region.origin,
            "phrase": prompts.phrase,
            "clicks": [list(click) for click in prompts.clicks],
            "width": mask.width,
            "height": mask.height,
            "area": area,
            "mask": mask.data,
        }
        written.append(row)
    if written:
        connection.execute(insert(sample_tables.samples), written)


def _same(annotation: Annotation, row: Row[Any] | None) -> bool:
    """Whether this very version is there already, and stands."""
    if row is None or row.gone_at is not None:
        return False
    known: tuple[datetime, str] = (row.updated_at, row.digest)
    return known == (annotation.updated_at, annotation.digest)


def _newer(annotation: Annotation, asked_at: datetime | None, row: Row[Any] | None) -> bool:
    if row is None or row.updated_at is None:
        return True
    ours = (annotation.updated_at, asked_at or sample_tables.NEVER, annotation.digest)
    theirs: tuple[datetime, datetime, str] = (
        row.updated_at,
        row.asked_at or sample_tables.NEVER,
        row.digest,
    )
    return ours > theirs


def _mark(connection: Connection, key: str, task_id: int, mark: str, asked_at: datetime) -> None:
    told = {"mark": mark[:80], "asked_at": asked_at}
    values = {"project": key, "task_id": task_id, **told}
    connection.execute(
        insert_of(connection, sample_tables.tasks)
        .values(**values)
        .on_conflict_do_update(
            index_elements=[sample_tables.tasks.c.project, sample_tables.tasks.c.task_id], set_=told
        )
    )


def _note_config(connection: Connection, key: str, label_config: str, at: datetime | None) -> None:
    if not label_config:
        return
    newer = sample_tables.projects.c.config_at.is_(None) | (
        sample_tables.projects.c.config_at < (at or sample_tables.NEVER)
    )
    connection.execute(
        update(sample_tables.projects)
        .where(sample_tables.projects.c.key == key, newer)
        .values(label_config=label_config, config_at=at or sample_tables.NEVER)
    )


def _row(connection: Connection, key: str, number: int) -> Row[Any] | None:
    return connection.execute(
        select(sample_tables.annotations).where(sample_tables.this(key, number))
    ).first()
