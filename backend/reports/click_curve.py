"""How one region was made: its events in order, held against the mask that was accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from backend.db.models.core import INTERACTIONS
from backend.db.packed_mask import PackedMask
from backend.reports.manual_edits import corrected

GOOD = 0.85


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
        """Whether somebody did it."""
        return self.kind in INTERACTIONS

    @property
    def answered(self) -> bool:
        """Whether the model answered it."""
        return self.answered_at is not None and not self.error and bool(self.request)


@dataclass(frozen=True)
class Served:
    """A mask that was served. ``request``: that of its events, or of none."""

    request: str
    target: int
    mask: PackedMask


@dataclass(frozen=True)
class Quality:
    """How near the served masks were to the accepted one. None: not known."""

    ious: tuple[float | None, ...] = ()
    first: float | None = None
    last: float | None = None
    corrected: int | None = None
    needed: int | None = None  # interactions to GOOD; None: never, or nobody knows when
    predictions: int = 0


NOTHING = Quality()


def quality(
    events: Sequence[Logged],
    served: Sequence[Served],
    accepted: PackedMask,
    before: Quality = NOTHING,
) -> Quality:
    """Of a region's events and served masks, oldest first.

    before: as it was drawn earlier of the same accepted mask, for masks that are kept no more.
    """
    by_request = {each.request: each.mask.iou(accepted) for each in served}
    ious = _after_each(events, by_request)
    known = len(before.ious)
    ious = [
        before.ious[place] if iou is None and place < known else iou
        for place, iou in enumerate(ious)
    ]
    requests = {event.request for event in events if event.interaction and event.answered}
    return Quality(
        ious=tuple(ious),
        first=_first(events, ious),
        last=by_request[served[-1].request] if served else before.last,
        corrected=_by_hand(served, accepted) if served else before.corrected,
        needed=_needed(events, ious),
        predictions=max(before.predictions, len(requests | set(by_request))),
    )


def _after_each(events: Sequence[Logged], by_request: Mapping[str, float]) -> list[float | None]:
    """IoU of what the page showed after each interaction.

    Two clicks of one request are answered together, so after the first of them nothing was shown
    yet; and where an answer failed or was empty, the page kept what it had.
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
            shown = None  # served, but not kept any more
        ious.append(shown)
    return ious


def _first(events: Sequence[Logged], ious: Sequence[float | None]) -> float | None:
    """Of the first request that was answered."""
    done = [event for event in events if event.interaction]
    first = next((event.request for event in done if event.answered), None)
    places = [place for place, event in enumerate(done) if event.request == first]
    return ious[places[-1]] if places else None


def _needed(events: Sequence[Logged], ious: Sequence[float | None]) -> int | None:
    """Where a mask was served that nobody knows any more, it may have been good already."""
    done = [event for event in events if event.interaction]
    last_of = {event.request: place for place, event in enumerate(done)}
    for place, (event, iou) in enumerate(zip(done, ious, strict=True)):
        if iou is None and event.answered and place == last_of[event.request]:
            return None
        if iou is not None and iou >= GOOD:
            return place + 1
    return None


def _by_hand(served: Sequence[Served], accepted: PackedMask) -> int | None:
    """Ctrl+Z may have brought an earlier answer back: then nothing was drawn."""
    last = corrected(accepted, served[-1].mask)
    if not last:
        return last
    same = (each for each in reversed(served[:-1]) if each.mask.iou(accepted) > _ALMOST)
    return 0 if any(corrected(accepted, each.mask) == 0 for each in same) else last


# Less alike than this is no re-encoding of the same mask, whatever its size.
_ALMOST = 0.8
