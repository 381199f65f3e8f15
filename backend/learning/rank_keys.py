"""Numbers between 0 and 1 that put tasks into an order, with as few changes as possible.

Label Studio serves the lowest score first. When a few tasks join ten thousand that are already in
order, only the new ones need a number: the longest run of old numbers that still rises in the new
order is kept, and the others are spread over the gaps between them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

# Numbers closer than this may become equal when they are written as text and read again.
_CLOSEST = 1e-9


def rank_keys(order: Sequence[int], current: Mapping[int, float]) -> dict[int, float]:
    """A number for each task of ``order``, rising, each strictly between 0 and 1.

    current: numbers that tasks already have; kept where possible.
    """
    kept = _rising([(task, current[task]) for task in order if 0.0 < current.get(task, 0.0) < 1.0])
    keys = _between(order, kept)
    if any(later - earlier < _CLOSEST for earlier, later in _pairs(list(keys.values()))):
        # After thousands of changes the gaps are used up: number all of them again.
        keys = _between(order, {})
    return keys


def _between(order: Sequence[int], kept: Mapping[int, float]) -> dict[int, float]:
    keys: dict[int, float] = {}
    waiting: list[int] = []
    low = 0.0
    for task in [*order, None]:
        if task is not None and task not in kept:
            waiting.append(task)
            continue
        high = 1.0 if task is None else kept[task]
        step = (high - low) / (len(waiting) + 1)
        keys.update({other: low + step * place for place, other in enumerate(waiting, 1)})
        waiting = []
        if task is not None:
            keys[task] = low = high
    return keys


def _rising(numbers: Sequence[tuple[int, float]]) -> dict[int, float]:
    """The longest subsequence whose numbers rise (patience sorting)."""
    ends: list[float] = []  # the lowest end of a rising subsequence of each length
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
