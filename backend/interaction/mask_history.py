"""The last masks that were answered for each object, each with the prompts behind it.

They give the predictor its previous mask. They also show what the page did without a request.
Ctrl+Z after an answer brings the mask before it back; brush and eraser change it. A draft that was
saved well after the answer shows which: with an earlier mask its prompts are back too, and later
clicks no longer count; any other mask was edited by hand. The next answer builds on it and keeps
what was painted and erased (``manual_edits``).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, delete, insert, select

from backend.db.models import AnswerRow, EventKind
from backend.db.packed_mask import PackedMask
from backend.errors import BackendError
from backend.interaction.events import Event
from backend.interaction.manual_edits import NO_EDITS, ManualEdits
from backend.interaction.objects import Click, Target
from backend.interaction.request import Interaction, Saved
from backend.label_studio.regions import Region
from backend.label_studio.shapes import drawn_over, thick

# The page re-encodes a mask when it saves: a few border pixels may differ. More, or a patch that is
# as thick as a stroke, makes it another mask.
SAME_IOU = 0.99

# Built once: building a statement costs more than running it.
_OF_TARGET = AnswerRow.target_id == bindparam("of_target")
_READ = (
    select(AnswerRow)
    .where(AnswerRow.target_id.in_(bindparam("ids", expanding=True)))
    .order_by(AnswerRow.turn.desc())
)
_MAKE_ROOM = delete(AnswerRow).where(
    _OF_TARGET,
    (AnswerRow.turn == bindparam("of_turn")) | (AnswerRow.turn < bindparam("before")),
)
_STORE = insert(AnswerRow)
_DROP_NEWER = delete(AnswerRow).where(_OF_TARGET, AnswerRow.turn > bindparam("after"))


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

    @property
    def click_ids(self) -> set[str]:
        return {identity for identity, _ in self.clicks}

    @property
    def suggested(self) -> bool:
        """Whether no click or stroke of a person is in it: an answer to words, or a prediction."""
        return not self.clicks and not self.edits

    def edits_before(self, target: Target) -> ManualEdits:
        """What a hand drew, as far as the object's newer clicks leave it."""
        then = self.click_ids
        return self.edits.after([click for click in target.counting if click.id not in then])


@dataclass
class MaskHistory:
    """The masks of one object, newest first, and what is to be changed in the database."""

    answers: list[Answer]
    edited: Answer | None = None  # to be stored
    undone_after: int | None = None  # later turns are to be dropped

    @property
    def _answered(self) -> set[str]:
        """The ids of all clicks behind its masks."""
        return set().union(*(answer.click_ids for answer in self.answers))

    def shown(self) -> PackedMask | None:
        return self.answers[0].mask if self.answers else None

    def fitting(self, target: Target) -> PackedMask | None:
        """The newest mask that rests on exactly the clicks that count; else on some of them."""
        now = {click.id for click in target.counting}
        fitting = [answer for answer in self.answers if answer.click_ids <= now]
        exact = (answer.mask for answer in fitting if answer.click_ids == now)
        return next(exact, fitting[0].mask if fitting else None)

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

    def follow_page(self, target: Target, showing: Saved, ask: Interaction) -> list[Event]:
        """Take over the mask that the page shows; gives the events that this implies."""
        region = showing.regions[target.region_id]
        name = digest(region)
        again = name == target.shown_digest
        # Key points behind an answer that are on the page; those of this request have none yet.
        counting = {click.id for click in target.counting}
        waiting = counting & self._answered & showing.clicks.keys()
        if not name:
            return []
        if again and waiting:
            # With Auto-Accept off, the old mask stays until the newest is accepted.
            return self._rejected(target, showing, region, ask)
        target.shown_digest = name
        if self.answers and self.answers[0].digest == name:
            return []
        masks = page_masks(region)
        if masks is None:
            return []
        saved, drawn = masks
        back = recognise(saved, self.answers, digest(region, strokes=False))
        if again and (back is None or drawn != saved or self._words_alone_since(back)):
            return []  # seen before, or a phrase's mask that may wait to be accepted
        events: list[Event] = []
        if back is not None and back is not self.answers[0]:
            if waiting - back.click_ids:  # a newer mask waits to be accepted
                return self._rejected(target, showing, region, ask)
            self.undone_after = back.turn
            self.answers = [answer for answer in self.answers if answer.turn <= back.turn]
            events = _restored(target, back, ask)
        if back is None or drawn != saved:
            events.append(self._edited(target, region, name, drawn))
        return events

    def _rejected(
        self, target: Target, showing: Saved, region: Region, ask: Interaction
    ) -> list[Event]:
        """Take back the clicks of a suggestion that was rejected before the one that waits now:
        they are neither on the page nor behind the mask that it shows."""
        name = digest(region, strokes=False)
        shown = next((answer for answer in self.answers if answer.digest == name), None)
        if shown is None:
            return []
        known = showing.clicks.keys() | shown.click_ids | {click.id for click in ask.clicks}
        gone = self._answered - known
        return [Event.undo(target, click.id) for click in target.counting if click.id in gone]

    def _words_alone_since(self, back: Answer) -> bool:
        """Whether the newest answer rests on other words than an earlier one, and on no click that
        the page would show as long as it waits."""
        newest = self.answers[0]
        return back.phrase != newest.phrase and newest.click_ids <= back.click_ids

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
        return Event.about(target, "edit", changed=change(before, drawn), edited=edits.pixels)

    def write(self, connection: Connection, target_id: int, at: datetime) -> None:
        """Write what ``follow_page`` changed."""
        if self.undone_after is not None:
            values = {"of_target": target_id, "after": self.undone_after}
            connection.execute(_DROP_NEWER, values)
        if self.edited is not None:
            store_answer(connection, target_id, self.edited, at)


