"""The last masks that were answered for each object, each with the prompts behind it.

They give the predictor its previous mask, with what a hand changed in it: what an annotator's brush
painted stays in and what the eraser took stays out, until a later click says otherwise at that
place, or a later stroke does. ``page_changes`` finds out what the page did without a request.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, delete, insert, select

from backend.db.engine import Database
from backend.db.models import AnswerRow
from backend.interaction.objects import Click, Target
from backend.label_studio.regions import Region
from backend.label_studio.rle import PackedMask
from model.merging import part_at

Mask = NDArray[np.bool_]

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
class ManualEdits:
    """What brush and eraser changed: H,W int8, 1 painted, -1 erased, else 0; None for nothing."""

    signs: NDArray[np.int8] | None = None

    @classmethod
    def of(cls, signs: NDArray[np.int8]) -> Self:
        """None where nothing is left of them."""
        return cls(signs if signs.any() else None)

    @classmethod
    def between(cls, before: Mask, after: Mask) -> Self:
        """What changed from one mask (H,W) to another of that size."""
        return cls.of(after.view(np.int8) - before.view(np.int8))

    @classmethod
    def unpack(cls, width: int, height: int, painted: bytes | None, erased: bytes | None) -> Self:
        if painted is None and erased is None:
            return cls()
        signs = np.zeros((height, width), np.int8)
        for data, sign in (painted, 1), (erased, -1):
            if data is not None:
                signs[PackedMask(width, height, bytes(data)).unpack()] = sign
        return cls(signs)

    @property
    def packed(self) -> dict[str, bytes | None]:
        signs = np.zeros(1, np.int8) if self.signs is None else self.signs
        masks = {"painted": signs > 0, "erased": signs < 0}
        return {name: PackedMask.pack(m).data if m.any() else None for name, m in masks.items()}

    @property
    def pixels(self) -> int:
        return 0 if self.signs is None else int(np.count_nonzero(self.signs))

    def __bool__(self) -> bool:
        return self.signs is not None

    def then(self, later: "ManualEdits") -> "ManualEdits":
        """These edits, and later ones over them."""
        if self.signs is None or later.signs is None:
            return later if later else self
        if self.signs.shape != later.signs.shape:
            return later
        return ManualEdits(np.where(later.signs, later.signs, self.signs))

    def after(self, clicks: Sequence[Click]) -> "ManualEdits":
        """Without the connected parts in which a later click asks for the opposite."""
        if self.signs is None:
            return self
        signs = self.signs.copy()
        for click in (click for click in clicks if click.box is None):
            at, opposite = click.cell(signs), -1 if click.positive else 1
            if signs[at] == opposite:
                seed = np.zeros(signs.shape, np.bool_)
                seed[at] = True
                signs[part_at(signs == opposite, seed)] = 0
        return ManualEdits.of(signs)

    def applied(self, mask: Mask) -> Mask:
        """``mask`` with what was painted and without what was erased; unchanged for another size,
        which means that the picture was replaced."""
        if self.signs is None or self.signs.shape != mask.shape:
            return mask
        return (mask | (self.signs > 0)) & (self.signs >= 0)


@dataclass(frozen=True)
class Answer:
    """One mask and the prompts behind it."""

    turn: int
    clicks: Sequence[Any]  # [id, positive] of the clicks behind it, sorted
    phrase: str
    by_hand: bool  # edited on the page
    digest: str  # of the RLE as answered
    mask: PackedMask
    edits: ManualEdits = ManualEdits()  # those that hold in it
    picture: str = ""  # key of the picture that it was made on; '' where that is not known

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
    def answered(self) -> set[str]:
        """The ids of all clicks behind its masks."""
        return set().union(*(answer.click_ids for answer in self.answers))

    @property
    def newest(self) -> str:
        """The digest of its newest mask; '' where there is none."""
        return self.answers[0].digest if self.answers else ""

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

    def write(self, connection: Connection, target_id: int, at: datetime) -> None:
        if self.undone_after is not None:
            values = {"of_target": target_id, "after": self.undone_after}
            connection.execute(_DROP_NEWER, values)
        if self.edited is not None:
            store_answer(connection, target_id, self.edited, at)


class TaskMasks:
    """The masks of a task's objects, each object's read when it is first needed."""

    def __init__(self, database: Database, known: Mapping[int, list[Answer]] | None = None) -> None:
        """known: the answers of objects that were read already, by the object's number."""
        self._database = database
        self._known = {number: MaskHistory(answers) for number, answers in (known or {}).items()}

    def of(self, target: Target) -> MaskHistory:
        """The masks of one object."""
        self.need([target])
        return self._known.setdefault(target.id, MaskHistory([]))

    def need(self, targets: Sequence[Target]) -> None:
        """Read the masks of several objects with one query."""
        missing = [target.id for target in targets if target.id and target.id not in self._known]
        if missing:
            with self._database.read() as connection:
                read = read_answers(connection, missing)
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
        mask = PackedMask(row.width, row.height, bytes(row.mask))
        edits = ManualEdits.unpack(row.width, row.height, row.painted, row.erased)
        answers[row.target_id].append(
            Answer(
                row.turn,
                row.clicks,
                row.phrase,
                row.by_hand,
                row.digest,
                mask,
                edits,
                row.picture,
            )
        )
    return answers


def change(before: PackedMask | None, after: PackedMask) -> float:
    """1 - IoU with the mask that the page showed before; 1 for the first one."""
    return 1.0 if before is None else 1.0 - before.iou(after)


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
        "picture": answer.picture,
        "width": answer.mask.width,
        "height": answer.mask.height,
        "mask": answer.mask.data,
        **answer.edits.packed,
        "created_at": at,
    }
    connection.execute(_STORE, values)
