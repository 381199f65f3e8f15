"""Assigns the interactions of each prompted object to one accepted region, or to none.

An object has a region id, and usually one annotation contains that region. But annotators who start
with the same prediction share its region ids, and an annotation can be copied. Then the user who
made the request decides; if that is ambiguous, the interactions count for the task only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
        """Its primary key."""
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
        return _first(same_owner, prompted)
    if prompted.started:
        # The others are copies, or were continued by another user.
        return _first(regions, prompted)
    one_annotation = len({region.annotation for region in regions}) == 1
    if one_annotation and not (prompted.owner and regions[0].owner):
        return _first(regions, prompted)
    return None


def _first(regions: Sequence[Region], prompted: PromptedObject) -> Region:
    """The oldest annotation, and in it the control that the object was made with."""
    return min(regions, key=lambda r: (r.annotation, r.brush != prompted.brush, r.brush))
