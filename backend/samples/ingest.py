"""Saves accepted labels as samples: always the same rows, in any order and with any repetition.

Of webhooks, the newest version of an annotation counts, by Label Studio's own ``updated_at``;
between two of the same time the digest decides. A later answer of Label Studio's API counts in any
case: its clock or its database may have been set back.

A webhook may report a deletion before what it deletes, so each deletion leaves a tombstone:
``gone_at`` in the row. Only a later answer of the API removes it, because a Label Studio that was
restored from a backup assigns old numbers again. So every fact is a maximum over all reports, and a
maximum does not depend on the order.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from backend.db.engine import NEVER, Database
from backend.db.models import (
    AnnotatedPictureRow,
    AnnotatedTaskRow,
    AnnotationRow,
    ProjectRow,
    SampledProjectRow,
    SampleRow,
    lock_samples,
)
from backend.label_studio.annotations import Annotation, LabelChange
from backend.label_studio.payloads import Project
from backend.label_studio.regions import Region
from backend.label_studio.rle import PackedMask
from backend.reports.costs import note_annotation
from backend.samples.prompts import Prompts, prompts_of

# A webhook this shortly before a question to Label Studio may be newer than the answer.
_JUST_BEFORE = timedelta(minutes=1)
# The same by two clocks, of Label Studio and of this machine.
_JUST_THEN = timedelta(hours=1)


@dataclass(frozen=True)
class _Decoded:
    """An annotation with its masks decoded and its prompts found, ready to be saved."""

    regions: list[tuple[Region, PackedMask, int]]
    left_out: dict[str, int]
    prompts: dict[str, Prompts]


@dataclass(frozen=True)
class SampleStore:
    """The tables of samples. Thread-safe; processes share the database."""

    database: Database

    def apply(self, change: LabelChange, now: datetime | None = None) -> None:
        now = now or datetime.now(UTC)
        decoded = self._decode(change.project, change.annotations, None)
        for key in self._keys(change):
            with self.locked(key) as samples:
                if change.project_gone:
                    samples.delete_project(now)
                    continue
                samples.save_config(change.label_config, change.config_at)
                for annotation in change.annotations:
                    samples.save(annotation, decoded.get(annotation.id), None, now)
                for task_id in change.gone_tasks:
                    samples.delete_task(task_id, now)
                samples.delete_annotations(change.gone_annotations, now)

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
        decoded = self._decode(project, annotations, asked_at)
        returned = {annotation.id for annotation in annotations}
        of_task = AnnotationRow.task_id == task_id
        with self.locked(project.key) as samples:
            samples.restore_task(task_id, asked_at)
            for annotation in annotations:
                samples.save(annotation, decoded.get(annotation.id), asked_at, asked_at)
            agreed = False
            if complete:
                before = AnnotationRow.asked_at.is_not(None) | (
                    AnnotationRow.seen_at < asked_at - _JUST_BEFORE
                )
                missing = set(samples.live(of_task, before)) - returned
                samples.delete_annotations(sorted(missing), asked_at)
                # If something arrived in between, the next round reads the task again.
                agreed = set(samples.live(of_task)) == returned
            task = samples.task(task_id)
            task.mark, task.asked_at = mark[:80] if agreed else "", asked_at

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

    @contextmanager
    def locked(self, key: str) -> Iterator["_Samples"]:
        """A project's samples in a transaction that holds their lock."""
        with self.database.write() as connection, Session(connection) as session:
            lock_samples(connection, key)
            yield _Samples(session, key)
            session.flush()

    def _decode(
        self, project: Project, annotations: Sequence[Annotation], asked_at: datetime | None
    ) -> dict[int, _Decoded]:
        """Decode the masks of new versions, before anything is locked."""
        decoded = {}
        for annotation in annotations:
            with self.database.session() as session:
                row = session.get(AnnotationRow, (project.key, annotation.id))
            if not _newer(annotation, asked_at, row) or _same(annotation, row):
                continue
            regions, left_out = annotation.decode_masks()
            masks = {region.id: mask for region, mask, _ in regions}
            with self.database.read() as connection:
                prompts = prompts_of(connection, project, annotation.task_id, annotation.id, masks)
            decoded[annotation.id] = _Decoded(regions, left_out, prompts)
        return decoded

    def _keys(self, change: LabelChange) -> list[str]:
        """The project's key. The deletion of a project contains only its number, and two Label
        Studios may each have a project of that number; then nothing is deleted."""
        if not change.project_gone or change.project.created:
            return [change.project.key]
        query = select(ProjectRow.key).where(ProjectRow.project_id == change.project.id)
        with self.database.read() as connection:
            known = list(connection.execute(query).scalars())
        return known if len(known) == 1 else []


