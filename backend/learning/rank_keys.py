"""Numbers between 0 and 1 that put tasks into an order, changing as few as can be.

Label Studio serves the lowest score first. When a handful of tasks joins ten thousand that are in
order already, only the new ones need a number; so the longest run of old numbers that still rises
in the new order is kept, and the others are spread over the gaps between them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

# Numbers nearer than this are too near to be told apart once they were written as text and read.
_NEAREST = 1e-9


def places(order: Sequence[int], held: Mapping[int, float]) -> dict[int, float]:
    """A number for each task of ``order``, rising, each strictly between 0 and 1.

    held: numbers that tasks have already; kept where that is possible.
    """
    kept = _rising([(task, held[task]) for task in order if 0.0 < held.get(task, 0.0) < 1.0])
    found = _between(order, kept)
    if any(later - earlier < _NEAREST for earlier, later in _pairs(list(found.values()))):
        # The gaps are used up, after thousands of changes: number all anew.
        found = _between(order, {})
    return found


def _between(order: Sequence[int], kept: Mapping[int, float]) -> dict[int, float]:
    found: dict[int, float] = {}
    waiting: list[int] = []
    low = 0.0
    for task in [*order, None]:
        if task is not None and task not in kept:
            waiting.append(task)
            continue
        high = 1.0 if task is None else kept[task]
        step = (high - low) / (len(waiting) + 1)
        found.update({each: low + step * place for place, each in enumerate(waiting, 1)})
        waiting = []
        if task is not None:
            found[task] = low = high
    return found


def _rising(numbers: Sequence[tuple[int, float]]) -> dict[int, float]:
    """The longest part of them, in their order, whose numbers rise."""
    ends: list[float] = []  # the lowest end of a rising part of each length
    at: list[int] = []
    before: list[int] = []
    for place, (_, number) in enumerate(numbers):
        length = bisect_left(ends, number)
        before.append(at[length - 1] if length else -1)
        if length == len(ends):
            ends.append(number)
            at.append(place)
        else:
            ends[length], at[length] = number, place
    kept: dict[int, float] = {}
    place = at[-1] if at else -1
    while place >= 0:
        task, number = numbers[place]
        kept[task] = number
        place = before[place]
    return kept


def _pairs(numbers: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip([0.0, *numbers], [*numbers, 1.0], strict=True))
