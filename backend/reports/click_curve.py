"""How one region was made: its events in order, and the IoU of each served mask with the accepted
one.

Manual edits: the page re-encodes a mask when it saves, which moves single pixels along its border,
while a stroke of brush or eraser is several pixels thick. So a difference counts only where it can
hold a square of three pixels; then the whole patch joined to that square counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from backend.db.models import INTERACTIONS
from backend.db.packed_mask import PackedMask
from backend.reports.served_masks import Served

Mask = NDArray[np.bool_]

# The IoU of NoC@85: the number of clicks until a mask is good.
GOOD = 0.85
# Below this IoU a mask is no re-encoding of the same mask. *choice*
_SAME = 0.8


@dataclass(frozen=True)
class Logged:
    """An event of the log, as far as costs need it."""

    id: int
    kind: str
    target: int
    region: str
    owner: str
    request: str
    starts: bool
    at: datetime
    answered_at: datetime | None
    error: str
    version: str

    @property
    def interaction(self) -> bool:
        """Whether it is a click or a phrase."""
        return self.kind in INTERACTIONS

    @property
    def answered(self) -> bool:
        """Whether the model answered it."""
        return self.answered_at is not None and not self.error and bool(self.request)


@dataclass(frozen=True)
class Quality:
    """How close the served masks were to the accepted one; None where that is unknown.

    ``needed``: interactions to an IoU of GOOD; None also if it was never reached.
    """

    ious: tuple[float | None, ...] = ()
    first: float | None = None
    last: float | None = None
    corrected: int | None = None
    needed: int | None = None
    predictions: int = 0


UNKNOWN = Quality()


def quality(
    events: Sequence[Logged],
    served: Sequence[Served],
    accepted: PackedMask,
    before: Quality = UNKNOWN,
) -> Quality:
    """The quality of a region from its events and served masks, oldest first.

    before: computed earlier for the same accepted mask; used for masks that have expired since.
    """
    by_request = {each.request: each.mask.iou(accepted) for each in served}
    ious = _after_each(events, by_request)
    ious = [
        before.ious[place] if iou is None and place < len(before.ious) else iou
        for place, iou in enumerate(ious)
    ]
    requests = {event.request for event in events if event.interaction and event.answered}
    return Quality(
        ious=tuple(ious),
        first=_first(events, ious),
        last=by_request[served[-1].request] if served else before.last,
        corrected=_corrected(served, accepted) if served else before.corrected,
        needed=_needed(events, ious),
        predictions=max(before.predictions, len(requests | set(by_request))),
    )


def edited_pixels(accepted: PackedMask, served: PackedMask) -> int | None:
    """Pixels that were edited by hand; None if the masks differ in size."""
    if (accepted.width, accepted.height) != (served.width, served.height):
        return None
    if accepted.data == served.data:
        return 0
    return int(np.count_nonzero(_thick(accepted.unpack() ^ served.unpack())))


def _after_each(events: Sequence[Logged], by_request: Mapping[str, float]) -> list[float | None]:
    """IoU of what the page showed after each interaction.

    Two clicks of one request are answered together, so nothing is known after the first of them. If
    an answer failed or was empty, the page kept showing what it had.
    """
    done = [event for event in events if event.interaction]
    last_of = {event.request: place for place, event in enumerate(done)}
    ious: list[float | None] = []
    shown: float | None = None
    for place, event in enumerate(done):
        if place != last_of[event.request]:
            ious.append(None)
            continue
        if event.request in by_request:
            shown = by_request[event.request]
        elif event.answered:
            shown = None  # served, but expired since
        ious.append(shown)
    return ious


def _first(events: Sequence[Logged], ious: Sequence[float | None]) -> float | None:
    """IoU of the first request that was answered."""
    done = [event for event in events if event.interaction]
    first = next((event.request for event in done if event.answered), None)
    places = [place for place, event in enumerate(done) if event.request == first]
    return ious[places[-1]] if places else None


def _needed(events: Sequence[Logged], ious: Sequence[float | None]) -> int | None:
    """None after a mask that is unknown now: it may have been good already."""
    done = [event for event in events if event.interaction]
    last_of = {event.request: place for place, event in enumerate(done)}
    for place, (event, iou) in enumerate(zip(done, ious, strict=True)):
        if iou is None and event.answered and place == last_of[event.request]:
            return None
        if iou is not None and iou >= GOOD:
            return place + 1
    return None


def _corrected(served: Sequence[Served], accepted: PackedMask) -> int | None:
    """If Ctrl+Z brought an earlier answer back, nothing was edited."""
    last = edited_pixels(accepted, served[-1].mask)
    if not last:
        return last
    alike = (each for each in reversed(served[:-1]) if each.mask.iou(accepted) > _SAME)
    return 0 if any(edited_pixels(accepted, each.mask) == 0 for each in alike) else last


def _thick(changed: Mask) -> Mask:
    """Without the parts that no square of three pixels fits into: a morphological opening by
    reconstruction of one step. (scipy.ndimage has it, but is slow to import.)"""
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    if not len(rows):
        return changed
    box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _neighbours(_neighbours(box, np.logical_and), np.logical_or) & box


def _neighbours(mask: Mask, join: np.ufunc) -> Mask:
    """Each pixel joined with its eight neighbours; the outside is False."""
    padded = np.pad(mask, 1)
    lines = join(join(padded[:-2], padded[1:-1]), padded[2:])
    return np.asarray(join(join(lines[:, :-2], lines[:, 1:-1]), lines[:, 2:]), bool)