class _Samples:
    """The samples of one project, while their lock is held."""

    def __init__(self, session: Session, key: str) -> None:
        self._session = session
        self._key = key
        self._project = session.get_one(SampledProjectRow, key)

    def task(self, task_id: int) -> AnnotatedTaskRow:
        """A task's row, new if need be."""
        return self._session.merge(AnnotatedTaskRow(project=self._key, task_id=task_id))

    def live(self, *where: ColumnElement[bool]) -> list[int]:
        """The annotations that are not deleted, as far as is known."""
        query = select(AnnotationRow.annotation_id).where(
            AnnotationRow.project == self._key, AnnotationRow.gone_at.is_(None), *where
        )
        return list(self._session.scalars(query))

    def save_config(
        self, label_config: str, at: datetime | None, asked_at: datetime | None = None
    ) -> None:
        """Save a labeling config, unless a newer one is known. asked_at: when the API returned it,
        which counts unless a webhook may have come just then."""
        known_at = self._project.config_at
        newer = known_at is None or known_at < (at or NEVER)
        if asked_at is not None and known_at is not None:
            newer |= abs(known_at - asked_at) > _JUST_THEN
        if label_config and newer:
            self._project.label_config, self._project.config_at = label_config, at or NEVER

    def save(
        self,
        annotation: Annotation,
        decoded: _Decoded | None,
        asked_at: datetime | None,
        now: datetime,
    ) -> None:
        """Save a version if it is the newest; ``decoded`` is None if it was old or known."""
        row = self._session.get(AnnotationRow, (self._key, annotation.id))
        if not _newer(annotation, asked_at, row):
            return
        task = self._session.get(AnnotatedTaskRow, (self._key, annotation.task_id))
        deletions = [known.gone_at for known in (row, task, self._project) if known is not None]
        if any(gone is not None and (asked_at or NEVER) <= gone for gone in deletions):
            return
        if asked_at is None and task is not None:
            # A late webhook may report what was deleted since, so the next round reads this task.
            task.mark = ""
        same = _same(annotation, row)
        if not same and decoded is None:
            return
        note_annotation(self._session.connection(), self._key, annotation)
        before = None if row is None else row.updated_at
        row = row or AnnotationRow(project=self._key, annotation_id=annotation.id)
        row.task_id = annotation.task_id
        row.updated_at, row.digest = annotation.updated_at, annotation.digest
        row.asked_at, row.seen_at, row.gone_at = asked_at, now, None
        if same or decoded is None:
            return
        row.created_at, row.annotator = annotation.created_at, annotation.annotator
        row.skipped, row.ground_truth = annotation.skipped, annotation.ground_truth
        row.left_out = decoded.left_out
        self._session.add(row)
        self._session.flush()
        self._save_pictures(annotation, decoded, new=before != annotation.updated_at)
        self._save_regions(annotation, decoded)

    def _save_pictures(self, annotation: Annotation, decoded: _Decoded, *, new: bool) -> None:
        """A new version was drawn on the picture of its own day, so that must be checked again."""
        images = sorted({region.image for region, _, _ in decoded.regions})
        wanted = {image: annotation.addresses.get(image, "") for image in images}
        query = select(AnnotatedPictureRow).where(
            AnnotatedPictureRow.project == self._key,
            AnnotatedPictureRow.annotation_id == annotation.id,
        )
        for row in self._session.scalars(query):
            if not new and wanted.get(row.image) == row.address:
                del wanted[row.image]
            else:
                self._session.delete(row)
        self._session.flush()
        self._session.add_all(
            AnnotatedPictureRow(
                project=self._key, annotation_id=annotation.id, image=image, address=address
            )
            for image, address in wanted.items()
        )

    def _save_regions(self, annotation: Annotation, decoded: _Decoded) -> None:
        self._delete_of(SampleRow, annotation.id)
        for number, (region, mask, area) in enumerate(decoded.regions):
            prompts = decoded.prompts.get(region.id, Prompts())
            self._session.add(
                SampleRow(
                    project=self._key,
                    annotation_id=annotation.id,
                    number=number,
                    region_id=region.id,
                    image=region.image,
                    brush=region.control,
                    label=region.label,
                    origin=region.origin,
                    phrase=prompts.phrase,
                    clicks=[list(click) for click in prompts.clicks],
                    box=None if prompts.box is None else list(prompts.box),
                    width=mask.width,
                    height=mask.height,
                    area=area,
                    mask=mask.data,
                )
            )

    # -- deletions

    def delete_annotations(self, numbers: Iterable[int], now: datetime) -> None:
        for number in numbers:
            row = self._session.merge(AnnotationRow(project=self._key, annotation_id=number))
            row.gone_at = row.gone_at or now
            self._delete_of(SampleRow, number)
            self._delete_of(AnnotatedPictureRow, number)

    def delete_task(self, task_id: int, now: datetime) -> None:
        """Delete a task with all its annotations."""
        task = self.task(task_id)
        task.gone_at = task.gone_at or now
        self.delete_annotations(self.live(AnnotationRow.task_id == task_id), now)

    def delete_project(self, now: datetime) -> None:
        self._project.gone_at = self._project.gone_at or now
        self.delete_annotations(self.live(), now)

    def restore_task(self, task_id: int, asked_at: datetime) -> None:
        """Remove older tombstones of a task and its project: Label Studio has both."""
        for row in (self._project, self.task(task_id)):
            if row.gone_at is not None and row.gone_at < asked_at:
                row.gone_at = None

    def _delete_of(self, table: type[SampleRow | AnnotatedPictureRow], number: int) -> None:
        here = (table.project == self._key) & (table.annotation_id == number)
        self._session.execute(delete(table).where(here))


def _same(annotation: Annotation, row: AnnotationRow | None) -> bool:
    """Whether exactly this version is saved and not deleted."""
    if row is None or row.gone_at is not None:
        return False
    return (row.updated_at, row.digest) == (annotation.updated_at, annotation.digest)


def _newer(annotation: Annotation, asked_at: datetime | None, row: AnnotationRow | None) -> bool:
    if row is None or row.updated_at is None:
        return True
    if asked_at is not None and row.seen_at and row.seen_at < asked_at - _JUST_BEFORE:
        return True  # what Label Studio has counts, also if its clock or database was set back
    this = (annotation.updated_at, asked_at or NEVER, annotation.digest)
    return this > (row.updated_at, row.asked_at or NEVER, row.digest)
