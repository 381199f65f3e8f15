"""One task's costs, worked out: from its living annotations, its log and its served masks.

A function of what lies in the tables, and of nothing else: whenever and however often it is worked
out, in whatever order webhooks came, the same rows come out. What is read here is written by
``costs``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select

from backend.db import sample_tables
from backend.db.models.core import EventRow, TargetRow, TaskRow
from backend.db.models.reports import AnnotationTimeRow, RegionCostRow, ServedMaskRow
from backend.db.packed_mask import PackedMask
from backend.label_studio.annotations import DRAFT_MARGIN
from backend.reports.attribution import Holder, Key, Made, share_out
from backend.reports.click_curve import NOTHING, Logged, Quality, Served, quality

costs: Table = RegionCostRow.__table__  # type: ignore[assignment]
times: Table = AnnotationTimeRow.__table__  # type: ignore[assignment]
served_masks: Table = ServedMaskRow.__table__  # type: ignore[assignment]
_events: Table = EventRow.__table__  # type: ignore[assignment]
_targets: Table = TargetRow.__table__  # type: ignore[assignment]
_tasks: Table = TaskRow.__table__  # type: ignore[assignment]

# Statements with more values are refused by some builds of SQLite.
_AT_ONCE = 500
# So much of a control's name is part of a row's key.
BRUSH = 128
# Two clocks are never quite the same.


@dataclass(frozen=True)
class Drawing:
    """What is to be written: the rows of those annotations that are not as they should be."""

    project: str
    task: int
    versions: Mapping[int, str]  # living annotation -> digest, as it was read
    through: int  # the newest event that was read
    anew: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def living(connection: Connection, project: str, task: int) -> dict[int, str]:
    """The task's annotations that are not gone, and the digest of each."""
    query = select(
        sample_tables.annotations.c.annotation_id, sample_tables.annotations.c.digest
    ).where(
        sample_tables.annotations.c.project == project,
        sample_tables.annotations.c.task_id == task,
        sample_tables.annotations.c.gone_at.is_(None),
    )
    return {row.annotation_id: row.digest for row in connection.execute(query)}


def draw(connection: Connection, project: str, task: int, now: datetime) -> Drawing:
    """Work out a task, leaving alone what is drawn already."""
    versions = living(connection, project, task)
    facts = _Facts.read(connection, project, task, list(versions))
    through = max((event.id for event in facts.events), default=0)
    targets = share_out(facts.holders(), facts.made())
    anew = {
        number: facts.rows(connection, number, targets, now)
        for number, digest in versions.items()
        if not facts.is_drawn(number, digest, targets)
    }
    return Drawing(project, task, versions, through, anew)


