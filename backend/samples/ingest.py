"""Saves accepted labels as samples: always the same rows, in any order and with any repetition.

The newest version of an annotation counts, by Label Studio's own ``updated_at``. If one version is
reported twice, the later answer of Label Studio's API counts; between two webhooks the digest
decides. A deletion leaves a tombstone, which only a later answer of the API removes. So every fact
is a maximum over all reports, and a maximum does not depend on the order.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from backend.db.engine import NEVER, Database, insert_of, lock_samples
from backend.db.models import (
    AnnotatedPictureRow,
    AnnotatedTaskRow,
    AnnotationRow,
    ProjectRow,
    SampledProjectRow,
    SampleRow,
)
from backend.db.packed_mask import PackedMask
from backend.label_studio.annotations import Annotation, LabelChange
from backend.label_studio.payloads import Project
from backend.label_studio.regions import Region
from backend.reports.costs import note_annotation
from backend.samples import tombstones
from backend.samples.prompts import Prompts, prompts_of
from backend.samples.tombstones import annotation_is, task_is

# A webhook this shortly before a question to Label Studio may be newer than the answer.
_JUST_BEFORE = timedelta(minutes=1)


@dataclass(frozen=True)
class _Decoded:
    """An annotation with its masks decoded and its prompts found, ready to be saved."""

    regions: list[tuple[Region, PackedMask, int]]
    left_out: dict[str, int]
    prompts: dict[str, Prompts]


class SampleStore:
    """The tables of samples. Thread-safe; processes share the database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def apply(self, change: LabelChange, now: datetime | None = None) -> None:
        """Save what a webhook reported."""
        now = now or datetime.now(UTC)
        decoded = self._decode(change.project, change.annotations, None)
        with self.database.write() as connection:
            for key in self._keys(connection, change):
                lock_samples(connection, key)
                if change.project_gone:
                    tombstones.delete_project(connection, key, now)
                    continue
                _save_config(connection, key, change.label_config, change.config_at)
                for annotation in change.annotations:
                    _save(connection, key, annotation, decoded.get(annotation.id), None, now)
                for task_id in change.gone_tasks:
                    tombstones.delete_task(connection, key, task_id, now)
                tombstones.delete_annotations(connection, key, change.gone_annotations, now)

    def replace_task(
        self,
        project: Project,
        task_id: int,
        annotations: Sequence[Annotation],
        *,
        asked_at: datetime,
        mark: str = "",
        complete: bool = True,
    ) -> None:
        """Save the annotations of a task as Label Studio's API returned them; delete all others.

        Args:
            asked_at: when the request was sent.
            mark: what the task looked like in the list of tasks before that.
            complete: False: keep the others, and read the task again next time.
        """
        key = project.key
        decoded = self._decode(project, annotations, asked_at)
        returned = {annotation.id for annotation in annotations}
        with self.database.write() as connection:
            lock_samples(connection, key)
            tombstones.restore_task(connection, key, task_id, asked_at)
            for annotation in annotations:
                _save(connection, key, annotation, decoded.get(annotation.id), asked_at, asked_at)
            of_task = AnnotationRow.task_id == task_id
            before = AnnotationRow.asked_at.is_not(None) | (
                AnnotationRow.seen_at < asked_at - _JUST_BEFORE
            )
            if not complete:
                _save_mark(connection, key, task_id, "", asked_at)
                return
            missing = set(tombstones.live_annotations(connection, key, of_task, before)) - returned
            tombstones.delete_annotations(connection, key, sorted(missing), asked_at)
            # If something arrived in between, the next round reads the task again.
            agreed = set(tombstones.live_annotations(connection, key, of_task)) == returned
            _save_mark(connection, key, task_id, mark if agreed else "", asked_at)

    def delete_tasks(self, project: Project, tasks: Iterable[int], *, asked_at: datetime) -> None:
        """Delete tasks that Label Studio does not have any more."""
        with self.database.write() as connection:
            lock_samples(connection, project.key)
            for task_id in tasks:
                tombstones.delete_task(connection, project.key, task_id, asked_at)

    def save_config(self, project: Project, label_config: str, at: datetime | None) -> None:
        """Save the project's labeling config, unless a newer one is known."""
        with self.database.write() as connection:
            lock_samples(connection, project.key)
            _save_config(connection, project.key, label_config, at)

    def live_annotations(self, project: Project) -> dict[int, set[int]]:
        """The annotations that are known, by their task."""
        query = select(AnnotationRow.task_id, AnnotationRow.annotation_id).where(
            AnnotationRow.project == project.key,
            AnnotationRow.gone_at.is_(None),
            AnnotationRow.task_id.is_not(None),
        )
        known: dict[int, set[int]] = {}
        with self.database.read() as connection:
            for task, annotation in connection.execute(query):
                known.setdefault(int(task or 0), set()).add(annotation)
        return known

    def marks(
        self, project: Project, tasks: Collection[int]
    ) -> dict[int, tuple[str, datetime | None]]:
        """Mark and time of the last read, of those tasks that were ever read."""
        query = select(
            AnnotatedTaskRow.task_id, AnnotatedTaskRow.mark, AnnotatedTaskRow.asked_at
        ).where(AnnotatedTaskRow.project == project.key, AnnotatedTaskRow.task_id.in_(list(tasks)))
        with self.database.read() as connection:
            return {row.task_id: (row.mark, row.asked_at) for row in connection.execute(query)}

    # -- inside

    def _decode(
        self, project: Project, annotations: Sequence[Annotation], asked_at: datetime | None
    ) -> dict[int, _Decoded]:
        """Decode the masks of new versions, before anything is locked."""
        decoded = {}
        for annotation in annotations:
            with self.database.read() as connection:
                row = _row(connection, project.key, annotation.id)
            if not _newer(annotation, asked_at, row) or _same(annotation, row):
                continue
            regions, left_out = annotation.decode_masks()
            masks = {region.id: mask for region, mask, _ in regions}
            with self.database.read() as connection:
                prompts = prompts_of(connection, project, annotation.task_id, annotation.id, masks)
            decoded[annotation.id] = _Decoded(regions, left_out, prompts)
        return decoded

    @staticmethod
    def _keys(connection: Connection, change: LabelChange) -> list[str]:
        """The project's key. The deletion of a project contains only its number, and two Label
        Studios may each have a project of that number; then nothing is deleted."""
        if not change.project_gone or change.project.created:
            return [change.project.key]
        query = select(ProjectRow.key).where(ProjectRow.project_id == change.project.id)
        known = list(connection.execute(query).scalars())
        return known if len(known) == 1 else []


