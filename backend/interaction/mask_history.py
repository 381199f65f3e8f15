"""The last masks that were answered for each object, each with the prompts behind it.

They give the predictor its previous mask. They also show what the page did without a request.
Ctrl+Z after an answer brings the mask before it back; brush and eraser change it. A draft that was
saved well after the answer shows which: with an earlier mask its prompts are back too, and later
clicks no longer count; any other mask was edited by hand. The next answer builds on it and keeps
what was painted and erased (``manual_edits``).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, delete, insert, select

from backend.db.models import AnswerRow, ServedMaskRow
from backend.db.packed_mask import PackedMask
from backend.errors import BackendError
from backend.interaction.events import Event
from backend.interaction.manual_edits import NO_EDITS, ManualEdits
from backend.interaction.objects import Target, Turn
from backend.interaction.request import Interaction, Saved
from backend.label_studio.regions import Region
from backend.label_studio.shapes import drawn_over, thick

# The page re-encodes a mask when it saves: a few border pixels may differ. More, or a patch that is
# as thick as a stroke, makes it another mask.
SAME_IOU = 0.99

# Built once: building a statement costs more than running it.
_OF_TARGET = AnswerRow.target_id == bindparam("of_target")
_ANSWERS = select(AnswerRow).order_by(AnswerRow.turn.desc())
_READ = _ANSWERS.where(_OF_TARGET)
_READ_SEVERAL = _ANSWERS.where(AnswerRow.target_id.in_(bindparam("ids", expanding=True)))
_MAKE_ROOM = delete(AnswerRow).where(
    _OF_TARGET,
    (AnswerRow.turn == bindparam("of_turn")) | (AnswerRow.turn < bindparam("before")),
)
_STORE = insert(AnswerRow)
_DROP_NEWER = delete(AnswerRow).where(_OF_TARGET, AnswerRow.turn > bindparam("after"))
_KEEP_SERVED = insert(ServedMaskRow)


@dataclass(frozen=True)
class Answer:
    """One mask and the prompts behind it."""

    turn: int
    clicks: Sequence[Any]  # [id, positive] of the clicks behind it, sorted
    phrase: str
    by_hand: bool  # edited on the page
    digest: str  # of the RLE as answered
    mask: PackedMask
    edits: ManualEdits = NO_EDITS  # those that hold in it

    def edits_before(self, target: Target) -> ManualEdits:
        """What a hand drew, as far as the object's newer clicks leave it."""
        then = {identity for identity, _ in self.clicks}
        return self.edits.after([click for click in target.counting if click.id not in then])


