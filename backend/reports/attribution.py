"""Assigns the events of every target to one accepted region, or to none.

A target has a region id, and mostly one annotation contains that region. But annotators who begin
with the same prediction share its region ids, and an annotation can be copied. Then the user who
asked decides; if that is ambiguous, the target's interactions count for the task only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Key = tuple[int, str, str]  # annotation, brush, region id


@dataclass(frozen=True)
class Holder:
    """A region in an annotation. ``owner``: who made the annotation, '' if unknown."""

    annotation: int
    brush: str
    region: str
    owner: str

    @property
    def key(self) -> Key:
        """Its primary key."""
        return self.annotation, self.brush, self.region


@dataclass(frozen=True)
class Made:
    """A target with events. ``started``: this backend created its region id, so it is unique.
    ``brush``: '' if the target has expired."""

    target: int
    region: str
    owner: str
    started: bool
    brush: str = ""


def share_out(holders: Iterable[Holder], made: Iterable[Made]) -> dict[Key, tuple[int, ...]]:
    """The sorted targets of each region that has any."""
    by_region: dict[str, list[Holder]] = {}
    for holder in holders:
        by_region.setdefault(holder.region, []).append(holder)
    shares: dict[Key, list[int]] = {}
    for target in made:
        holder_of_target = _holder(target, by_region.get(target.region, ()))
        if holder_of_target is not None:
            shares.setdefault(holder_of_target.key, []).append(target.target)
    return {key: tuple(sorted(targets)) for key, targets in shares.items()}


def _holder(target: Made, holders: Sequence[Holder]) -> Holder | None:
    """The region of a target; None if there is none or several are possible."""
    if not holders:
        return None
    same_owner = [holder for holder in holders if target.owner and holder.owner == target.owner]
    if same_owner:
        return _first(same_owner, target)
    if target.started:
        # The others are copies, or were continued by someone else.
        return _first(holders, target)
    one_annotation = len({holder.annotation for holder in holders}) == 1
    if one_annotation and not (target.owner and holders[0].owner):
        return _first(holders, target)
    return None


def _first(holders: Sequence[Holder], target: Made) -> Holder:
    """The oldest annotation, and in it the control that the target was drawn with."""
    return min(holders, key=lambda it: (it.annotation, it.brush != target.brush, it.brush))
