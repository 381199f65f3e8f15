"""The masks that were answered for a target: the last few, each with the prompts it rests on.

They give the model its previous mask, and they tell what a Ctrl+Z has brought back: when a draft
shows an earlier mask again, the clicks behind the later ones are undone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, bindparam, delete, insert, select

from backend.db.models.core import AnswerRow
from backend.db.packed_mask import PackedMask
from backend.interaction.objects import Target

# The page re-encodes a mask when it saves: a few border pixels may differ, more is another mask.
SAME_IOU = 0.99

_answers: Table = AnswerRow.__table__  # type: ignore[assignment]

# Built once: building a statement costs more than running it.
_mine = _answers.c.target_id == bindparam("of_target")
_LIST = (
    select(
        _answers.c.turn, _answers.c.clicks, _answers.c.phrase, _answers.c.by_hand, _answers.c.digest
    )
    .where(_mine)
    .order_by(_answers.c.turn.desc())
)
_MASK = select(_answers.c.width, _answers.c.height, _answers.c.mask).where(
    _mine, _answers.c.turn == bindparam("of_turn")
)
_MAKE_ROOM = delete(_answers).where(
    _mine,
    (_answers.c.turn == bindparam("of_turn")) | (_answers.c.turn < bindparam("before")),
)
_STORE = insert(_answers)
_DROP_NEWER = delete(_answers).where(_mine, _answers.c.turn > bindparam("after"))


@dataclass(frozen=True)
class Answer:
    """One answer's prompts; its mask is read when it is wanted."""

    turn: int
    clicks: list[Any]
    phrase: str
    by_hand: bool
    digest: str


@dataclass(frozen=True)
class Shown:
    """What a draft's mask turned out to be: an answer of ours, or drawn on by hand."""

    turn: int | None
    mask: PackedMask | None


def digest(rle: Sequence[int] | None) -> str:
    """A short name for a run-length encoded mask; '' where there is none or it is nonsense."""
    if rle is None:
        return ""
    try:
        numbers = np.asarray(rle, dtype=np.uint8)
    except (ValueError, TypeError, OverflowError):
        return ""
    return blake2b(numbers.tobytes(), digest_size=16).hexdigest()


def of_target(connection: Connection, target_id: int) -> list[Answer]:
    """A target's answers, newest first."""
    return [Answer(*row) for row in connection.execute(_LIST, {"of_target": target_id})]


def mask(connection: Connection, target_id: int, turn: int) -> PackedMask | None:
    """One answer's mask."""
    row = connection.execute(_MASK, {"of_target": target_id, "of_turn": turn}).first()
    return None if row is None else PackedMask(row.width, row.height, bytes(row.mask))


def previous(answers: Sequence[Answer], target: Target) -> Answer | None:
    """The newest answer that rests on nothing but prompts that still count, and not on all of them.

    So an undone click leaves no trace, a replaced phrase does not hold its object, and a request
    that comes twice is answered twice the same.
    """
    now = {tuple(click) for click in target.fingerprint}
    for answer in answers:
        then = {tuple(click) for click in answer.clicks}
        if not then <= now or answer.phrase not in ("", target.phrase):
            continue
        if answer.by_hand or then != now or answer.phrase != target.phrase:
            return answer
    return None


def recognise(
    connection: Connection, target: Target, shown: PackedMask, answers: Sequence[Answer]
) -> Shown:
    """Which answer a draft's mask is, the newest first."""
    for answer in answers:
        kept = mask(connection, target.id, answer.turn)
        if kept is not None and kept.iou(shown) >= SAME_IOU:
            return Shown(answer.turn, None)
    return Shown(None, shown)


def store(
    connection: Connection,
    target_id: int,
    turn: int,
    packed: PackedMask,
    *,
    clicks: Sequence[Any],
    phrase: str,
    at: datetime,
    rle_digest: str = "",
    by_hand: bool = False,
    keep: int | None = None,
) -> None:
    """Keep an answer's mask, and of those before it only so many that ``keep`` are left."""
    before = turn - keep + 1 if keep is not None else 0
    connection.execute(_MAKE_ROOM, {"of_target": target_id, "of_turn": turn, "before": before})
    values = {
        "target_id": target_id,
        "turn": turn,
        "clicks": list(clicks),
        "phrase": phrase,
        "by_hand": by_hand,
        "digest": rle_digest,
        "width": packed.width,
        "height": packed.height,
        "mask": packed.data,
        "created_at": at,
    }
    connection.execute(_STORE, values)


def drop_older(connection: Connection, target_id: int, before_turn: int) -> None:
    """Forget what lies further back than anyone presses Ctrl+Z."""
    connection.execute(_MAKE_ROOM, {"of_target": target_id, "of_turn": -1, "before": before_turn})


def drop_newer(connection: Connection, target_id: int, after_turn: int) -> None:
    """Forget what was undone."""
    connection.execute(_DROP_NEWER, {"of_target": target_id, "after": after_turn})