class TaskMasks:
    """The masks of a task's objects, each object's read when it is first needed."""

    def __init__(
        self,
        read: Callable[[Sequence[int]], dict[int, list[Answer]]],
        known: Mapping[int, list[Answer]] | None = None,
    ) -> None:
        """read: the answers of several objects, by their numbers; known: those read already."""
        self._read = read
        self._known = {number: MaskHistory(answers) for number, answers in (known or {}).items()}

    def of(self, target: Target) -> MaskHistory:
        """The masks of one object."""
        self.need([target])
        return self._known.setdefault(target.id, MaskHistory([]))

    def need(self, targets: Sequence[Target]) -> None:
        """Read the masks of several objects with one query."""
        missing = [target.id for target in targets if target.id and target.id not in self._known]
        if missing:
            read = self._read(missing)
            self._known |= {number: MaskHistory(answers) for number, answers in read.items()}

    def holding(self, click: Click, targets: Sequence[Target], near: bool) -> Target | None:
        """The first of these objects whose mask holds the click; ``near``: else the nearest one."""
        self.need(targets)
        distances: list[tuple[float, int]] = []
        for place, target in enumerate(targets):
            packed = self.of(target).fitting(target)
            if packed is None:
                continue
            mask = packed.unpack()
            row, column = click.cell(mask)
            if mask[row, column]:
                return target
            if near:
                rows, columns = np.nonzero(mask)
                squares = (rows - row) ** 2 + (columns - column) ** 2
                distances.append((float(squares.min()), place))
        return targets[min(distances)[1]] if distances else None


def page_masks(region: Region) -> tuple[PackedMask, PackedMask] | None:
    """A draft's mask without and with the strokes over it; None where it cannot be read."""
    try:
        saved = region.saved_mask()
    except BackendError:
        return None
    packed = PackedMask.pack(saved)
    if not region.touches:
        return packed, packed
    return packed, PackedMask.pack(drawn_over(saved, region.touches))


def digest(region: Region, *, strokes: bool = True) -> str:
    """A short name for a region's mask and strokes; '' where there is neither, or nonsense.

    The page keeps an answer's score, so that answers with equal masks have different names: a click
    that changed nothing can be undone, too.
    """
    name = ""
    if region.outlines:
        name = _hash(json.dumps([region.outlines, region.score], default=str).encode())
    elif region.rle is not None or region.mask_image:
        try:
            mask = np.asarray(region.rle or (), dtype=np.uint8).tobytes()
            name = _hash(mask + region.mask_image.encode() + repr(region.score).encode())
        except (ValueError, TypeError, OverflowError):
            name = ""
    if region.outlines or not region.touches or not strokes:
        return name
    drawn = json.dumps(region.touches, sort_keys=True, default=str)
    return _hash((name + drawn).encode())


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def read_answers(connection: Connection, ids: Sequence[int]) -> dict[int, list[Answer]]:
    """The masks of several objects, by the object's number, newest first."""
    answers: dict[int, list[Answer]] = {number: [] for number in ids}
    for row in connection.execute(_READ, {"ids": list(ids)}) if ids else ():
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


def change(before: PackedMask | None, after: PackedMask) -> float:
    """1 - IoU with the mask that the page showed before; 1 for the first one."""
    return 1.0 if before is None else 1.0 - before.iou(after)


def recognise(mask: PackedMask, answers: Sequence[Answer], name: str = "") -> Answer | None:
    """Which answer a mask is: the one with this digest, or else the one that is most like it; of
    equal ones the newest."""
    named = next((answer for answer in answers if name and answer.digest == name), None)
    if named is not None:
        return named
    alike = [answer for answer in answers if _same(answer.mask, mask)]
    return max(alike, key=lambda answer: answer.mask.iou(mask), default=None)


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


def _restored(target: Target, back: Answer, ask: Interaction) -> list[Event]:
    """Let only those prompts count that made the mask which is back."""
    came, then = {click.id for click in ask.clicks}, back.click_ids
    events = []
    for click in target.clicks:
        if click.id in came or click.counts == (click.id in then):
            continue
        kind: EventKind = "undo" if click.counts else "redo"
        events.append(Event.about(target, kind, click_id=click.id))
        target.change(click.id, counts=not click.counts)
    if ask.phrase is None and target.phrase != back.phrase:
        undone = {"phrase_id": target.phrase_id, "text": target.phrase}
        events.append(Event.about(target, "undo", **undone))
        target.phrase = back.phrase
    return events
