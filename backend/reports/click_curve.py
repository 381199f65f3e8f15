"""How one region was made: its events in order, and the IoU of each served mask with the accepted
one. ``interaction.store`` keeps each mask as it was served.

Manual edits count wherever they were made: after the last answer, and between two answers, where
the log has an event with the pixels that brush and eraser changed.

`assign` gives each prompted object to one accepted region, or to none. An object has a region id,
and usually one annotation contains that region. But annotators who start with the same prediction
share its region ids, and an annotation can be copied. Then the user who made the request decides;
if that is ambiguous, the interactions count for the task only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from backend.db.models import EventRow, RegionCostRow, ServedMaskRow
from backend.label_studio.rle import PackedMask
from backend.label_studio.shapes import thick

# The IoU of NoC@85: the number of clicks until a mask is good.
GOOD = 0.85
# Below this IoU a mask is no re-encoding of the same mask. *choice*
_SAME = 0.8
# Some builds of SQLite refuse statements with more values.
_TARGETS_AT_ONCE = 500


@dataclass(frozen=True)
class Served:
    """A mask that was served. ``request``: that of its events, or of none."""

    request: str
    target: int
    mask: PackedMask


@dataclass(frozen=True)
class Quality:
    """How close the served masks were to the accepted one; None where that is unknown. The fields
    are columns of ``RegionCostRow``.

    ``needed_85``: interactions to an IoU of GOOD; None also if it was never reached.
    """

    ious: Sequence[float | None] = ()
    first_iou: float | None = None
    last_iou: float | None = None
    corrected: int | None = None
    needed_85: int | None = None
    predictions: int = 0


UNKNOWN = Quality()


def quality(
    events: Sequence[EventRow],
    served: Sequence[Served],
    accepted: PackedMask,
    before: Quality | RegionCostRow = UNKNOWN,
) -> Quality:
    """The quality of a region from its events and served masks, oldest first.

    before: computed earlier for the same accepted mask; used for masks that have expired since.
    """
    by_request = {mask.request: mask.mask.iou(accepted) for mask in served}
    done = [event for event in events if event.interaction]
    # Two clicks of one request are answered together, after the last of them.
    ends = sorted({event.request_id: place for place, event in enumerate(done)}.values())
    ious = [
        before.ious[place] if iou is None and place < len(before.ious) else iou
        for place, iou in enumerate(_after_each(done, ends, by_request))
    ]
    answered = [place for place in ends if done[place].answered]
    requests = {done[place].request_id for place in answered}
    return Quality(
        ious=ious,
        first_iou=ious[answered[0]] if answered else None,
        last_iou=by_request[served[-1].request] if served else before.last_iou,
        corrected=_corrected(events, served, accepted) if served else before.corrected,
        needed_85=_needed(ious, answered),
        predictions=max(before.predictions, len(requests | set(by_request))),
    )


def served_for(connection: Connection, targets: Sequence[int]) -> list[Served]:
    """The masks served for these targets, oldest first."""
    row = ServedMaskRow
    columns = select(row.id, row.request_id, row.target_id, row.width, row.height, row.mask)
    rows: list[Any] = []
    for start in range(0, len(targets), _TARGETS_AT_ONCE):
        some = targets[start : start + _TARGETS_AT_ONCE]
        rows += connection.execute(columns.where(row.target_id.in_(some))).all()
    return [
        Served(request, target, PackedMask(width, height, bytes(mask)))
        for _, request, target, width, height, mask in sorted(rows, key=lambda mask: mask.id)
    ]


def edited_pixels(accepted: PackedMask, served: PackedMask) -> int | None:
    """Pixels that were edited by hand; None if the masks differ in size."""
    if (accepted.width, accepted.height) != (served.width, served.height):
        return None
    if accepted.data == served.data:
        return 0
    return int(np.count_nonzero(thick(accepted.unpack() ^ served.unpack())))


def _after_each(
    done: Sequence[EventRow], ends: Sequence[int], by_request: Mapping[str, float]
) -> Iterator[float | None]:
    """IoU of what the page showed after each interaction; None while its answer is still to come.

    If an answer failed or was empty, the page kept showing what it had. ends: places of the last
    interaction of each request.
    """
    shown: float | None = None
    for place, event in enumerate(done):
        if place not in ends:
            yield None
            continue
        if event.request_id in by_request:
            shown = by_request[event.request_id]
        elif event.answered:
            shown = None  # served, but expired since
        yield shown


def _needed(ious: Sequence[float | None], answered: Sequence[int]) -> int | None:
    """None after a mask that is unknown now: it may have been good already."""
    for place, iou in enumerate(ious):
        if iou is None and place in answered:
            return None
        if iou is not None and iou >= GOOD:
            return place + 1
    return None


def _corrected(
    events: Sequence[EventRow], served: Sequence[Served], accepted: PackedMask
) -> int | None:
    """Pixels edited between answers, and after the last one unless Ctrl+Z brought an earlier answer
    back."""
    last = edited_pixels(accepted, served[-1].mask)
    if last is None:
        return None
    alike = (s.mask for s in reversed(served[:-1]) if s.mask.iou(accepted) > _SAME)
    if last and any(edited_pixels(accepted, mask) == 0 for mask in alike):
        last = 0
    places = [place for place, event in enumerate(events) if event.request_id == served[-1].request]
    before = events[: places[-1]] if places else events
    return last + sum(event.edited or 0 for event in before)


Key = tuple[int, str, str]  # annotation, brush, region id


@dataclass(frozen=True)
class Region:
    """A region in an annotation. ``owner``: who made the annotation, '' if unknown."""

    annotation: int
    brush: str
    region: str
    owner: str

    @property
    def key(self) -> Key:
        return self.annotation, self.brush, self.region


@dataclass(frozen=True)
class PromptedObject:
    """An object with interactions. ``started``: this backend created its region id, so it is
    unique. ``brush``: '' if the object has expired."""

    id: int
    region: str
    owner: str
    started: bool
    brush: str = ""


def assign(
    regions: Iterable[Region], objects: Iterable[PromptedObject]
) -> dict[Key, tuple[int, ...]]:
    """The sorted ids of the objects of each region that has any."""
    by_id: dict[str, list[Region]] = {}
    for region in regions:
        by_id.setdefault(region.region, []).append(region)
    assigned: dict[Key, list[int]] = {}
    for prompted in objects:
        region_of_it = _region_of(prompted, by_id.get(prompted.region, ()))
        if region_of_it is not None:
            assigned.setdefault(region_of_it.key, []).append(prompted.id)
    return {key: tuple(sorted(ids)) for key, ids in assigned.items()}


def _region_of(prompted: PromptedObject, regions: Sequence[Region]) -> Region | None:
    """The region of an object; None if there is none, or if several are possible."""
    if not regions:
        return None
    same_owner = [r for r in regions if prompted.owner and r.owner == prompted.owner]
    if same_owner:
        return _original(same_owner, prompted)
    if prompted.started:
        # The others are copies, or were continued by another user.
        return _original(regions, prompted)
    one_annotation = len({region.annotation for region in regions}) == 1
    if one_annotation and not (prompted.owner and regions[0].owner):
        return _original(regions, prompted)
    return None


def _original(regions: Sequence[Region], prompted: PromptedObject) -> Region:
    """The oldest annotation, and in it the control that the object was made with."""
    return min(regions, key=lambda r: (r.annotation, r.brush != prompted.brush, r.brush))