@dataclass
class MaskHistory:
    """The masks of one object, newest first, and what is to be changed in the database."""

    answers: list[Answer]
    edited: Answer | None = None  # to be stored
    undone_after: int | None = None  # later turns are to be dropped

    def at(self, turn: int) -> PackedMask | None:
        """The mask of a turn."""
        return next((answer.mask for answer in self.answers if answer.turn == turn), None)

    def shown(self) -> PackedMask | None:
        """The mask that the page shows."""
        return self.answers[0].mask if self.answers else None

    def fitting(self, target: Target) -> PackedMask | None:
        """The newest mask that rests on exactly the clicks that count; else on some of them."""
        now = {click.id for click in target.counting}
        then = [({identity for identity, _ in answer.clicks}, answer) for answer in self.answers]
        exact = (answer.mask for clicks, answer in then if clicks == now)
        return next(exact, next((a.mask for clicks, a in then if clicks <= now), None))

    def previous(self, target: Target) -> Answer | None:
        """The newest answer that rests on prompts that still count, and not on all of them.

        So an undone click leaves no trace, a replaced phrase does not hold its object back, and a
        request that comes twice is answered twice the same.
        """
        now = {(click.id, click.positive) for click in target.counting}
        for answer in self.answers:
            then = {(identity, positive) for identity, positive in answer.clicks}
            if not then <= now or answer.phrase not in ("", target.phrase):
                continue
            if answer.by_hand or then != now or answer.phrase != target.phrase:
                return answer
        return None

    def follow_page(
        self, target: Target, showing: Saved, ask: Interaction, seen: "PageMasks"
    ) -> list[Event]:
        """Take over the mask that the page shows; gives the events that this implies."""
        region = showing.regions[target.region_id]
        name = digest(region)
        again = name == target.shown_digest
        if not name or (again and any(c.id in showing.clicks for c in target.counting)):
            return []  # with Auto-Accept off, the old mask stays until the newest is accepted
        target.shown_digest = name
        if self.answers and self.answers[0].digest == name:
            return []
        masks = seen.decoded(name, region)
        if masks is None:
            return []
        saved, drawn = masks
        back = recognise(saved, self.answers)
        if again and (back is None or drawn != saved or self._words_alone_since(back)):
            return []  # seen before, or a phrase's mask that may wait to be accepted
        events: list[Event] = []
        if back is not None and back is not self.answers[0]:
            then = {identity for identity, _ in back.clicks}
            if any(c.id in showing.clicks for c in target.counting if c.id not in then):
                return []  # a newer mask waits to be accepted
            self.undone_after = back.turn
            self.answers = [answer for answer in self.answers if answer.turn <= back.turn]
            events = _restored(target, back, ask)
        if back is None or drawn != saved:
            events.append(self._edited(target, region, name, drawn))
        return events

    def _words_alone_since(self, back: Answer) -> bool:
        """Whether the newest answer rests on other words than an earlier one, and on no click that
        the page would show as long as it waits."""
        newest = self.answers[0]
        then = {identity for identity, _ in back.clicks}
        return back.phrase != newest.phrase and then.issuperset(name for name, _ in newest.clicks)

    def _edited(self, target: Target, region: Region, name: str, drawn: PackedMask) -> Event:
        """The page's mask as the newest one, in a turn of its own before the present one."""
        newest = self.answers[0] if self.answers else None
        before, edits = None, ManualEdits()
        if newest is not None and newest.mask.shape == drawn.shape:
            before = newest.mask
            edits = ManualEdits.between(before.unpack(), drawn.unpack())
        elif newest is None and region.drawn_by_hand:
            edits = ManualEdits(painted=drawn.unpack())
        self.edited = Answer(
            turn=target.turn,
            clicks=newest.clicks if newest else (),
            phrase=newest.phrase if newest else "",
            by_hand=True,
            digest=name,
            mask=drawn,
            edits=newest.edits.then(edits) if newest else edits,
        )
        target.turn += 1
        self.answers = [self.edited, *self.answers]
        return Event(
            "edit",
            target.id,
            target.region_id,
            label=target.label,
            changed=1.0 if before is None else 1.0 - before.iou(drawn),
            edited=edits.pixels,
        )

    def write(self, connection: Connection, target_id: int, at: datetime) -> None:
        """Write what ``follow_page`` changed."""
        if self.undone_after is not None:
            values = {"of_target": target_id, "after": self.undone_after}
            connection.execute(_DROP_NEWER, values)
        if self.edited is not None:
            store_answer(connection, target_id, self.edited, at)


@dataclass
class PageMasks:
    """Masks of drafts, decoded once for all attempts to assign a request."""

    _masks: dict[tuple[str, str], tuple[PackedMask, PackedMask] | None] = field(
        default_factory=dict
    )

    def decoded(self, name: str, region: Region) -> tuple[PackedMask, PackedMask] | None:
        """The mask without and with the strokes over it; None where it cannot be read."""
        key = region.id, name
        if key not in self._masks:
            try:
                saved = region.saved_mask()
            except BackendError:
                self._masks[key] = None
            else:
                packed = PackedMask.pack(saved)
                drawn = drawn_over(saved, region.touches) if region.touches else saved
                self._masks[key] = packed, PackedMask.pack(drawn) if region.touches else packed
        return self._masks[key]


def digest(region: Region) -> str:
    """A short name for a region's mask and strokes; '' where there is neither, or nonsense."""
    if region.outlines:
        corners = json.dumps(region.outlines, default=str)
        return blake2b(corners.encode(), digest_size=16).hexdigest()
    name = digest_rle(region.rle)
    if not region.touches:
        return name
    strokes = json.dumps(region.touches, sort_keys=True, default=str)
    return blake2b((name + strokes).encode(), digest_size=16).hexdigest()