def _save(
    connection: Connection,
    key: str,
    annotation: Annotation,
    decoded: _Decoded | None,
    asked_at: datetime | None,
    now: datetime,
) -> None:
    """Save a version if it is the newest; ``decoded`` is None if it was old or known."""
    row = _row(connection, key, annotation.id)
    if not _newer(annotation, asked_at, row):
        return
    if tombstones.is_deleted(connection, key, annotation.task_id, row, asked_at):
        return
    if asked_at is None:
        # A late webhook may report what was deleted since, so the next round reads this task.
        here = task_is(key, annotation.task_id)
        connection.execute(update(AnnotatedTaskRow).where(here).values(mark=""))
    values = {
        "task_id": annotation.task_id,
        "updated_at": annotation.updated_at,
        "asked_at": asked_at,
        "seen_at": now,
        "digest": annotation.digest,
        "gone_at": None,
    }
    if _same(annotation, row):
        here = annotation_is(key, annotation.id)
        connection.execute(update(AnnotationRow).where(here).values(**values))
        note_annotation(connection, key, annotation)
        return
    if decoded is None:
        return
    note_annotation(connection, key, annotation)
    values |= {
        "created_at": annotation.created_at,
        "annotator": annotation.annotator,
        "skipped": annotation.skipped,
        "ground_truth": annotation.ground_truth,
        "left_out": decoded.left_out,
    }
    connection.execute(
        insert_of(connection, AnnotationRow)
        .values(project=key, annotation_id=annotation.id, **values)
        .on_conflict_do_update(
            index_elements=[AnnotationRow.project, AnnotationRow.annotation_id], set_=values
        )
    )
    _save_pictures(connection, key, annotation, decoded, row)
    _save_samples(connection, key, annotation, decoded)


