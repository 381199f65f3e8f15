"""Whose interactions are whose: every target's events belong to one accepted region, or to none.

A target has a region id, and mostly one living annotation holds that region. But annotators who
began with the same prediction share its region ids, and an annotation can be copied. Then it
counts who asked; where nobody can tell, the target belongs to no region and its interactions are
the task's alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Key = tuple[int, str, str]  # annotation, brush, region id


@dataclass(frozen=True)
class Holder:
    """A region in a living annotation. ``owner``: who made the annotation, '' if untold."""

    annotation: int
    brush: str
    region: str
    owner: str

    @property
    def key(self) -> Key:
        """Its name in the table."""
        return self.annotation, self.brush, self.region


@dataclass(frozen=True)
class Made:
    """A target with events. ``started``: its region id was given here, so nobody else began with
    it. ``brush``: '' where the target is forgotten by now."""

    target: int
    region: str
    owner: str
    started: bool
    brush: str = ""


def share_out(holders: Iterable[Holder], made: Iterable[Made]) -> dict[Key, tuple[int, ...]]:
    """The targets of each region, by number; regions that none of them made are left out."""
    by_region: dict[str, list[Holder]] = {}
    for holder in holders:
        by_region.setdefault(holder.region, []).append(holder)
    found: dict[Key, list[int]] = {}
    for target in made:
        theirs = _holder(target, by_region.get(target.region, ()))
        if theirs is not None:
            found.setdefault(theirs.key, []).append(target.target)
    return {key: tuple(sorted(targets)) for key, targets in found.items()}


def _holder(target: Made, holders: Sequence[Holder]) -> Holder | None:
    """The region that a target made; None where it is in none, or nobody can tell."""
    if not holders:
        return None
    theirs = [it for it in holders if target.owner and it.owner == target.owner]
    if theirs:
        return _first(theirs, target)
    if target.started:
        # The others are copies, or the work of whoever went on with it.
        return _first(holders, target)
    if len({it.annotation for it in holders}) == 1 and _may_be(target, holders[0]):
        return _first(holders, target)
    return None


def _may_be(target: Made, holder: Holder) -> bool:
    return not (target.owner and holder.owner)


def _first(holders: Sequence[Holder], target: Made) -> Holder:
    """The oldest annotation, and in it the control that the target was drawn with."""
    return min(holders, key=lambda it: (it.annotation, it.brush != target.brush, it.brush))
