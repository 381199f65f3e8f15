"""A project in Label Studio: its webhooks, and what the API returns of it."""

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Table, insert, select

from backend.db.engine import Database
from backend.db.models import (
    AnnotatedPictureRow,
    AnnotationRow,
    ProjectRow,
    SampledProjectRow,
    SampleRow,
)
from backend.errors import LabelConfigError, LabelStudioError
from backend.label_studio import rle
from backend.label_studio.annotations import read_label_change
from backend.label_studio.config import parse_config
from backend.label_studio.payloads import Project, parse_webhook
from backend.samples.ingest import SampleStore
from backend.samples.sync import Reconciliation

WIDTH, HEIGHT = 64, 48
CREATED = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PROJECT = Project(6, str(int(CREATED.timestamp())))

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image">
    <Label value="Cat"/><Label value="Dog" alias="d"/>
  </BrushLabels>
  <KeyPointLabels name="kp" toName="image" smart="true">
    <Label value="Cat"/><Label value="Dog"/>
  </KeyPointLabels>
  <TextArea name="phrase" toName="image" maxSubmissions="1"/>
</View>"""

Body = dict[str, Any]


def square(x: int, y: int, side: int = 8) -> np.ndarray:
    """A mask with one square in it."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


def region(
    identity: str = "r1", mask: np.ndarray | None = None, label: str = "Cat", **changes: Any
) -> Body:
    """A brush region as an annotation holds it."""
    mask = square(4, 4) if mask is None else mask
    return {
        "id": identity,
        "type": "brushlabels",
        "from_name": "brush",
        "to_name": "image",
        "origin": "manual",
        "original_width": mask.shape[1],
        "original_height": mask.shape[0],
        "image_rotation": 0,
        "value": {"format": "rle", "rle": rle.encode(mask), "brushlabels": [label]},
        **changes,
    }


@dataclass
class Studio:
    """What Label Studio holds of one project, and each webhook that it has sent."""

    project: Project = PROJECT
    config: str = CONFIG
    tasks: dict[int, str] = field(default_factory=dict)  # number -> the picture's address
    annotations: dict[int, Body] = field(default_factory=dict)
    sent: list[Body] = field(default_factory=list)
    now: datetime = START
    changed: dict[int, datetime] = field(default_factory=dict)  # task -> its updated_at
    away: int = 0  # number of its answers that fail
    asked: list[str] = field(default_factory=list)

    # -- what annotators and managers do

    def task(self, number: int, address: str = "") -> int:
        self.tasks[number] = address or f"/data/upload/6/{number}.png"
        return number

    def submit(self, number: int, task: int, result: Sequence[Body] = (), **changes: Any) -> Body:
        return self._save("ANNOTATION_CREATED", number, task, result, changes)

    def update(self, number: int, result: Sequence[Body], **changes: Any) -> Body:
        task = self.annotations[number]["task"]
        return self._save("ANNOTATION_UPDATED", number, task, result, changes)

    def delete(self, number: int) -> Body:
        self._touch(self.annotations.pop(number)["task"])
        return self._send(action="ANNOTATIONS_DELETED", annotations=[{"id": number}])

    def delete_task(self, number: int) -> Body:
        del self.tasks[number]
        self.annotations = {n: a for n, a in self.annotations.items() if a["task"] != number}
        return self._send(action="TASKS_DELETED", tasks=[{"id": number}])

    def about(self) -> Body:
        return {
            "id": self.project.id,
            "created_at": CREATED.isoformat(),
            "updated_at": START.isoformat(),
            "label_config": self.config,
        }

    # -- inside

    def _save(
        self, action: str, number: int, task: int, result: Sequence[Body], changes: Body
    ) -> Body:
        time = self._touch(task).isoformat().replace("+00:00", "Z")
        annotation = {
            "id": number,
            "task": task,
            "project": self.project.id,
            "completed_by": 1,
            "was_cancelled": False,
            "ground_truth": False,
            "created_at": time,
            "updated_at": time,
            "result": list(result),
            **changes,
        }
        self.annotations[number] = annotation
        return self._send(
            action=action, annotation=annotation, task=self._task(task, with_annotations=False)
        )

    def _send(self, **body: Any) -> Body:
        self.sent.append(json.loads(json.dumps({**body, "project": self.about()})))
        return self.sent[-1]

    def _touch(self, task: int) -> datetime:
        self.now += timedelta(seconds=1)
        self.changed[task] = self.now
        return self.now

    def _task(self, number: int, *, with_annotations: bool) -> Body:
        mine = [a for a in self.annotations.values() if a["task"] == number]
        cancelled = sum(a["was_cancelled"] for a in mine)
        task = {
            "id": number,
            "data": {"image": self.tasks[number]},
            "updated_at": self.changed.get(number, START).isoformat(),
            "total_annotations": len(mine) - cancelled,
            "cancelled_annotations": cancelled,
        }
        return {**task, "annotations": deepcopy(mine)} if with_annotations else task

    # -- what the API answers

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            self.away -= 1
            raise LabelStudioError("Label Studio could not be reached (no connection).")