@dataclass(frozen=True)
class _Facts:
    """All that is known of a task, but for the masks."""

    project: str
    task: int
    annotations: Mapping[int, RowMapping]
    times: Mapping[int, RowMapping]
    samples: Mapping[int, Sequence[RowMapping]]
    drawn: Mapping[int, Mapping[Key, RowMapping]]
    events: Sequence[Logged]
    remembered: Mapping[int, RowMapping]
    ahead: timedelta

    @classmethod
    def read(
        cls, connection: Connection, project: str, task: int, living: Sequence[int]
    ) -> "_Facts":
        def of(table: Table, *columns: Any) -> Iterable[RowMapping]:
            query = select(*(columns or table.c)).where(
                table.c.project == project, table.c.annotation_id.in_(living)
            )
            return connection.execute(query).mappings()

        samples: dict[int, list[RowMapping]] = {}
        for row in of(
            sample_tables.samples, *(c for c in sample_tables.samples.c if c.name not in _UNREAD)
        ):
            samples.setdefault(row["annotation_id"], []).append(row)
        drawn: dict[int, dict[Key, RowMapping]] = {}
        for row in of(costs):
            key = (row["annotation_id"], row["brush"], row["region_id"])
            drawn.setdefault(row["annotation_id"], {})[key] = row
        ahead = select(_tasks.c.clock_ahead_s).where(
            _tasks.c.project == project, _tasks.c.task_id == task
        )
        return cls(
            project=project,
            task=task,
            annotations={row["annotation_id"]: row for row in of(sample_tables.annotations)},
            times={row["annotation_id"]: row for row in of(times)},
            samples=samples,
            drawn=drawn,
            events=_logged(connection, project, task),
            remembered=_remembered(connection, project, task),
            ahead=timedelta(seconds=connection.execute(ahead).scalar() or 0.0),
        )

    def holders(self) -> list[Holder]:
        """The regions of all living annotations."""
        owners = self._owners()
        return [
            Holder(number, row["brush"][:BRUSH], row["region_id"], owners.get(number, ""))
            for number, samples in self.samples.items()
            for row in samples
        ]

    def made(self) -> list[Made]:
        """All targets that somebody did something with."""
        by_target: dict[int, list[Logged]] = {}
        for event in self.events:
            by_target.setdefault(event.target, []).append(event)
        found = []
        for target, events in by_target.items():
            if not any(event.interaction for event in events):
                continue
            row = self.remembered.get(target)
            # That a region was submitted is logged under whoever looked at the task next.
            owners = [event.owner for event in events if event.owner and event.interaction]
            remembered = row["owner"] if row else ""
            found.append(
                Made(
                    target=target,
                    region=events[-1].region,
                    owner=remembered or (owners[-1] if owners else ""),
                    started=any(event.starts for event in events),
                    brush=row["brush"] if row else "",
                )
            )
        return found

    def is_drawn(self, number: int, digest: str, targets: Mapping[Key, tuple[int, ...]]) -> bool:
        """Whether this version's rows are there, with the same targets, and nothing came since."""
        time = self.times.get(number)
        if time is None or time["drawn"] != digest:
            return False
        known = self.drawn.get(number, {})
        mine = {key: list(them) for key, them in targets.items() if key[0] == number}
        if {key: row["targets"] for key, row in known.items() if row["targets"]} != mine:
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
        """An annotation's rows, its masks read."""
        masks = _accepted(connection, self.project, number)
        mine = [target for key, them in targets.items() if key[0] == number for target in them]
        served = _served(connection, mine)
        found: dict[Key, dict[str, Any]] = {}
        for sample in self.samples.get(number, ()):
            key = (number, sample["brush"][:BRUSH], sample["region_id"])
            mask = masks.get(sample["number"])
            if mask is not None:
                theirs = targets.get(key, ())
                of_them = [each for each in served if each.target in theirs]
                found[key] = self._row(key, sample, mask, theirs, of_them, now)
        return list(found.values())

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
        done = [event for event in events if event.interaction]
        shape = _shape(mask)
        before = self.drawn.get(key[0], {}).get(key)
        if before is not None and (before["shape"], before["targets"]) != (shape, list(targets)):
            before = None
        seen = quality(events, served, mask, _quality(before)) if done else NOTHING
        first_at = done[0].at if done else None
        submitted_at = self._submitted(annotation, events, first_at)
        seconds = None
        if first_at is not None and submitted_at is not None:
            seconds = max(0.0, (submitted_at - first_at).total_seconds())
        counts = {kind: sum(event.kind == kind for event in events) for kind in _KINDS}
        versions = [event.version for event in events if event.version]
        return {
            "project": self.project,
            "annotation_id": key[0],
            "brush": key[1],
            "region_id": key[2],
            "task_id": self.task,
            "digest": annotation["digest"],
            "label": sample["label"],
            "annotator": annotation["annotator"],
            "model_version": versions[-1] if versions else "",
            "known": bool(done),
            "origin": sample["origin"],
            "positive": counts["positive_click"],
            "negative": counts["negative_click"],
            "phrases": counts["phrase"],
            "undos": counts["undo"],
            "predictions": seen.predictions,
            "interactions": len(done),
            "first_at": first_at,
            "accepted_at": next((e.at for e in events if e.kind == "accept"), None),
            "submitted_at": submitted_at,
            "seconds": seconds,
            "area": sample["area"],
            "pixels": sample["width"] * sample["height"],
            "ious": list(seen.ious),
            "first_iou": seen.first,
            "last_iou": seen.last,
            "needed_85": seen.needed,
            "corrected": seen.corrected,
            "phrase": sample["phrase"],
            "targets": list(targets),
            "shape": shape,
            "drawn_at": now,
        }

    def _submitted(
        self, annotation: RowMapping, events: Sequence[Logged], first_at: datetime | None
    ) -> datetime | None:
        """On our clock: when the annotation was made; for a region that came into it later, when
        that was first seen there."""
        created, updated = (
            None if annotation[name] is None else annotation[name] - self.ahead
            for name in ("created_at", "updated_at")
        )
        made = created or updated
        if first_at is None or made is None or first_at <= made + DRAFT_MARGIN:
            return made
        seen = [event.at for event in events if event.kind == "submit" and event.at >= first_at]
        later = [moment for moment in (updated, *seen) if moment is not None]
        return min((moment for moment in later if moment >= first_at), default=max(later))

    def _owners(self) -> dict[int, str]:
        """Who made each annotation. One that does not say is by whoever made the others under the
        same number."""
        told = {number: row["owner"] for number, row in self.times.items() if row["owner"]}
        by_number = {
            self.annotations[number]["annotator"]: owner
            for number, owner in told.items()
            if self.annotations[number]["annotator"] is not None
        }
        return {
            number: told.get(number) or by_number.get(row["annotator"], "")
            for number, row in self.annotations.items()
        }


