"""The costs of one task, computed from its annotations, its log and its served masks.

A pure function of the tables, so neither the time nor the order of webhooks changes the result.
``costs`` writes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from backend.db.models import (
    AnnotationRow,
    AnnotationTimeRow,
    Base,
    EventRow,
    RegionCostRow,
    SampleRow,
    TargetRow,
    TaskRow,
)
from backend.db.packed_mask import PackedMask
from backend.reports.click_curve import (
    UNKNOWN,
    Key,
    LoggedEvent,
    PromptedObject,
    Quality,
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

# Columns of samples that are large and needed for changed annotations only.
_LARGE = ("mask", "clicks")


@dataclass(frozen=True)
class TaskCosts:
    """What to write: the rows of the annotations whose costs are missing or outdated.

    ``versions``: the digest of each annotation as it was read. ``through``: the newest event read.
    ``changed``: rows by annotation.
    """

    project: str
    task: int
    versions: Mapping[int, str]
    through: int
    changed: Mapping[int, Sequence[Mapping[str, Any]]]


def current_versions(connection: Connection, project: str, task: int) -> dict[int, str]:
    """The annotations of a task that exist, and the digest of each."""
    query = select(AnnotationRow.annotation_id, AnnotationRow.digest).where(
        AnnotationRow.project == project,
        AnnotationRow.task_id == task,
        AnnotationRow.gone_at.is_(None),
    )
    return {row.annotation_id: row.digest for row in connection.execute(query)}


def compute(
    connection: Connection, project: str, task: int, now: datetime, idle: timedelta
) -> TaskCosts:
    """Compute what is missing or outdated of a task. idle: longer pauses count as this long."""
    versions = current_versions(connection, project, task)
    facts = _TaskRecords.read(connection, project, task, list(versions), idle)
    targets = assign(facts.regions(), facts.objects())
    return TaskCosts(
        project,
        task,
        versions,
        through=max((event.id for event in facts.events), default=0),
        changed={
            number: facts.rows(connection, number, targets, now)
            for number, digest in versions.items()
            if not facts.is_current(number, digest, targets)
        },
    )


@dataclass(frozen=True)
class _TaskRecords:
    """All that is known of a task, except the masks. ``ahead``: Label Studio's clock minus ours.
    ``idle``: longer pauses count as this long."""

    project: str
    task: int
    annotations: Mapping[int, RowMapping]
    times: Mapping[int, RowMapping]
    samples: Mapping[int, Sequence[RowMapping]]
    costs: Mapping[int, Mapping[Key, RowMapping]]
    events: Sequence[LoggedEvent]
    targets: Mapping[int, RowMapping]
    ahead: timedelta
    idle: timedelta

    @classmethod
    def read(
        cls,
        connection: Connection,
        project: str,
        task: int,
        numbers: Sequence[int],
        idle: timedelta,
    ) -> "_TaskRecords":
        def rows(model: type[Base], without: tuple[str, ...] = ()) -> Iterable[RowMapping]:
            columns = model.__table__.c
            query = select(*(c for c in columns if c.name not in without)).where(
                columns.project == project, columns.annotation_id.in_(numbers)
            )
            return connection.execute(query).mappings()

        samples: dict[int, list[RowMapping]] = {}
        for row in rows(SampleRow, _LARGE):
            samples.setdefault(row["annotation_id"], []).append(row)
        costs: dict[int, dict[Key, RowMapping]] = {}
        for row in rows(RegionCostRow):
            key = (row["annotation_id"], row["brush"], row["region_id"])
            costs.setdefault(row["annotation_id"], {})[key] = row
        ahead = select(TaskRow.clock_ahead_s).where(
            TaskRow.project == project, TaskRow.task_id == task
        )
        return cls(
            project=project,
            task=task,
            annotations={row["annotation_id"]: row for row in rows(AnnotationRow)},
            times={row["annotation_id"]: row for row in rows(AnnotationTimeRow)},
            samples=samples,
            costs=costs,
            events=_events(connection, project, task),
            targets=_targets(connection, project, task),
            ahead=timedelta(seconds=connection.execute(ahead).scalar() or 0.0),
            idle=idle,
        )

    def regions(self) -> list[Region]:
        """The regions of all annotations."""
        owners = self._owners()
        return [
            Region(
                number, row["brush"][:BRUSH_CHARACTERS], row["region_id"], owners.get(number, "")
            )
            for number, samples in self.samples.items()
            for row in samples
        ]

    def objects(self) -> list[PromptedObject]:
        """All objects with an interaction, and those that a phrase suggested beside its own."""
        by_target: dict[int, list[LoggedEvent]] = {}
        for event in self.events:
            by_target.setdefault(event.target, []).append(event)
        objects = []
        for target, events in by_target.items():
            if not any(_begins(event) for event in events):
                continue
            row = self.targets.get(target)
            # The submit of a region is logged under the user who opened the task next.
            owners = [event.owner for event in events if event.owner and _begins(event)]
            objects.append(
                PromptedObject(
                    id=target,
                    region=events[-1].region,
                    owner=(row["owner"] if row else "") or (owners[-1] if owners else ""),
                    started=any(event.starts for event in events),
                    brush=row["brush"] if row else "",
                )
            )
        return objects

    def is_current(self, number: int, digest: str, targets: Mapping[Key, tuple[int, ...]]) -> bool:
        """Whether this version has its rows, with the same targets, and no newer event."""
        time = self.times.get(number)
        if time is None or time["drawn"] != digest:
            return False
        mine = {key: list(them) for key, them in targets.items() if key[0] == number}
        costs = self.costs.get(number, {})
        if {key: row["targets"] for key, row in costs.items() if row["targets"]} != mine:
            return False
        of_mine = {target for them in mine.values() for target in them}
        return all(e.id <= time["through"] for e in self.events if e.target in of_mine)

    def rows(
        self,
        connection: Connection,
        number: int,
        targets: Mapping[Key, tuple[int, ...]],
        now: datetime,
    ) -> list[dict[str, Any]]:
        """The rows of an annotation; reads its masks."""
        query = select(SampleRow.number, SampleRow.width, SampleRow.height, SampleRow.mask).where(
            SampleRow.project == self.project, SampleRow.annotation_id == number
        )
        masks = {
            row.number: PackedMask(row.width, row.height, bytes(row.mask))
            for row in connection.execute(query)
        }
        mine = [target for key, them in targets.items() if key[0] == number for target in them]
        served = served_for(connection, mine)
        rows: dict[Key, dict[str, Any]] = {}
        for sample in self.samples.get(number, ()):
            key = (number, sample["brush"][:BRUSH_CHARACTERS], sample["region_id"])
            if (mask := masks.get(sample["number"])) is not None:
                theirs = targets.get(key, ())
                own = [one for one in served if one.target in theirs]
                rows[key] = self._row(key, sample, mask, theirs, own, now)
        return list(rows.values())

    def _row(
        self,
        key: Key,
        sample: RowMapping,
        mask: PackedMask,
        targets: tuple[int, ...],
        served: Sequence[Served],
        now: datetime,
    ) -> dict[str, Any]:
        annotation = self.annotations[key[0]]
        events = [event for event in self.events if event.target in targets]
        begun = [event for event in events if _begins(event)]
        done = [event for event in begun if event.interaction]
        shape = _digest(mask)
        before = self.costs.get(key[0], {}).get(key)
        if before is not None and (before["shape"], before["targets"]) != (shape, list(targets)):
            before = None
        seen = quality(events, served, mask, _quality(before)) if done else UNKNOWN
        first_at = begun[0].at if begun else None
        submitted_at = self._submitted_at(annotation, events, first_at)
        seconds = None
        if first_at is not None and submitted_at is not None:
            seconds = self._seconds(first_at, submitted_at, {event.owner for event in begun})
        counts = {kind: sum(event.kind == kind for event in events) for kind in _COUNTED}
        versions = [event.version for event in events if event.version]
        return {
            "project": self.project,
            "annotation_id": key[0],
            "brush": key[1],
            "region_id": key[2],
            "task_id": self.task,
            "digest": annotation["digest"],
            "annotator": annotation["annotator"],
            **{name: sample[name] for name in ("label", "origin", "area", "phrase")},
            "model_version": versions[-1] if versions else "",
            "known": bool(begun),
            **{name: counts[kind] for kind, name in _COUNTED.items()},
            "predictions": seen.predictions,
            "interactions": len(done),
            "first_at": first_at,
            "accepted_at": next((e.at for e in events if e.kind == "accept"), None),
            "submitted_at": submitted_at,
            "seconds": seconds,
            "pixels": sample["width"] * sample["height"],
            "ious": list(seen.ious),
            "first_iou": seen.first,
            "last_iou": seen.last,
            "needed_85": seen.needed,
            "corrected": seen.corrected,
            "targets": list(targets),
            "shape": shape,
            "drawn_at": now,
        }

    def _submitted_at(
        self, annotation: RowMapping, events: Sequence[LoggedEvent], first_at: datetime | None
    ) -> datetime | None:
        """By our clock: when the annotation was created; for a region added to it later, when it
        was first seen there."""
        created, updated = (
            None if annotation[name] is None else annotation[name] - self.ahead
            for name in ("created_at", "updated_at")
        )
        made = created or updated
        if first_at is None or made is None or first_at <= made + _AT_ONCE:
            return made
        seen = [event.at for event in events if event.kind == "submit" and event.at >= first_at]
        later = [moment for moment in (updated, *seen) if moment is not None]
        return min((moment for moment in later if moment >= first_at), default=max(later))

    def _seconds(self, begin: datetime, end: datetime, owners: set[str]) -> float:
        """Time from begin to end in which these owners worked on the task: each pause between
        two of their events, on any object, counts up to ``idle``."""
        between = [e.at for e in self.events if begin < e.at < end and e.owner in owners]
        pauses = (later - earlier for earlier, later in pairwise([begin, *sorted(between), end]))
        return sum(max(0.0, min(pause, self.idle).total_seconds()) for pause in pauses)

    def _owners(self) -> dict[int, str]:
        """Who made each annotation; one without an owner belongs to the owner of others with the
        same annotator number. '' if unknown."""
        owners = {number: row["owner"] for number, row in self.times.items() if row["owner"]}
        by_annotator = {
            self.annotations[number]["annotator"]: owner
            for number, owner in owners.items()
            if self.annotations[number]["annotator"] is not None
        }
        return {
            number: owners.get(number) or by_annotator.get(row["annotator"], "")
            for number, row in self.annotations.items()
        }


# Kinds of events, and the columns that count them.
_COUNTED = {
    "positive_click": "positive",
    "negative_click": "negative",
    "phrase": "phrases",
    "box": "boxes",
    "undo": "undos",
}


def _begins(event: LoggedEvent) -> bool:
    """Whether an object is made by it: by an interaction, or as one of those that a phrase for all
    of a kind suggested. Such an object is known to have taken no interaction of its own."""
    return event.interaction or event.kind == "suggest"


def _quality(row: RowMapping | None) -> Quality:
    if row is None:
        return UNKNOWN
    return Quality(
        ious=tuple(row["ious"]),
        first=row["first_iou"],
        last=row["last_iou"],
        corrected=row["corrected"],
        needed=row["needed_85"],
        predictions=row["predictions"],
    )


def _digest(mask: PackedMask) -> str:
    digest = blake2b(f"{mask.width} {mask.height} ".encode(), digest_size=16)
    digest.update(mask.bits().tobytes())
    return digest.hexdigest()


def _events(connection: Connection, project: str, task: int) -> list[LoggedEvent]:
    of = EventRow
    query = (
        select(
            *(of.id, of.kind, of.target_id, of.region_id, of.owner, of.request_id),
            *(of.starts, of.created_at, of.answered_at, of.error, of.model_version),
            of.edited,
        )
        .where(of.project == project, of.task_id == task, of.target_id.is_not(None))
        .order_by(of.id)
    )
    rows: Iterable[Any] = connection.execute(query)
    return [LoggedEvent(*row) for row in rows]


def _targets(connection: Connection, project: str, task: int) -> dict[int, RowMapping]:
    query = select(TargetRow.id, TargetRow.owner, TargetRow.brush).where(
        TargetRow.project == project, TargetRow.task_id == task
    )
    return {row["id"]: row for row in connection.execute(query).mappings()}
