"""The costs of one task, computed from its annotations, its log and its served masks.

A pure function of the tables, so neither the time nor the order of webhooks changes the result.
``costs`` writes it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import pairwise
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, select

from backend.db.engine import records
from backend.db.models import (
    AnnotationRow,
    AnnotationTimeRow,
    EventRow,
    RegionCostRow,
    SampleRow,
    TargetRow,
    TaskRow,
)
from backend.label_studio.rle import PackedMask
from backend.reports.click_curve import (
    UNKNOWN,
    Key,
    PromptedObject,
    Region,
    Served,
    assign,
    quality,
    served_for,
)

# Characters of a control's name that are part of a row's key.
BRUSH_CHARACTERS = 128

# A region that is first seen this soon after its annotation was made came with it.
_AT_ONCE = timedelta(seconds=5)

_OfAnnotation = TypeVar("_OfAnnotation", AnnotationRow, AnnotationTimeRow, RegionCostRow, SampleRow)
_OfTask = TypeVar("_OfTask", EventRow, TargetRow, TaskRow)


def current_versions(connection: Connection, project: str, task: int) -> dict[int, str]:
    """The annotations of a task that exist, and the digest of each."""
    query = select(AnnotationRow.annotation_id, AnnotationRow.digest).where(
        AnnotationRow.project == project,
        AnnotationRow.task_id == task,
        AnnotationRow.gone_at.is_(None),
    )
    return {row.annotation_id: row.digest for row in connection.execute(query)}


class TaskRecords:
    """All that is known of a task, except the served masks. ``versions``: the digest of each
    annotation. ``through``: the newest event."""

    def __init__(self, connection: Connection, project: str, task: int, idle: timedelta) -> None:
        """idle: longer pauses count as this long."""
        self.project = project
        self.task = task
        self.versions = current_versions(connection, project, task)
        numbers = list(self.versions)

        def rows(model: type[_OfAnnotation]) -> list[_OfAnnotation]:
            here = (model.project == project) & model.annotation_id.in_(numbers)
            return records(connection, select(model).where(here))

        def of_task(model: type[_OfTask]) -> Select[_OfTask]:
            return select(model).where(model.project == project, model.task_id == task)

        self._annotations = {row.annotation_id: row for row in rows(AnnotationRow)}
        # Who made each annotation, as far as known.
        self._owners = {row.annotation_id: row.owner for row in rows(AnnotationTimeRow)}
        self._samples = rows(SampleRow)
        self._costs = {
            (row.annotation_id, row.brush, row.region_id): row for row in rows(RegionCostRow)
        }
        events = of_task(EventRow).where(EventRow.target_id.is_not(None)).order_by(EventRow.id)
        self._events = records(connection, events)
        self._targets = {row.id: row for row in records(connection, of_task(TargetRow))}
        # Label Studio's clock minus ours.
        ahead = connection.execute(
            of_task(TaskRow).with_only_columns(TaskRow.clock_ahead_s)
        ).scalar()
        self._ahead = timedelta(seconds=ahead or 0.0)
        self._idle = idle
        self.through = max((event.id for event in self._events), default=0)

    def regions(self) -> list[Region]:
        # An annotation without an owner belongs to the owner of others by the same annotator.
        by_annotator = {
            self._annotations[number].annotator: owner
            for number, owner in self._owners.items()
            if owner and self._annotations[number].annotator is not None
        }
        regions = []
        for sample in self._samples:
            number, brush, region = _key(sample)
            same_person = by_annotator.get(self._annotations[number].annotator, "")
            regions.append(Region(number, brush, region, self._owners.get(number) or same_person))
        return regions

    def objects(self) -> list[PromptedObject]:
        """All objects with an interaction, and those that a phrase suggested beside its own."""
        by_target: dict[int | None, list[EventRow]] = {}
        for event in self._events:
            by_target.setdefault(event.target_id, []).append(event)
        objects = []
        for target, events in by_target.items():
            if target is None or not any(_begins(event) for event in events):
                continue
            row = self._targets.get(target)
            # The submit of a region is logged under the user who opened the task next.
            owners = [event.owner for event in events if event.owner and _begins(event)]
            objects.append(
                PromptedObject(
                    id=target,
                    region=events[-1].region_id,
                    owner=(row.owner if row else "") or (owners[-1] if owners else ""),
                    started=any(event.starts for event in events),
                    brush=row.brush if row else "",
                )
            )
        return objects

    def rows(self, connection: Connection, now: datetime) -> list[dict[str, Any]]:
        """A row for each region; reads the served masks."""
        targets = assign(self.regions(), self.objects())
        served = served_for(connection, [target for them in targets.values() for target in them])
        rows: dict[Key, dict[str, Any]] = {}
        for sample in self._samples:
            theirs = targets.get(_key(sample), ())
            own = [one for one in served if one.target in theirs]
            rows[_key(sample)] = self._row(sample, theirs, own, now)
        return list(rows.values())

    def _row(
        self, sample: SampleRow, targets: tuple[int, ...], served: Sequence[Served], now: datetime
    ) -> dict[str, Any]:
        number, brush, region = key = _key(sample)
        annotation = self._annotations[number]
        events = [event for event in self._events if event.target_id in targets]
        begun = [event for event in events if _begins(event)]
        done = [event for event in begun if event.interaction]
        mask = PackedMask(sample.width, sample.height, bytes(sample.mask))
        shape = _digest(mask)
        before = self._costs.get(key)
        if before is not None and (before.shape, before.targets) != (shape, list(targets)):
            before = None
        seen = quality(events, served, mask, before or UNKNOWN) if done else UNKNOWN
        first_at = begun[0].created_at if begun else None
        submitted_at = self._submitted_at(annotation, events, first_at)
        seconds = None
        if first_at is not None and submitted_at is not None:
            seconds = self._seconds(first_at, submitted_at, {event.owner for event in begun})
        versions = [event.model_version for event in events if event.model_version]
        return {
            "project": self.project,
            "annotation_id": number,
            "brush": brush,
            "region_id": region,
            "task_id": self.task,
            "digest": annotation.digest,
            "annotator": annotation.annotator,
            "label": sample.label,
            "origin": sample.origin,
            "area": sample.area,
            "phrase": sample.phrase,
            "model_version": versions[-1] if versions else "",
            "known": bool(begun),
            **{name: sum(e.kind == kind for e in events) for kind, name in _COUNTED.items()},
            **vars(seen),
            "interactions": len(done),
            "first_at": first_at,
            "accepted_at": next((e.created_at for e in events if e.kind == "accept"), None),
            "submitted_at": submitted_at,
            "seconds": seconds,
            "pixels": sample.width * sample.height,
            "targets": list(targets),
            "shape": shape,
            "drawn_at": now,
        }

    def _submitted_at(
        self, annotation: AnnotationRow, events: Sequence[EventRow], first_at: datetime | None
    ) -> datetime | None:
        """By our clock: when the annotation was created; for a region added to it later, when it
        was first seen there."""
        created, updated = (
            None if moment is None else moment - self._ahead
            for moment in (annotation.created_at, annotation.updated_at)
        )
        made = created or updated
        if first_at is None or made is None or first_at <= made + _AT_ONCE:
            return made
        submits = (event.created_at for event in events if event.kind == "submit")
        seen = (updated, *(moment for moment in submits if moment >= first_at))
        later = [moment for moment in seen if moment is not None]
        return min((moment for moment in later if moment >= first_at), default=max(later))

    def _seconds(self, begin: datetime, end: datetime, owners: set[str]) -> float:
        """Time from begin to end in which these owners worked on the task: each pause between
        two of their events, on any object, counts up to ``idle``."""
        moments = (event.created_at for event in self._events if event.owner in owners)
        between = [moment for moment in moments if begin < moment < end]
        pauses = (later - earlier for earlier, later in pairwise([begin, *sorted(between), end]))
        return sum(max(0.0, min(pause, self._idle).total_seconds()) for pause in pauses)


# Kinds of events, and the columns that count them.
_COUNTED = {
    "positive_click": "positive",
    "negative_click": "negative",
    "phrase": "phrases",
    "box": "boxes",
    "undo": "undos",
}


def _begins(event: EventRow) -> bool:
    """Whether an object is made by it: by an interaction, or as one of those that a phrase for all
    of a kind suggested. Such an object is known to have taken no interaction of its own."""
    return event.interaction or event.kind == "suggest"


def _key(row: SampleRow | RegionCostRow) -> Key:
    return row.annotation_id, row.brush[:BRUSH_CHARACTERS], row.region_id


def _digest(mask: PackedMask) -> str:
    digest = blake2b(f"{mask.width} {mask.height} ".encode(), digest_size=16)
    digest.update(mask.bits().tobytes())
    return digest.hexdigest()