_KINDS = ("positive_click", "negative_click", "phrase", "undo")
_UNREAD = ("mask", "clicks")


def _quality(row: RowMapping | None) -> Quality:
    if row is None:
        return NOTHING
    return Quality(
        ious=tuple(row["ious"]),
        first=row["first_iou"],
        last=row["last_iou"],
        corrected=row["corrected"],
        needed=row["needed_85"],
        predictions=row["predictions"],
    )


def _shape(mask: PackedMask) -> str:
    name = blake2b(f"{mask.width} {mask.height} ".encode(), digest_size=16)
    name.update(mask.bits().tobytes())
    return name.hexdigest()


def _logged(connection: Connection, project: str, task: int) -> list[Logged]:
    it = _events.c
    columns = (
        it.id,
        it.kind,
        it.target_id,
        it.region_id,
        it.owner,
        it.request_id,
        it.starts,
        it.created_at,
        it.answered_at,
        it.error,
        it.model_version,
    )
    query = (
        select(*columns)
        .where(it.project == project, it.task_id == task, it.target_id.is_not(None))
        .order_by(it.id)
    )
    return [Logged(*row) for row in connection.execute(query)]


def _remembered(connection: Connection, project: str, task: int) -> dict[int, RowMapping]:
    query = select(_targets.c.id, _targets.c.owner, _targets.c.brush).where(
        _targets.c.project == project, _targets.c.task_id == task
    )
    return {row["id"]: row for row in connection.execute(query).mappings()}


def _accepted(connection: Connection, project: str, number: int) -> dict[int, PackedMask]:
    """The masks of an annotation, by their number in it."""
    it = sample_tables.samples.c
    query = select(it.number, it.width, it.height, it.mask).where(
        it.project == project, it.annotation_id == number
    )
    return {
        row.number: PackedMask(row.width, row.height, bytes(row.mask))
        for row in connection.execute(query)
    }


def _served(connection: Connection, targets: Sequence[int]) -> list[Served]:
    """The served masks of these targets, oldest first."""
    it = served_masks.c
    found: list[Any] = []
    for start in range(0, len(targets), _AT_ONCE):
        query = select(it.id, it.request_id, it.target_id, it.width, it.height, it.mask).where(
            it.target_id.in_(targets[start : start + _AT_ONCE])
        )
        found += connection.execute(query).all()
    return [
        Served(row.request_id, row.target_id, PackedMask(row.width, row.height, bytes(row.mask)))
        for row in sorted(found, key=lambda row: row.id)
    ]