def _save_pictures(
    connection: Connection,
    key: str,
    annotation: Annotation,
    decoded: _Decoded,
    before: Row[Any] | None,
) -> None:
    """A new version was drawn on the picture of its own day, so that must be checked again."""
    here = (AnnotatedPictureRow.project == key) & (
        AnnotatedPictureRow.annotation_id == annotation.id
    )
    checked: dict[tuple[str, str], Mapping[str, Any]] = {}
    if before is not None and before.updated_at == annotation.updated_at:
        for row in connection.execute(select(AnnotatedPictureRow).where(here)).mappings():
            checked[row["image"], row["address"]] = dict(row)
    connection.execute(delete(AnnotatedPictureRow).where(here))
    for image in sorted({region.image for region, _, _ in decoded.regions}):
        address = annotation.addresses.get(image, "")
        unseen = {
            "project": key,
            "annotation_id": annotation.id,
            "image": image,
            "address": address,
        }
        values = checked.get((image, address), unseen)
        connection.execute(insert(AnnotatedPictureRow).values(values))


def _save_samples(
    connection: Connection, key: str, annotation: Annotation, decoded: _Decoded
) -> None:
    here = (SampleRow.project == key) & (SampleRow.annotation_id == annotation.id)
    connection.execute(delete(SampleRow).where(here))
    rows = []
    for number, (region, mask, area) in enumerate(decoded.regions):
        prompts = decoded.prompts.get(region.id, Prompts())
        rows.append(
            {
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
                "box": None if prompts.box is None else list(prompts.box),
                "width": mask.width,
                "height": mask.height,
                "area": area,
                "mask": mask.data,
            }
        )
    if rows:
        connection.execute(insert(SampleRow), rows)


def _same(annotation: Annotation, row: Row[Any] | None) -> bool:
    """Whether exactly this version is saved and not deleted."""
    if row is None or row.gone_at is not None:
        return False
    known: tuple[datetime, str] = (row.updated_at, row.digest)
    return known == (annotation.updated_at, annotation.digest)


def _newer(annotation: Annotation, asked_at: datetime | None, row: Row[Any] | None) -> bool:
    if row is None or row.updated_at is None:
        return True
    this = (annotation.updated_at, asked_at or NEVER, annotation.digest)
    known: tuple[datetime, datetime, str] = (row.updated_at, row.asked_at or NEVER, row.digest)
    return this > known


def _save_mark(
    connection: Connection, key: str, task_id: int, mark: str, asked_at: datetime
) -> None:
    values = {"mark": mark[:80], "asked_at": asked_at}
    connection.execute(
        insert_of(connection, AnnotatedTaskRow)
        .values(project=key, task_id=task_id, **values)
        .on_conflict_do_update(
            index_elements=[AnnotatedTaskRow.project, AnnotatedTaskRow.task_id], set_=values
        )
    )


def _save_config(connection: Connection, key: str, label_config: str, at: datetime | None) -> None:
    if not label_config:
        return
    newer = SampledProjectRow.config_at.is_(None) | (SampledProjectRow.config_at < (at or NEVER))
    connection.execute(
        update(SampledProjectRow)
        .where(SampledProjectRow.key == key, newer)
        .values(label_config=label_config, config_at=at or NEVER)
    )


def _row(connection: Connection, key: str, number: int) -> Row[Any] | None:
    return connection.execute(select(AnnotationRow).where(annotation_is(key, number))).first()
