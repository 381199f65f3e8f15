"""Numbers that keep an order, and move as little as can be."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from backend.learning.scores import rank_keys


@given(st.permutations(range(12)), st.dictionaries(st.integers(0, 11), st.floats(-0.5, 1.5)))
def test_numbers_rise_in_the_given_order(order: list[int], held: dict[int, float]) -> None:
    keys = rank_keys(order, held)

    numbers = [keys[task] for task in order]
    assert all(one < other for one, other in pairwise([0.0, *numbers, 1.0]))


def test_what_stands_right_keeps_its_number() -> None:
    held = rank_keys([1, 2, 3, 4, 5], {})

    keys = rank_keys([1, 2, 9, 3, 4, 5], held)

    assert {task: keys[task] for task in held} == held
    assert held[2] < keys[9] < held[3]


def test_one_that_moves_moves_alone() -> None:
    held = rank_keys(list(range(100)), {})

    keys = rank_keys([99, *range(99)], held)

    assert [task for task in held if held[task] != keys[task]] == [99]


def test_gaps_that_are_used_up_are_renumbered() -> None:
    held: dict[int, float] = {}
    for newest in range(200):
        # Always before all others: each halves the gap.
        held = rank_keys([newest, *sorted(held, reverse=True)], held)

    numbers = [held[task] for task in sorted(held, reverse=True)]
    assert all(other - one > 1e-10 for one, other in pairwise([0.0, *numbers, 1.0]))


def test_no_task_and_one_task() -> None:
    assert rank_keys([], {}) == {}
    assert rank_keys([7], {}) == {7: 0.5}
