"""What becomes of objects after the clicks: accepted, deleted, left behind, forgotten.

An annotator may leave a mask behind: made, but not accepted before Submit. Label Studio stores the
key points of such a mask and drops the mask itself; of an object that was refined it keeps the mask
before. ``DraftSync`` notices that; here the masks are listed, and put back into Label Studio as a
prediction of their task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, select, update

from backend.db.engine import Database
from backend.db.models import AnnotationRow, TargetRow, TaskRow
from backend.errors import DatabaseError, JobError
from backend.interaction.draft_sync import DraftSync
from backend.interaction.mask_history import TaskMasks, read_answers
from backend.interaction.objects import Event, read_task
from backend.interaction.request import saved_annotation
from backend.interaction.store import ALL, ATTEMPTS, append_events, write_decision
from backend.label_studio.annotations import Annotation
from backend.label_studio.client import LabelStudio
from backend.label_studio.controls import LabelConfig
from backend.label_studio.payloads import Project
from backend.label_studio.regions import drawn_mask

# Beyond this number the oldest objects are dropped early: a few GB of masks at the most.
TARGETS_KEPT = 100_000

_WAITING = and_(
    TargetRow.dropped_by.is_not(None),
    TargetRow.answered_turn > TargetRow.kept_turn,
    TargetRow.answered_turn > TargetRow.put_back_turn,
)


def annotation_saved(
    database: Database,
    project: Project,
    task_id: int,
    annotation: Annotation,
    config: LabelConfig,
    now: datetime | None = None,
) -> None:
    """Take over what an annotation says about the objects of its task."""
    saved = saved_annotation(annotation, config.of_saved(annotation.data))
    if saved is None:
        return
    now = now or datetime.now(UTC)
    for _ in range(ATTEMPTS):
        with database.read() as connection:
            task = read_task(connection, project, task_id, ALL)
        drafts = DraftSync(task, [saved], "", now, TaskMasks(database))
        drafts.apply()
        if write_decision(database, task, drafts.events, "", now):
            return
    raise DatabaseError("Too many requests for this task at the same time.")


def annotations_deleted(
    database: Database,
    project: Project,
    annotation_ids: Sequence[int],
    now: datetime | None = None,
) -> None:
    now = now or datetime.now(UTC)
    keys = [f"annotation:{number}" for number in annotation_ids]
    here = (TargetRow.project == project.key) & TargetRow.saved.in_(keys)
    here &= TargetRow.state != "gone"
    tasks = select(TargetRow.task_id).where(here)
    with database.write() as connection:
        connection.execute(
            update(TaskRow)
            .where(TaskRow.project == project.key, TaskRow.task_id.in_(tasks))
            .values(revision=TaskRow.revision + 1)
        )
        columns = (TargetRow.id, TargetRow.region_id, TargetRow.label)
        gone = select(TargetRow.task_id, TargetRow.owner, *columns).where(here)
        for row in connection.execute(gone).all():
            event = Event("delete", row.id, row.region_id, label=row.label)
            append_events(connection, project, row.task_id, [(event, row.owner)], now)
        connection.execute(update(TargetRow).where(here).values(state="gone"))
        dropped = (TargetRow.project == project.key) & TargetRow.dropped_by.in_(annotation_ids)
        connection.execute(update(TargetRow).where(dropped).values(dropped_by=None))


def forget_objects(database: Database, after: timedelta, now: datetime | None = None) -> int:
    """Drop objects that are too old or too many; gives their number. The event log stays."""
    limit = (now or datetime.now(UTC)) - after
    with database.write() as connection:
        old = delete(TargetRow).where(TargetRow.updated_at < limit)
        dropped = connection.execute(old).rowcount
        count = connection.execute(select(func.count()).select_from(TargetRow)).scalar_one()
        surplus = max(0, count - TARGETS_KEPT)
        if surplus:
            oldest = select(TargetRow.id).order_by(TargetRow.updated_at).limit(surplus)
            connection.execute(delete(TargetRow).where(TargetRow.id.in_(oldest)))
        of_task = (TargetRow.project == TaskRow.project) & (TargetRow.task_id == TaskRow.task_id)
        connection.execute(
            delete(TaskRow).where(TaskRow.updated_at < limit, ~exists().where(of_task))
        )
    return dropped + surplus


@dataclass(frozen=True)
class DroppedMasks:
    task: int
    annotation: int
    annotator: int | None  # Label Studio's number of the user
    owner: str  # as drafts name the user; '' if no draft was seen
    submitted_at: datetime | None
    labels: tuple[str, ...]  # of each mask; '' for a mask without a label


def dropped_masks(database: Database, project: Project) -> list[DroppedMasks]:
    """What a project's annotations were submitted without, by task."""
    annotation = AnnotationRow
    query = (
        select(TargetRow, annotation.annotator, annotation.created_at.label("submitted_at"))
        .outerjoin(
            annotation,
            and_(
                annotation.project == TargetRow.project,
                annotation.annotation_id == TargetRow.dropped_by,
            ),
        )
        .where(TargetRow.project == project.key, _WAITING, annotation.gone_at.is_(None))
        .order_by(TargetRow.task_id, TargetRow.dropped_by, TargetRow.id)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    return [
        DroppedMasks(
            task=task,
            annotation=number,
            annotator=(masks := list(group))[0].annotator,
            owner=masks[0].owner,
            submitted_at=masks[0].submitted_at,
            labels=tuple(mask.label for mask in masks),
        )
        for (task, number), group in groupby(rows, key=lambda row: (row.task_id, row.dropped_by))
    ]


def put_back(
    database: Database,
    label_studio: LabelStudio,
    config: LabelConfig,
    project: Project,
    task: int,
    annotation: int,
    *,
    tolerance: float,
) -> int:
    """Create one prediction with the newest mask of each object; returns how many it has.

    tolerance: of an outline, in pixels. Two requests at the same time create one prediction.

    Raises:
        JobError: there is nothing to put back, or the task is gone.
        LabelStudioError: Label Studio did not take the prediction; it can be tried again.
    """
    data = next((entry.get("data") for entry in label_studio.tasks_of(project.id, [task])), None)
    if data is None:
        raise JobError(f"Task {task} is no longer in Label Studio.")
    with database.write() as connection:
        this = (TargetRow.project == project.key) & (TargetRow.task_id == task)
        this &= TargetRow.dropped_by == annotation
        query = select(TargetRow).where(this, _WAITING).order_by(TargetRow.id)
        rows = connection.execute(query).all()
        by_object = _items(connection, rows, config.of(data), tolerance)
        items = [item for of_object in by_object.values() for item in of_object]
        if not items:
            raise JobError(f"No mask of annotation {annotation} is left to put back.")
        here = TargetRow.id.in_(list(by_object))
        connection.execute(
            update(TargetRow).where(here).values(put_back_turn=TargetRow.answered_turn)
        )
    prediction = {
        "result": items,
        "score": min(item["score"] for item in items),
        "model_version": rows[0].model_version,
    }
    try:
        label_studio.create_prediction(task, prediction)
    except Exception:
        with database.write() as connection:
            connection.execute(update(TargetRow).where(here).values(put_back_turn=0))
        raise
    return len({item["id"] for item in items})


def _items(
    connection: Connection, rows: Sequence[Any], config: LabelConfig, tolerance: float
) -> dict[int, list[dict[str, Any]]]:
    """The newest mask of each object, as the page writes it. Those whose image or tool the
    labeling config no longer has are left out."""
    images = {image.name: image for image in config.images}
    answers = read_answers(connection, [row.id for row in rows])
    items: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        image = images.get(row.image)
        brush = image.brush(row.brush) if image else None
        if image is None or brush is None or not answers[row.id]:
            continue
        items[row.id] = drawn_mask(
            row.region_id,
            answers[row.id][0].mask.unpack(),
            brush=brush,
            to_name=image.name,
            label=brush.label(row.label),
            score=row.confidence or 0.0,
            tolerance=tolerance,
        ).items
    return items