class Api:
    """``LabelStudio`` as far as a reconciliation uses it."""

    url = "http://studio.test"
    trusted = True

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def project(self, number: int) -> Body:
        self.studio._answer("project")
        return self.studio.about()

    def annotated_tasks(self, project: int) -> Iterator[Body]:
        self.studio._answer("list")
        for number in sorted(self.studio.tasks):
            task = self.studio._task(number, with_annotations=False)
            if task["total_annotations"] or task["cancelled_annotations"]:
                yield task

    def tasks_of(self, project: int, tasks: Sequence[int], fields: str = "") -> list[Body]:
        self.studio._answer(f"tasks {sorted(tasks)}")
        there = [number for number in tasks if number in self.studio.tasks]
        return [self.studio._task(number, with_annotations=True) for number in there]


class OneHost:
    """Every project is in this Label Studio."""

    def __init__(self, studio: Studio, *, trusted: bool = True) -> None:
        self.api = Api(studio)
        self.api.trusted = trusted

    def of(self, project: object) -> Api:
        return self.api


# -- taking in, and looking at what is there


def settle(store: SampleStore, body: Body, now: datetime = START) -> None:
    """As the worker does with a stored delivery."""
    hook = parse_webhook(body)
    try:
        config = parse_config(hook.label_config)
    except LabelConfigError:
        config = None
    store.apply(read_label_change(hook, config), now)


def connected(database: Database, project: Project = PROJECT) -> None:
    """As if ``/setup`` had come."""
    row = {
        "key": project.key,
        "project_id": project.id,
        "hostname": "",
        "access_token": "",
        "label_config": "",
        "created_at": START,
        "updated_at": START,
    }
    with database.write() as connection:
        connection.execute(insert(ProjectRow).values(**row))


def reconciliation(
    database: Database,
    studio: Studio,
    clock: Callable[[], datetime] | None = None,
    *,
    trusted: bool = True,
    **options: Any,
) -> Reconciliation:
    hosts: Any = OneHost(studio, trusted=trusted)
    given = {"clock": clock or (lambda: studio.now + timedelta(hours=1)), "pause_s": 0, **options}
    return Reconciliation(database, hosts, parse_config, **given)


def state(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """The stored state of accepted labels, without the times of requests and checks."""
    tables = {}
    hidden = {"asked_at", "seen_at", "look_after"}
    for row_class in (AnnotationRow, AnnotatedPictureRow, SampleRow):
        table: Table = row_class.__table__  # type: ignore[assignment]
        columns = [column for column in table.c if column.name not in hidden]
        query = select(*columns).order_by(*table.primary_key.columns)
        if row_class is AnnotationRow:
            query = query.where(AnnotationRow.gone_at.is_(None))
        with database.read() as connection:
            rows = [tuple(map(_plain, row)) for row in connection.execute(query)]
        tables[table.name] = rows
    return tables


def _plain(value: object) -> object:
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value


def samples(database: Database) -> list[int]:
    """The annotations that have samples."""
    with database.read() as connection:
        query = select(SampleRow.annotation_id).order_by(SampleRow.annotation_id)
        return list(connection.execute(query).scalars())


def noted(database: Database) -> Any:
    """What is known of the only project."""
    with database.read() as connection:
        return connection.execute(select(SampledProjectRow)).one()
