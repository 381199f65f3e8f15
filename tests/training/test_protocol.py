"""The protocol is checked against answers whose course is known beforehand."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from training.protocol import Mask, Spot, Target, follow, overlap


def two_squares() -> NDArray[np.bool_]:
    mask = np.zeros((60, 80), bool)
    mask[10:40, 10:40] = True
    mask[20:30, 60:70] = True
    return mask


def target(mask: Mask, phrase: str = "thing") -> Target:
    return Target(mask, np.zeros_like(mask), phrase)


def test_masks_as_answers_need_one_click() -> None:
    # given an oracle
    mask = two_squares()
    # when
    course = follow(lambda *_: mask, target(mask), "clicks")
    # then
    assert course.needed(0.85) == course.needed(0.90) == 1
    assert course.ious == (1.0,)
    assert course.clicks[0] == (24.5, 24.5, True) or mask[24, 24]


def test_an_answer_that_never_comes_counts_as_twenty() -> None:
    mask = two_squares()
    course = follow(lambda *_: np.zeros_like(mask), target(mask), "clicks")
    assert len(course.ious) == 20
    assert course.needed(0.85) == 20
    assert course.failed(0.85)
    assert len({spot[:2] for spot in course.clicks}) == 20


def test_each_square_is_clicked_in_turn_and_the_mask_before_is_handed_on() -> None:
    mask = two_squares()
    befores: list[Mask | None] = []

    def square_by_square(
        clicks: Sequence[Spot], phrase: str, before: Mask | None
    ) -> NDArray[np.bool_]:
        befores.append(before)
        assert phrase == ""
        answer = np.zeros_like(mask)
        for x, y, positive in clicks:
            assert positive
            half = slice(0, 50) if x < 50 else slice(50, 80)
            answer[:, half] |= mask[:, half]
            assert mask[int(y), int(x)]
        return answer

    course = follow(square_by_square, target(mask), "clicks", goal=0.95, at_least=1)
    assert course.ious == (0.9, 1.0)
    assert course.needed(0.85) == 1
    assert course.needed(0.95) == 2
    assert befores[0] is None
    assert befores[1] is not None
    assert befores[1].sum() == 900


def test_too_much_is_clicked_away() -> None:
    mask = two_squares()
    course = follow(lambda *_: np.ones_like(mask), target(mask), "clicks", most=2)
    assert course.clicks[0][2]
    x, y, positive = course.clicks[1]
    assert not positive
    assert not mask[int(y), int(x)]


def test_void_is_neither_error_nor_clicked() -> None:
    mask = two_squares()
    void = np.zeros_like(mask)
    void[:, 50:] = True
    shown = mask.copy()
    shown[:, 55:] = True
    course = follow(lambda *_: shown, Target(mask, void, ""), "clicks")
    assert course.ious == (1.0,)


def test_a_phrase_is_one_interaction_and_comes_first() -> None:
    mask = two_squares()
    asked: list[tuple[int, str]] = []

    def deaf(clicks: Sequence[Spot], phrase: str, before: Mask | None) -> NDArray[np.bool_]:
        asked.append((len(clicks), phrase))
        return mask if len(clicks) == 2 else np.zeros_like(mask)

    course = follow(deaf, target(mask, "red square"), "phrase+clicks")
    assert asked == [(0, "red square"), (1, "red square"), (2, "red square")]
    assert course.needed(0.9) == 3
    alone = follow(deaf, target(mask, "red square"), "phrase")
    assert len(alone.ious) == 1
    assert alone.clicks == ()


def test_jittered_clicks_stay_inside_the_error() -> None:
    mask = two_squares()
    spots = [
        follow(
            lambda *_: mask, target(mask), "clicks", jitter=0.5, rng=np.random.default_rng(seed)
        ).clicks[0]
        for seed in range(20)
    ]
    assert len(set(spots)) > 10
    assert all(mask[int(y), int(x)] for x, y, _ in spots)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (15, 1 / 3), (40, 0.0)])
def test_overlap_of_shifted_squares(shift: int, expected: float) -> None:
    one, other = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    one[:30, :30] = True
    other[:30, shift : shift + 30] = True
    nothing = np.zeros_like(one)
    assert overlap(one, other, nothing) == pytest.approx(expected)
    assert overlap(nothing, nothing, nothing) == 1.0
