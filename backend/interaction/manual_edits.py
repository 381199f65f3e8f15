"""What an annotator's brush and eraser changed of an object, kept through later answers.

A hand decides: what it painted stays in, what it erased stays out, until a later click says
otherwise at that place, or a later stroke does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from backend.db.packed_mask import PackedMask
from backend.interaction.objects import Click
from model.merging import part_at

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ManualEdits:
    """Pixels that were painted and erased, H,W bool of the same size; None for none."""

    painted: Mask | None = None
    erased: Mask | None = None

    @classmethod
    def between(cls, before: Mask, after: Mask) -> Self:
        """What changed from one mask (H,W) to another of that size."""
        return cls(_some(after & ~before), _some(before & ~after))

    @classmethod
    def unpack(cls, width: int, height: int, painted: bytes | None, erased: bytes | None) -> Self:
        parts = (
            None if data is None else PackedMask(width, height, bytes(data)).unpack()
            for data in (painted, erased)
        )
        return cls(*parts)

    @property
    def packed(self) -> dict[str, bytes | None]:
        return {
            name: None if mask is None else PackedMask.pack(mask).data
            for name, mask in (("painted", self.painted), ("erased", self.erased))
        }

    @property
    def pixels(self) -> int:
        return sum(int(np.count_nonzero(m)) for m in (self.painted, self.erased) if m is not None)

    def __bool__(self) -> bool:
        return self.painted is not None or self.erased is not None

    def then(self, later: "ManualEdits") -> "ManualEdits":
        """These edits, and later ones over them."""
        return ManualEdits(
            _joined(_without(self.painted, later.erased), later.painted),
            _joined(_without(self.erased, later.painted), later.erased),
        )

    def after(self, clicks: Sequence[Click]) -> "ManualEdits":
        """Without the connected parts in which a later click asks for the opposite."""
        painted, erased = self.painted, self.erased
        for click in (click for click in clicks if click.box is None):
            if click.positive:
                erased = _without(erased, _part(erased, click))
            else:
                painted = _without(painted, _part(painted, click))
        return ManualEdits(painted, erased)

    def applied(self, mask: Mask) -> Mask:
        """``mask`` with what was painted and without what was erased; unchanged for another size,
        which means that the picture was replaced."""
        if self.painted is not None and self.painted.shape == mask.shape:
            mask = mask | self.painted
        if self.erased is not None and self.erased.shape == mask.shape:
            mask = mask & ~self.erased
        return mask


NO_EDITS = ManualEdits()


def _part(mask: Mask | None, click: Click) -> Mask | None:
    """The connected part of a mask at a click; None where the click is outside."""
    if mask is None:
        return None
    at = click.cell(mask)
    if not mask[at]:
        return None
    seed = np.zeros_like(mask)
    seed[at] = True
    return part_at(mask, seed)


def _some(mask: Mask) -> Mask | None:
    return mask if mask.any() else None


def _joined(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other if one.shape == other.shape else other


def _without(mask: Mask | None, taken: Mask | None) -> Mask | None:
    if mask is None or taken is None or mask.shape != taken.shape:
        return mask
    return _some(mask & ~taken)