def digest_rle(numbers: Sequence[int] | None) -> str:
    """A short name for a run-length encoded mask; '' where there is none or it is nonsense."""
    if numbers is None:
        return ""
    try:
        octets = np.asarray(numbers, dtype=np.uint8)
    except (ValueError, TypeError, OverflowError):
        return ""
    return blake2b(octets.tobytes(), digest_size=16).hexdigest()


def read_answers(connection: Connection, target_id: int) -> list[Answer]:
    """An object's masks, newest first."""
    return [_answer(row) for row in connection.execute(_READ, {"of_target": target_id})]


def read_answers_of(connection: Connection, ids: Sequence[int]) -> dict[int, list[Answer]]:
    """The masks of several objects, by the object's number, newest first."""
    answers: dict[int, list[Answer]] = {number: [] for number in ids}
    for row in connection.execute(_READ_SEVERAL, {"ids": list(ids)}):
        answers[row.target_id].append(_answer(row))
    return answers


def _answer(row: Any) -> Answer:
    return Answer(
        row.turn,
        row.clicks,
        row.phrase,
        row.by_hand,
        row.digest,
        PackedMask(row.width, row.height, bytes(row.mask)),
        ManualEdits.unpack(row.width, row.height, row.painted, row.erased),
    )


def recognise(mask: PackedMask, answers: Iterable[Answer]) -> Answer | None:
    """Which answer a mask is."""
    return next((answer for answer in answers if _same(answer.mask, mask)), None)


def _same(one: PackedMask, other: PackedMask) -> bool:
    if one.data == other.data and one.shape == other.shape:
        return True
    if one.iou(other) < SAME_IOU:
        return False
    return not thick(one.unpack() ^ other.unpack()).any()


def store_answer(
    connection: Connection, target_id: int, answer: Answer, at: datetime, keep: int | None = None
) -> None:
    """Keep an answer, and of those before it only as many that ``keep`` are left."""
    before = answer.turn - keep + 1 if keep is not None else 0
    connection.execute(
        _MAKE_ROOM, {"of_target": target_id, "of_turn": answer.turn, "before": before}
    )
    values = {
        "target_id": target_id,
        "turn": answer.turn,
        "clicks": list(answer.clicks),
        "phrase": answer.phrase,
        "by_hand": answer.by_hand,
        "digest": answer.digest,
        "width": answer.mask.width,
        "height": answer.mask.height,
        "mask": answer.mask.data,
        **answer.edits.packed,
        "created_at": at,
    }
    connection.execute(_STORE, values)


def keep_served(
    connection: Connection,
    turn: Turn,
    mask: PackedMask,
    at: datetime,
    *,
    target_id: int,
    region_id: str,
    number: int,
) -> None:
    """Keep a mask as it was served in this turn of an object; reports compare it with the one that
    was accepted."""
    values = {
        "request_id": turn.request_id,
        "project": turn.project.key,
        "task_id": turn.task_id,
        "target_id": target_id,
        "region_id": region_id,
        "turn": number,
        "created_at": at,
        "width": mask.width,
        "height": mask.height,
        "mask": mask.data,
    }
    connection.execute(_KEEP_SERVED, values)


def drop_older(connection: Connection, target_id: int, before_turn: int) -> None:
    """Drop masks that are further back than anyone presses Ctrl+Z."""
    connection.execute(_MAKE_ROOM, {"of_target": target_id, "of_turn": -1, "before": before_turn})


def _restored(target: Target, back: Answer, ask: Interaction) -> list[Event]:
    """Let only those prompts count that made the mask which is back."""
    came = {click.id for click in ask.clicks}
    then = {identity for identity, _ in back.clicks}
    events = []
    event = Event("undo", target.id, target.region_id, label=target.label)
    for click in target.clicks:
        if click.id in came or click.counts == (click.id in then):
            continue
        events.append(replace(event, kind="undo" if click.counts else "redo", click_id=click.id))
        target.change(click.id, counts=not click.counts)
    if ask.phrase is None and target.phrase != back.phrase:
        events.append(replace(event, phrase_id=target.phrase_id, text=target.phrase))
        target.phrase = back.phrase
    return events
