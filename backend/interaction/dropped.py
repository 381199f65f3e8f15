"""Masks that an annotator left behind: made, but not accepted before Submit.

Label Studio stores the key points of such a mask and drops the mask itself; of an object that was
refined it keeps the mask before. ``DraftSync`` notices that; here the masks are listed, and put
back into Label Studio as a prediction of their task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, and_, select, update

from backend.db.engine import Database
from backend.db.models import AnnotationRow, TargetRow
from backend.errors import JobError
from backend.interaction.mask_history import read_answers
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import LabelConfig
from backend.label_studio.payloads import Project
from backend.label_studio.regions import drawn_mask

_WAITING = and_(
    TargetRow.dropped_by.is_not(None),
    TargetRow.answered_turn > TargetRow.kept_turn,
    TargetRow.answered_turn > TargetRow.put_back_turn,
)


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
        items = _items(connection, rows, config.of(data), tolerance)
        if not items:
            raise JobError(f"No mask of annotation {annotation} is left to put back.")
        numbers = [row.id for row in rows]
        here = TargetRow.id.in_(numbers)
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
) -> list[Mapping[str, Any]]:
    """The newest mask of each object, as the page writes it. Those whose image or tool the
    labeling config no longer has are left out."""
    images = {image.name: image for image in config.images}
    answers = read_answers(connection, [row.id for row in rows])
    items: list[Mapping[str, Any]] = []
    for row in rows:
        image = images.get(row.image)
        brush = image.brush(row.brush) if image else None
        if image is None or brush is None or not answers[row.id]:
            continue
        items += drawn_mask(
            row.region_id,
            answers[row.id][0].mask.unpack(),
            brush=brush,
            to_name=image.name,
            label=brush.label(row.label),
            score=row.confidence or 0.0,
            tolerance=tolerance,
        ).items
    return items
